/* The pages of refusals and errors of the relay, see explain.h. Every code of the sources has one, and no other: a test
 * compares. */
#include "bridge/ops/explain.h"

/* The commands that several pages name, each with the words that belong to it. */
#define STATUS "  walferry status shop.yaml      the slot beside the stored position\n"
#define SLOT_ROW "  SELECT * FROM pg_replication_slots WHERE slot_name = 'walferry_shop';\n"
#define COMPARE_IDS                                                                                                    \
  "  SELECT id FROM outbox;\n"                                                                                         \
  "  kcat -b $KAFKA_BROKERS -C -e -q -t TOPIC -X isolation.level=read_committed -f '%h\\n'\n"
/* These end without a line break: a sentence may follow. */
#define SET_POSITION                                                                                                   \
  "  walferry position shop.yaml show      where position and slot stand\n"                                            \
  "  walferry position shop.yaml set LSN   says what would be skipped and repeated\n"                                  \
  "  walferry position shop.yaml set LSN --confirm shop --reason 'why'\n"                                              \
  "with the LSN where the slot stands, or one behind it: what is committed from\n"                                     \
  "there on is published, what lies before it and was not published never is."
#define START_AFRESH                                                                                                   \
  "  SELECT pg_drop_replication_slot('walferry_shop');   -- if it is still there\n"                                    \
  "With a held-back slot (postgres.replay) that reaches back to the position, this\n"                                  \
  "makes the slot anew of it, and nothing is lost:\n"                                                                  \
  "  walferry init shop.yaml\n"                                                                                        \
  "Without one, it refuses as the relay does. With a snapshot half published, then:\n"                                 \
  "  walferry drop shop.yaml --confirm shop      and start over with --snapshot\n"                                     \
  "Else go on with a new slot:\n"                                                                                      \
  "  walferry position shop.yaml set new --confirm shop --reason 'why'\n"                                              \
  "  walferry init shop.yaml\n"                                                                                        \
  "and publish the rows of the gap that are still in the outbox:\n"                                                    \
  "  walferry replay shop.yaml --source table --from TIME\n"                                                           \
  "What is in Kafka already comes a second time."

const struct explain_page explain_refusals[] = {
    {"server_too_old", EXPLAIN_REFUSAL, "the server is older than Postgres 15",
     "walferry needs what Postgres 15 brought: publications by schema, column lists,\n"
     "and the catalog columns that tell them.\n",
     "  SHOW server_version;\n", "Use a server of version 15 or newer.\n", OPERATIONS("upgrading")},
    {"failover_unsupported", EXPLAIN_REFUSAL, "postgres.failover where the server makes no failover slots",
     "Slots are synchronised to standbys from Postgres 17 on, and only those of a\n"
     "primary: a standby cannot make one of its own a failover slot.\n",
     "  SHOW server_version;\n  SELECT pg_is_in_recovery();\n",
     "Remove postgres.failover, or move to a newer server, or to the primary.\n", OPERATIONS("failover")},
    {"wal_level", EXPLAIN_REFUSAL, "the server does not write logical WAL",
     "With another wal_level the WAL lacks what decoding needs. It is `replica` unless\n"
     "somebody has set it.\n",
     "  SHOW wal_level;\n",
     "As a superuser:\n"
     "  ALTER SYSTEM SET wal_level = logical;\n"
     "then restart the server. On managed services it is a parameter of the instance\n"
     "(rds.logical_replication, cloudsql.logical_decoding and the like).\n",
     OPERATIONS("postgres")},
    {"plugin_not_allowed", EXPLAIN_REFUSAL, "the server does not let the output plugin be loaded",
     "Servers of 2026 and later load only the output plugins that\n"
     "output_plugin_libraries lists. There are two forms of it. The list may lack the\n"
     "plugin. Or it was set as one quoted string, and then it has a single member with\n"
     "commas in it: that allows nothing, pgoutput neither.\n",
     "  SHOW output_plugin_libraries;      a value with double quotes around all of it is the second form\n",
     "As a superuser, with the list unquoted:\n"
     "  ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json;\n"
     "  SELECT pg_reload_conf();\n"
     "or in postgresql.conf, where the quotes belong to the file:\n"
     "  output_plugin_libraries = 'pgoutput, test_decoding, wal2json'\n",
     OPERATIONS("postgres")},
    {"server_encoding", EXPLAIN_REFUSAL, "wal2json, and the database is not in UTF8",
     "wal2json sends texts as the database has them, without converting them; JSON\n"
     "must be UTF-8.\n",
     "  SHOW server_encoding;\n",
     "Set postgres.decoder: pgoutput, which converts; or move to a database in UTF8.\n"
     "(A position made with one decoder is not gone on with by the other:\n"
     "slot_mismatch.)\n",
     OPERATIONS("changing-the-config")},
    {"table_missing", EXPLAIN_REFUSAL, "a table of relay.tables does not exist",
     "It was never made, was dropped or renamed, or the config names another schema or\n"
     "database.\n",
     "  \\d public.outbox      in psql, with the conninfo of the config\n",
     "Correct relay.tables or the dbname in postgres.conninfo, or have it made:\n"
     "  walferry init shop.yaml --admin 'host=db1 dbname=shop user=postgres'\n",
     OPERATIONS("setting-up")},
    {"table_changed", EXPLAIN_REFUSAL, "with wal2json: a table was dropped and made again",
     "Without a publication, the stored position knows each table by its OID. There is\n"
     "another table of that name now; its rows may be other events than those of the\n"
     "old one.\n",
     "  SELECT 'public.outbox'::regclass::oid;\n"
     "  walferry status shop.yaml      how far the old table was published\n",
     "See whether the rows of the new table are events of this instance. Then go on\n"
     "knowingly:\n" SET_POSITION "\n",
     OPERATIONS("going-on-knowingly")},
    {"partition_unknown", EXPLAIN_REFUSAL,
     "with wal2json: rows of a table that is gone, perhaps a partition of the outbox",
     "wal2json names partitions, not their root. The rows come from a table that has\n"
     "all the columns of the outbox and does not exist any more, so the catalogs\n"
     "cannot tell whether it was one.\n",
     "  the refusal itself: the name of the table\n",
     "The rows are still in the WAL. Create an empty table of that name: as a\n"
     "partition of the outbox, if it was one, and its rows are published; else by\n"
     "itself, and they are passed over. Drop it once the relay is past them.\n",
     OPERATIONS("partitions-with-wal2json")},
    {"publication_missing", EXPLAIN_REFUSAL, "the publication does not exist, or was dropped",
     "The slot is read by way of the publication. Rows that are committed while there\n"
     "is none are not sent, and Postgres 18 says no word about it.\n",
     "  SELECT * FROM pg_publication;\n" STATUS,
     "At first, when nothing was published yet:\n"
     "  walferry init shop.yaml\n"
     "Later: create it again with `walferry init`. Find what is missing: compare the\n"
     "ids of the outbox with those in the topic,\n" COMPARE_IDS
     "(the header `id`). Then go on knowingly:\n" SET_POSITION "\n",
     RUNBOOK("the-publication-was-taken-away")},
    {"publication_incomplete", EXPLAIN_REFUSAL, "the publication does not send every row of the tables",
     "It publishes no inserts, a table is not in it, a row filter keeps rows back, a\n"
     "table is unlogged, or a partition is named where its root is published or the\n"
     "other way round. Going on would lose rows silently.\n",
     "  SELECT * FROM pg_publication WHERE pubname = 'walferry_shop';\n"
     "  SELECT * FROM pg_publication_tables WHERE pubname = 'walferry_shop';\n"
     "  walferry check shop.yaml      a line for each table\n",
     "What the remedy of the refusal says, which is one of\n"
     "  ALTER PUBLICATION walferry_shop SET (publish = 'insert', publish_via_partition_root = true);\n"
     "  ALTER PUBLICATION walferry_shop ADD TABLE public.outbox;\n"
     "  ALTER PUBLICATION walferry_shop SET TABLE public.outbox;      -- without the WHERE\n"
     "  ALTER TABLE public.outbox SET LOGGED;\n"
     "Rows committed before are not sent: insert them again.\n",
     RUNBOOK("the-publication-was-taken-away")},
    {"publication_changed", EXPLAIN_REFUSAL, "the publication, or a table in it, was taken away and made again",
     "The stored position knows the identity of the publication and of each table's\n"
     "entry in it. They are others now, so for a while there was none, and rows\n"
     "committed in that time were not sent.\n",
     "  SELECT oid, * FROM pg_publication WHERE pubname = 'walferry_shop';\n"
     "  SELECT * FROM pg_publication_rel;\n",
     "Find what is missing: compare the ids of the outbox with those in the topic,\n" COMPARE_IDS
     "(the header `id`). Then go on knowingly:\n" SET_POSITION "\n",
     RUNBOOK("the-publication-was-taken-away")},
    {"column_missing", EXPLAIN_REFUSAL, "a column that is needed is not sent",
     "The table has lost it, or never had it, or a column list of the publication\n"
     "leaves it out. What is written meanwhile is kept by the slot.\n",
     "  \\d public.outbox\n"
     "  SELECT * FROM pg_publication_tables WHERE pubname = 'walferry_shop';\n",
     "Add the column, or name another one under relay.tables[].columns, or take the\n"
     "column list out of the publication:\n"
     "  ALTER PUBLICATION walferry_shop SET TABLE public.outbox;\n"
     "Then start again: the rows come as they were written.\n",
     OPERATIONS("changing-the-config")},
    {"after_publish_denied", EXPLAIN_REFUSAL, "published rows cannot be marked or deleted",
     "With after_publish: mark or delete, walferry changes the outbox. What that takes\n"
     "is looked at before anything is published: the column for the mark, and rights.\n"
     "The message says what is missing: the column, a type that holds a time, SELECT,\n"
     "UPDATE of that column or DELETE, or a row security that hides rows.\n",
     "  \\d public.outbox      in psql\n"
     "  \\dp public.outbox     who may do what\n",
     "Run the SQL that the message gives, as the owner of the table, and start again.\n"
     "Where an administrator runs init, it makes the grants:\n"
     "  walferry init shop.yaml --admin 'host=db1 dbname=shop user=postgres'\n"
     "Rows that were published meanwhile are done as soon as it starts. Or set\n"
     "after_publish: keep.\n",
     OPERATIONS("published-rows")},
    {"slot_missing", EXPLAIN_REFUSAL, "the slot does not exist",
     "With a stored position: somebody dropped the slot, or a failover or a restored\n"
     "base backup left it behind (postgres.failover: true takes it along to a standby,\n"
     "on Postgres 17 and newer).\n"
     "What was committed since the position is not in the WAL for walferry any more.\n"
     "Nothing is created in its place, since that would hide the gap. Without a\n"
     "position: the instance was never set up.\n",
     SLOT_ROW STATUS,
     "Never set up: `walferry init shop.yaml`, or postgres.create: true. Otherwise:\n"
     "was it dropped on another server than the one of conninfo? If the slot is gone\n"
     "for good, so are the events that it held back. Find what is missing: compare the\n"
     "ids of the outbox with those in the topic,\n" COMPARE_IDS "(the header `id`). Then start afresh:\n" START_AFRESH
     "\n",
     RUNBOOK("the-slot-was-lost")},
    {"slot_unknown", EXPLAIN_REFUSAL, "there is a slot, but no stored position for it",
     "Either the position topic was lost (deleted, truncated, another Kafka cluster),\n"
     "or the slot was made by hand. From the slot alone walferry cannot tell what is\n"
     "in Kafka already.\n",
     SLOT_ROW STATUS "  kcat -b $KAFKA_BROKERS -C -e -q -t walferry.position.shop\n",
     "Is kafka.brokers the right cluster? If the position topic can be brought back,\n"
     "bring it back. If the slot is new and was made for walferry, or if the topic is\n"
     "lost for good, go on from the slot, or from an LSN behind it:\n"
     "  walferry relay shop.yaml --adopt-slot --until now\n" SET_POSITION "\n"
     "What was published behind that point comes again.\n",
     RUNBOOK("kafka-lost-the-position")},
    {"slot_advanced", EXPLAIN_REFUSAL, "the slot is ahead of the stored position",
     "Somebody else moved it (pg_replication_slot_advance, or a consumer such as\n"
     "pg_recvlogical read from it), or it was dropped and created again. What was\n"
     "committed between the two may be missing in Kafka.\n",
     SLOT_ROW STATUS,
     "Find what is missing: compare the ids of the outbox with those in the topic,\n" COMPARE_IDS
     "(the header `id`). Then go on knowingly:\n" SET_POSITION "\n",
     OPERATIONS("going-on-knowingly")},
    {"slot_active", EXPLAIN_REFUSAL, "drop: somebody reads the slot",
     "`walferry drop` removes nothing under the hands of a reader. The refusal names\n"
     "backend, application_name and role.\n",
     STATUS,
     "Stop every instance of the config, standbys too, then drop. If it is no\n"
     "walferry: find out whose it is, before anything is removed.\n",
     OPERATIONS("removing-an-instance")},
    {"instance_active", EXPLAIN_REFUSAL, "drop: a session of the instance is connected",
     "Such as a standby, or a run with --sink stdout. A standby would make slot and\n"
     "position again.\n",
     STATUS
     "  SELECT pid, application_name, client_addr FROM pg_stat_activity WHERE application_name LIKE 'walferry/%';\n",
     "Stop every instance of the config, on all machines, then drop.\n", OPERATIONS("removing-an-instance")},
    {"slot_invalidated", EXPLAIN_REFUSAL, "the server gave up WAL that the slot needs",
     "The slot held back more than max_slot_wal_keep_size, or nobody read it for\n"
     "idle_replication_slot_timeout (Postgres 18), or it was invalidated for another\n"
     "reason (invalidation_reason on Postgres 17 and newer), or the WAL was thrown\n"
     "away by pg_resetwal or by hand. What lies behind the position can no longer be\n"
     "streamed.\n",
     SLOT_ROW STATUS "  SHOW max_slot_wal_keep_size;\n  SHOW idle_replication_slot_timeout;      Postgres 18\n",
     "Find what is missing: compare the ids of the outbox with those in the topic,\n" COMPARE_IDS
     "(the header `id`). Then start afresh:\n" START_AFRESH " Raise max_slot_wal_keep_size, or\n"
     "see to it that a stopped relay is noticed sooner.\n",
     RUNBOOK("the-slot-was-lost")},
    {"slot_mismatch", EXPLAIN_REFUSAL, "the slot is of another kind than the relay needs",
     "Wanted is a permanent logical slot without two-phase, with the decoder's plugin,\n"
     "in the database of conninfo. Or the decoder in the config is not the one with\n"
     "which the position was made.\n",
     SLOT_ROW STATUS,
     "Correct postgres.slot, postgres.decoder or the dbname; or drop the slot, if\n"
     "nobody needs it, and have one made:\n"
     "  SELECT pg_drop_replication_slot('walferry_shop');\n"
     "  walferry init shop.yaml\n",
     OPERATIONS("changing-the-config")},
    {"slot_unusable", EXPLAIN_REFUSAL, "the server does not stream from this slot",
     "It is physical, or belongs to another database, and changed so while the relay\n"
     "was about to start.\n",
     SLOT_ROW STATUS, "Correct postgres.slot and the dbname in postgres.conninfo.\n",
     OPERATIONS("changing-the-config")},
    {"cluster_changed", EXPLAIN_REFUSAL, "the stored position belongs to another Postgres cluster",
     "Every cluster has a system identifier from its initdb. A restored base backup\n"
     "keeps it; a dump, a pg_upgrade or another server does not.\n",
     "  SELECT system_identifier FROM pg_control_system();\n"
     "  walferry status shop.yaml --json      position.system_id\n",
     "Wrong server: correct postgres.conninfo. Two databases with one name: give each\n"
     "its own `name`. After pg_upgrade or a restored dump there is no slot yet; before\n"
     "the writers start:\n"
     "  walferry position shop.yaml set new --confirm shop --reason 'pg_upgrade'\n"
     "  walferry init shop.yaml\n"
     "With a slot there already, as after a restored disk image:\n" SET_POSITION "\n",
     RUNBOOK("moving-to-a-new-major-version-of-postgres")},
    {"instance_conflict", EXPLAIN_REFUSAL, "the stored position belongs to another database or slot",
     "An instance name stands for one database and one slot; its position topic and\n"
     "its transactional id carry the name. Two configs use the same one, or slot or\n"
     "dbname were changed.\n",
     STATUS,
     "Give this instance another `name`, or put postgres.slot and the dbname back. If\n"
     "the database was moved, or the slot renamed, for good:\n" SET_POSITION "\n",
     OPERATIONS("going-on-knowingly")},
    {"timeline_diverged", EXPLAIN_REFUSAL, "the server is on a timeline that left the stored position behind",
     "The server left the timeline of the position at a point before it, or does not\n"
     "descend from it. Kafka then holds events of commits that this server never had.\n",
     "  SELECT timeline_id FROM pg_control_checkpoint();\n"
     "  walferry status shop.yaml      timeline and last event of the position\n"
     "  walferry status shop.yaml --lost      those events, with topic, partition and offset\n",
     "Connect to the server that descends from the one read last, if there is one.\n"
     "Otherwise the failover has lost commits (synchronized_standby_slots prevents\n"
     "that on Postgres 17): decide with the owners of the data what\n"
     "is true, and undo in the consumers what never happened. Then go on knowingly:\n" SET_POSITION "\n",
     RUNBOOK("a-standby-was-promoted")},
    {"server_behind", EXPLAIN_REFUSAL, "the server's WAL ends before the stored position",
     "The database was restored from an older backup or disk image, or conninfo leads\n"
     "to a copy that lags behind.\n",
     "  SELECT pg_is_in_recovery(), pg_current_wal_flush_lsn();\n" STATUS
     "  walferry status shop.yaml --lost      the events that the database does not know\n",
     "Connect to the right server. If the database was rolled back indeed: Kafka has\n"
     "events that it does not know any more; see what they are. Then go on knowingly:\n" SET_POSITION "\n",
     RUNBOOK("the-database-was-restored-from-a-backup")},
    {"history_rewritten", EXPLAIN_REFUSAL, "the server does not send the last published transaction again",
     "The slot stands before the transaction that was published last, so the server\n"
     "must send that one first, with the same commit LSN, xid and time. It sent\n"
     "another: the database was rolled back to an older state and has written other\n"
     "rows since.\n",
     STATUS "  the refusal itself: what was expected, and what came\n",
     "As with server_behind: Kafka has events that this database does not have.\n"
     "Compare the two, and correct what consumers took from them. Then go on\n"
     "knowingly:\n" SET_POSITION "\n",
     RUNBOOK("the-database-was-restored-from-a-backup")},
    {"resume_mismatch", EXPLAIN_REFUSAL, "a half-published transaction comes again, but not as it was",
     "A large transaction was published in parts. On the way through it again, the\n"
     "rows are others, or tables, prefixes or the decoder were changed: the place to\n"
     "go on from cannot be found.\n",
     "  walferry status shop.yaml      'half done'\n",
     "Put relay.tables, relay.messages, postgres.decoder and the publication back to\n"
     "what they were, let the relay finish that transaction, and change them then. To\n"
     "repeat it from its beginning (LSN: its commit), or to skip the rest of it (one\n"
     "behind):\n"
     "  walferry position shop.yaml set LSN      says what that would be\n"
     "  walferry position shop.yaml set LSN --confirm shop --reason 'why'\n",
     OPERATIONS("going-on-knowingly")},
    {"position_exists", EXPLAIN_REFUSAL, "--adopt-slot was given, but there is a stored position",
     "Adopting a slot is for when there is none. With one, the relay knows by itself\n"
     "where to go on.\n",
     STATUS, "Start without --adopt-slot.\n", OPERATIONS("the-position")},
    {"position_missing", EXPLAIN_REFUSAL, "replay: the instance has no stored position",
     "A replay ends at what the relay has published, and that is what the position\n"
     "says. There is none: the relay never ran, or its position topic was lost.\n",
     STATUS, "Start the relay, or bring its position topic back; then the same command again.\n",
     RUNBOOK("kafka-lost-the-position")},
    {"replay_too_old", EXPLAIN_REFUSAL, "replay: the held-back slot no longer has what is asked for",
     "The slot of postgres.replay is moved up as its window passes (keep), and earlier\n"
     "where it would hold back more WAL than keep_bytes. The refusal names the oldest\n"
     "LSN that it has. A time is refused too if nothing shows that all from it on is\n"
     "retained.\n",
     "  SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'walferry_shop_replay';\n",
     "Replay what there is, from the LSN that the refusal names:\n"
     "  walferry replay shop.yaml --from LSN\n"
     "What is older may still be in the outbox as rows, by the time at which they\n"
     "occurred:\n"
     "  walferry replay shop.yaml --source table --from TIME --to TIME\n"
     "For the next time, give postgres.replay.keep and keep_bytes more room.\n",
     RUNBOOK("a-consumer-lost-its-data")},
    {"replay_list_lost", EXPLAIN_REFUSAL, "replay --source table: the work list of a run is not there whole",
     "The rows of such a run are published from tables of the schema walferry, named\n"
     "replay_ and a number. An instance has those of one run: another one, with other\n"
     "options, has dropped them. Or somebody has, or has taken rows out of them, or\n"
     "the database is from before they were made.\n",
     "  \\dt+ walferry.replay_*      in psql\n",
     "Bring the tables back, and give the same command again. If they are gone for\n"
     "good, begin the run anew:\n"
     "  walferry replay shop.yaml --source table ... --again\n"
     "What it has published already comes again then, with the same ids; rows that\n"
     "were deleted from the outbox meanwhile do not.\n",
     RUNBOOK("a-consumer-lost-its-data")},
    {"snapshot_too_late", EXPLAIN_REFUSAL, "--snapshot was given, but the slot was made without one",
     "A snapshot is what stood in the tables at the moment the slot was made, and can\n"
     "be taken at that moment only. This slot was made by `walferry init`, or by a\n"
     "start without --snapshot.\n",
     STATUS "  SELECT count(*) FROM outbox;      rows from before the slot among them\n",
     "If nothing has to be published from before: start without --snapshot. If nothing\n"
     "was published yet, or consumers drop repeats by id, begin anew:\n"
     "  walferry drop shop.yaml --confirm shop\n"
     "  walferry init shop.yaml --snapshot --admin 'host=db1 dbname=shop user=postgres'\n"
     "  walferry relay shop.yaml --snapshot\n"
     "What was published and still stands in the outbox then comes again. What was\n"
     "streamed, not published yet, and is deleted from the outbox never comes: let the\n"
     "relay publish all (`--until now`) first.\n",
     README("rows-from-before")},
    {"snapshot_lost", EXPLAIN_REFUSAL, "the work list of a half-published snapshot is not there whole",
     "The rows of the snapshot are published from tables of the schema walferry, named\n"
     "snapshot_ and the slot's position in hexadecimal. One was dropped or renamed,\n"
     "rows were taken out of it, or the database is from before they were made.\n",
     STATUS "  \\dt+ walferry.snapshot_*      in psql\n",
     "Bring the tables back, and start again. If they are gone for good, begin anew:\n"
     "  walferry drop shop.yaml --confirm shop\n"
     "  walferry init shop.yaml --snapshot --admin 'host=db1 dbname=shop user=postgres'\n"
     "  walferry relay shop.yaml --snapshot\n"
     "Rows of the snapshot that are in Kafka already come again, with the same ids;\n"
     "those that were deleted from the outbox meanwhile do not.\n",
     README("rows-from-before")},
    {"position_unreadable", EXPLAIN_REFUSAL, "the stored position is not of this version's format",
     "A newer walferry wrote it, or somebody else wrote into the position topic.\n",
     "  kcat -b $KAFKA_BROKERS -C -e -q -t walferry.position.shop -X isolation.level=read_committed -f '%T %k %s\\n' | "
     "tail -3\n",
     "Run the version that wrote it. If another program wrote there: take its right to\n"
     "do so away, and write the last good record, which the command above shows,\n"
     "again:\n"
     "  kcat -b $KAFKA_BROKERS -P -t walferry.position.shop -K '|'      a line: current|{...}\n"
     "If none is left, go on knowingly:\n" SET_POSITION "\n",
     OPERATIONS("going-on-knowingly")},
    {"position_topic_invalid", EXPLAIN_REFUSAL, "the position topic does not keep the position safely",
     "It must have one partition, so that records have one order; cleanup.policy\n"
     "exactly compact, so that the newest is kept for ever; and no unclean leader\n"
     "election, so that a committed one is not lost.\n",
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --describe --entity-type topics --entity-name "
     "walferry.position.shop\n",
     "Correct its settings:\n"
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --alter --entity-type topics \\\n"
     "    --entity-name walferry.position.shop \\\n"
     "    --add-config cleanup.policy=compact,unclean.leader.election.enable=false\n"
     "With more than one partition: give the instance another name, or delete the\n"
     "topic if it holds nothing.\n",
     OPERATIONS("kafka")},
    {"unclean_election", EXPLAIN_REFUSAL, "a topic allows unclean leader election (found by check)",
     "A replica that lags behind may then become leader, and committed records are\n"
     "gone: those of the transaction, while the position says that they were\n"
     "published. `relay` does not look for this in topics of events; `check` fails on\n"
     "it.\n",
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --describe --entity-type topics --entity-name TOPIC\n",
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --alter --entity-type topics \\\n"
     "    --entity-name TOPIC --add-config unclean.leader.election.enable=false\n",
     OPERATIONS("kafka")},
    {"topic_missing", EXPLAIN_REFUSAL, "a topic does not exist, and kafka.topics.create is false",
     "A route, the topic column of a row, or the quarantine leads to it.\n", "  kcat -b $KAFKA_BROKERS -L -t TOPIC\n",
     "Create it, or set kafka.topics.create: true, or correct the route. The row that\n"
     "needs it is kept by the slot.\n",
     OPERATIONS("kafka")},
    {"partitions_shrunk", EXPLAIN_REFUSAL, "a topic was made again with fewer partitions than it had",
     "Keys are placed over the number of partitions that the topic had when walferry\n"
     "first wrote to it. With fewer, keys would move and their order would break.\n",
     "  kcat -b $KAFKA_BROKERS -L -t TOPIC\n",
     "  kafka-topics.sh --bootstrap-server $KAFKA_BROKERS --alter --topic TOPIC --partitions N\n"
     "with N as the refusal says. Records lost with the old topic do not come again.\n",
     RUNBOOK("a-topic-was-lost")},
    {"row_invalid", EXPLAIN_REFUSAL, "a row cannot be published, and relay.on_invalid is stop",
     "The refusal names table, id, LSN and the reason, which has a page of its own.\n",
     "  SELECT * FROM outbox WHERE id = '...';\n",
     "Set relay.on_invalid: quarantine and start again: the row goes to the quarantine\n"
     "topic and the rest follows. Or remove the cause, where it is a topic or a limit.\n",
     OPERATIONS("the-quarantine")},
    {"quarantine_refused", EXPLAIN_REFUSAL, "the brokers refuse even the quarantine record of a row",
     "The quarantine topic takes less than such a record needs, although it holds the\n"
     "payload no more; or it is compacted and the row has no key.\n",
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --describe --entity-type topics --entity-name "
     "shop.quarantine\n",
     "  kafka-configs.sh --bootstrap-server $KAFKA_BROKERS --alter --entity-type topics \\\n"
     "    --entity-name shop.quarantine --add-config cleanup.policy=delete,max.message.bytes=1048588\n",
     OPERATIONS("the-quarantine")},
    {"row_undecodable", EXPLAIN_REFUSAL, "the server fails three times to decode the transaction behind the position",
     "Most likely a row near 500 MB, which the output plugin cannot write down; the\n"
     "walsender ends with XX000 or 54000 at the same place again and again.\n"
     "A row of a snapshot, or of replay --source table, is refused at the first\n"
     "attempt, and the remedy names it: make it smaller in the work list.\n",
     "  the server's log, for the walsender's error\n"
     "  SELECT id, octet_length(payload::text) FROM outbox ORDER BY 2 DESC LIMIT 5;\n",
     "Stop walferry. Note the rows of that transaction. Give an LSN behind its commit:\n"
     "  SELECT pg_current_wal_lsn();      behind everything that is in the WAL now\n"
     "Then go on knowingly:\n" SET_POSITION "\n"
     "Whatever else was committed before is skipped too: find it, and insert it again.\n"
     "A replay cannot go across it either: one run before it (--to), one behind.\n"
     "Keep such rows out from now on:\n"
     "  ALTER TABLE outbox ADD CONSTRAINT payload_size CHECK (octet_length(payload::text) <= 67108864);\n",
     OPERATIONS("going-on-knowingly")},
    {"slot_held", EXPLAIN_ERROR, "another instance holds the slot (exit code 4)",
     "Without --until a second instance waits as a standby. With it, or after another\n"
     "instance took over the transactional id, there is nothing to wait for.\n",
     STATUS,
     "Stop the other instance, or run this one without --until. If no instance runs\n"
     "and the server still counts one as active, it waits for wal_sender_timeout; this\n"
     "ends it:\n"
     "  SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'walferry_shop';\n",
     OPERATIONS("standby")},
    {"server_is_standby", EXPLAIN_ERROR, "the server is a standby, and the slot cannot be read there",
     "The slot is not there, or it is synchronised from the primary and nobody may\n"
     "read it before the standby is promoted. The relay waits for that.\n",
     "  SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn();\n" SLOT_ROW,
     "Promote it, or point postgres.conninfo at the primary: several hosts, and\n"
     "target_session_attrs=read-write, find it by themselves.\n",
     OPERATIONS("failover")},
    {"decode_failed", EXPLAIN_ERROR, "the server failed to decode; it is tried again",
     "The walsender ended with XX000 or 54000. That may pass by itself; the third time\n"
     "at the same place it is refused as row_undecodable.\n",
     "  the server's log, for the walsender's error\n", "Nothing, unless it comes again: see row_undecodable.\n",
     OPERATIONS("going-on-knowingly")},
};
const size_t explain_refusal_count = sizeof explain_refusals / sizeof explain_refusals[0];
