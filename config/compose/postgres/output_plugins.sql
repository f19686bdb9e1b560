-- Postgres of 2026 and later loads only the output plugins listed here; an older one does not know the setting. Run once,
-- when the cluster is made, by a server that is restarted afterwards.
SELECT 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json'
WHERE EXISTS (SELECT FROM pg_settings WHERE name = 'output_plugin_libraries')
\gexec
