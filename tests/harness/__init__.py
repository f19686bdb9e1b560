"""What integration and chaos tests drive walferry with: real servers, proxies, and walferry itself as a black box.

    servers.py   Postgres, Kafka        start, stop, kill9, sigstop, restart; SQL and records
    secure.py    SecurePostgres,        TLS, credentials, ACLs, certificates made for the run
                 SecureKafka, SecureShop
    proxy.py     TcpProxy, KafkaProxy   cut, delay, black hole, hold back one request
    walferry.py  Walferry               one run of the binary, its log events and exit code
    shop.py      Shop                   one test's database, topics and config file
    session.py   Session                the commands of a document, and what they print
    fixtures.py  pytest fixtures        postgres, kafka, shop, make_shop, secure_shop, fresh_postgres, fresh_kafka

Standard library only; Postgres and Kafka are reached through psql, kcat and plain sockets.
"""
