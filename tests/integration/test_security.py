"""TLS and credentials, to Postgres and to Kafka: with the right ones events arrive, with wrong ones the start ends with the
cause and a remedy, and no secret is ever said. Real servers, certificates made for the run."""
import os
import subprocess

import pytest

from harness.system import ROOT
from harness.walferry import binary
from integration_checks import said, wait_records


@pytest.fixture
def certified(secure_shop):
    """The role that Postgres knows by the client certificate's CN."""
    secure_shop.psql("create role certified login replication in role by_certificate")
    yield "certified"
    secure_shop.postgres.drop_database(secure_shop.db)
    secure_shop.postgres.psql("drop role certified")


def relayed(shop, listener, properties):
    """One event from the outbox to a consumer that comes in the same way."""
    id, = shop.insert()
    shop.drain()
    shop.assert_exactly_once([id])
    assert any(id in payload for payload in shop.kafka.consume_as(listener, properties, shop.topic()))
    shop.assert_no_secret_said()


# With the right ones


@pytest.mark.parametrize("mechanism, user", [("SCRAM-SHA-256", "walferry"), ("SCRAM-SHA-512", "walferry"), ("PLAIN", "plain")])
def test_sasl_over_tls_and_scram_to_postgres(secure_shop, mechanism, user):
    secure_shop.use_sasl(mechanism, user)
    secure_shop.init_by_admin()
    secure_shop.drain()
    relayed(secure_shop, "sasl", secure_shop.config["kafka"]["properties"])


def test_client_certificates_to_both(secure_shop, certified):
    """The key of one of them is encrypted, its password comes from the environment."""
    key = secure_shop.kafka.certificates.encrypted_key("client", secure_shop.KEY_PASSWORD)
    secure_shop.use_kafka("mtls", *secure_shop.tls(), *secure_shop.with_certificate(key=key), "ssl.key.password=${WF_KEY}")
    files = secure_shop.postgres.certificates
    files["client.key"].chmod(0o600)
    secure_shop.use_postgres(f"sslcert={files['client.pem']} sslkey={files['client.key']}", role=certified)
    env = {"WF_KEY": secure_shop.KEY_PASSWORD}
    secure_shop.init("--admin", secure_shop.postgres.conninfo(secure_shop.db), env=env)
    id, = secure_shop.insert()
    secure_shop.drain(env=env)
    secure_shop.assert_exactly_once([id])
    kcat = [*secure_shop.tls(), *secure_shop.with_certificate()]
    assert len(secure_shop.kafka.consume_as("mtls", kcat, secure_shop.topic())) == 1
    secure_shop.assert_no_secret_said()


def test_the_secure_example_works_as_written(secure_shop):
    """config/examples/secure.yaml: passwords from files, relative to it; certificates from a folder."""
    shop = secure_shop
    example = shop.dir / "secure.yaml"
    example.write_text((ROOT / "config" / "examples" / "secure.yaml").read_text())
    for name, password in (("postgres.password", shop.PG_PASSWORD), ("kafka.password", shop.KAFKA_PASSWORD)):
        (shop.dir / name).touch(0o600)
        (shop.dir / name).write_text(password + "\n")
    # One authority for both servers, as a company has it.
    both = shop.dir / "ca.pem"
    both.write_text(shop.kafka.certificates["ca.pem"].read_text() + shop.postgres.certificates["ca.pem"].read_text())
    env = {"PGHOST": "localhost", "PGPORT": shop.postgres.port, "KAFKA_BROKERS": shop.kafka.listener("sasl"),
           "TLS_CA": both, "PGDATABASE": shop.db}
    shop.create_role("walferry")
    try:
        done = walferry("init", example, "--admin", shop.postgres.conninfo(shop.db), env=env)
        assert done.returncode == 0 and "secret_readable" not in done.stderr, done.stderr
        shop.psql("select walferry.emit('orders', 'OrderPlaced', 'k', '{}')")
        done = walferry("relay", example, "--until", "now", env=env)
        assert done.returncode == 0, done.stderr
        assert len(shop.kafka.consume("shop.orders.events.v1")) == 1
        (shop.dir / "kafka.password").chmod(0o644)
        done = walferry("init", example, "--print", env=env)
        assert done.returncode == 0 and "config.secret_readable" in done.stderr and "kafka.password" in done.stderr
    finally:
        shop.postgres.drop_database(shop.db)
        shop.postgres.psql("drop role if exists walferry")


def walferry(*arguments, env):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {k: str(v) for k, v in env.items()}
    return subprocess.run([binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, env=environment)


# With wrong ones: Kafka


def fails(shop, *words):
    """A start that ends with exit code 2, the cause and a remedy."""
    run = shop.run("relay", timeout=30).expect_exit(2)
    event = run.find("relay.failed")
    for word in words:
        assert word in event["error"] + " " + event["remedy"], f"\"{word}\" is not in {event}"
    assert event["remedy"]
    shop.assert_no_secret_said()


@pytest.fixture
def kafka_shop(secure_shop):
    """Only what it says to Kafka matters: Postgres lets it in as the superuser."""
    secure_shop.config["postgres"]["conninfo"] = secure_shop.postgres.conninfo(secure_shop.db)
    return secure_shop


@pytest.mark.parametrize("mechanism, user, password", [
    ("SCRAM-SHA-256", "walferry", "Geheim-key-c34b"), ("SCRAM-SHA-512", "nobody", "Geheim-kafka-5a7e"),
    ("PLAIN", "plain", "Geheim-key-c34b"), ("PLAIN", "walferry", "Geheim-kafka-5a7e")])
def test_credentials_that_the_brokers_refuse(kafka_shop, mechanism, user, password):
    kafka_shop.use_sasl(mechanism, user, password)
    fails(kafka_shop, "refuse the credentials", "sasl.password", "sasl.username", "sasl.mechanism")


def test_a_mechanism_that_the_brokers_do_not_have(kafka_shop):
    kafka_shop.use_kafka("sasl", *kafka_shop.tls("sasl_ssl"), "sasl.mechanism=OAUTHBEARER",
                         "sasl.oauthbearer.config=principal=x", "enable.sasl.oauthbearer.unsecure.jwt=true")
    fails(kafka_shop, "Unsupported SASL mechanism", "SCRAM-SHA-512", "sasl.mechanism")


@pytest.mark.parametrize("listener, authority, words", [
    ("tls", "other.pem", ["authority", "ssl.ca.location"]),
    ("wronghost", "ca.pem", ["another host name", "advertised.listeners"]),
    ("expired", "ca.pem", ["has expired", "clock"])])
def test_broker_certificates_that_are_not_trusted(kafka_shop, listener, authority, words):
    kafka_shop.use_kafka(listener, *kafka_shop.tls(authority=authority))
    fails(kafka_shop, "certificate", *words)


@pytest.mark.parametrize("certificate", [None, "stranger"])
def test_a_client_certificate_that_the_brokers_miss_or_refuse(kafka_shop, certificate):
    own = kafka_shop.with_certificate(certificate) if certificate else ()
    kafka_shop.use_kafka("mtls", *kafka_shop.tls(), *own)
    fails(kafka_shop, "refuse walferry's certificate", "ssl.certificate.location")


@pytest.mark.parametrize("named, properties", [
    ("ssl.ca.location", ["security.protocol=ssl", "ssl.ca.location=/nowhere/ca.pem"]),
    ("ssl.certificate.location", ["security.protocol=ssl", "ssl.certificate.location=/nowhere/c.pem"]),
    ("ssl.key.pem", ["security.protocol=ssl", "ssl.key.pem=Geheim-key-c34b"]),
    ("SCRAM-SHA-1024", ["security.protocol=sasl_ssl", "sasl.mechanism=SCRAM-SHA-1024", "sasl.username=u",
                        "sasl.password=Geheim-kafka-5a7e"]),
    ("security.protocol", ["security.protocol=tls"]), ("sasl.pasword", ["sasl.pasword=Geheim-kafka-5a7e"])])
def test_properties_that_librdkafka_refuses_are_named_without_secrets(kafka_shop, named, properties):
    kafka_shop.use_kafka("tls", *properties)
    fails(kafka_shop, named)


def test_another_security_protocol_is_named_and_waited_for(kafka_shop):
    """It cannot be told from a broker that dies: retried, with the remedy."""
    runs = []
    for listener, properties in (("tls", []), ("sasl_plain", []), ("sasl_plain", kafka_shop.tls()), ("sasl", kafka_shop.tls())):
        kafka_shop.use_kafka(listener, *properties)
        runs.append(kafka_shop.relay(wait=False, config=kafka_shop.changed()))  # a file for each
    for run in runs:
        event = run.wait_event("relay.recovering", timeout=30)
        assert "security.protocol" in event["remedy"] and event["kind"] == "retry"
    for run in runs:
        assert run.terminate() == 0


def test_brokers_that_let_it_in_before_are_waited_for(kafka_shop):
    """A password is changed under a relay that runs, and changed back."""
    kafka = kafka_shop.kafka
    kafka_shop.use_sasl("SCRAM-SHA-256", "changing")
    relay = kafka_shop.relay()
    kafka.set_scram_password("changing", "another")
    try:
        kafka.restart()
        ids = kafka_shop.insert(2)
        event = relay.wait_event("relay.recovering", timeout=60, error=lambda text: "refuse the credentials" in (text or ""))
        assert event["kind"] == "retry" and "sasl.password" in event["remedy"]
        assert relay.running
        fails(kafka_shop, "refuse the credentials")  # at a start it is the config
    finally:
        kafka.set_scram_password("changing", kafka_shop.KAFKA_PASSWORD)
    wait_records(kafka_shop, 2, timeout=60)
    assert relay.terminate() == 0
    kafka_shop.assert_exactly_once(ids)


def test_a_certificate_file_that_is_away_is_waited_for_by_a_relay_that_runs(kafka_shop):
    """While it is replaced, say: it was there when the relay began."""
    authority = kafka_shop.dir / "authority.pem"
    text = kafka_shop.kafka.certificates["ca.pem"].read_text()
    authority.write_text(text)
    kafka_shop.use_kafka("tls", "security.protocol=ssl", f"ssl.ca.location={authority}")
    relay = kafka_shop.relay()
    authority.unlink()
    kafka_shop.psql("select pg_terminate_backend(pid) from pg_stat_replication")
    event = relay.wait_event("relay.recovering", error=lambda text: "ssl.ca.location" in (text or ""))
    assert event["kind"] == "retry"
    fails(kafka_shop, "ssl.ca.location")  # at a start it is the config
    authority.write_text(text)
    ids = kafka_shop.insert(2)
    wait_records(kafka_shop, 2, timeout=60)
    assert relay.terminate() == 0
    kafka_shop.assert_exactly_once(ids)


@pytest.mark.parametrize("listener, properties", [
    ("wronghost", ["ssl.endpoint.identification.algorithm=none"]),
    ("expired", ["enable.ssl.certificate.verification=false"])])
def test_checks_may_be_turned_off(kafka_shop, listener, properties):
    """walferry's own look at each certificate changes nothing about what the user asked for."""
    kafka_shop.use_kafka(listener, *kafka_shop.tls(), *properties)
    kafka_shop.drain()


# With wrong ones: Postgres


@pytest.mark.parametrize("change, words", [
    ({"more": "password=Geheim-key-c34b"}, ["password authentication failed", "postgres.password_file", "pg_hba.conf"]),
    ({"more": ""}, ["no password supplied", "postgres.password_file"]),
    ({"more": "password=Geheim-pg-8d1f", "role": "nobody_at_all"}, ["nobody_at_all", "role"]),
    ({"more": "password=Geheim-pg-8d1f", "certificates": "other.pem"}, ["certificate verify failed", "sslrootcert"]),
    ({"more": "password=Geheim-pg-8d1f", "certificates": "missing.pem"}, ["missing.pem", "sslrootcert"]),
    ({"more": "password=Geheim-pg-8d1f", "host": "host=db.example hostaddr=127.0.0.1"}, ["db.example", "hostaddr"]),
    ({"more": "password=Geheim-pg-8d1f", "sslmode": "disable"}, ["no encryption", "sslmode"]),
    ({"more": "sslcert=/nowhere/c.pem sslkey=/nowhere/c.key", "role": "certified"}, ["certificate", "sslcert"])])
def test_what_postgres_refuses_or_is_not_trusted_for(secure_shop, certified, change, words):
    secure_shop.create_role()
    secure_shop.use_postgres(**change)
    fails(secure_shop, *words)


def test_a_client_certificate_of_another_authority(secure_shop, certified):
    files = secure_shop.postgres.certificates
    files["stranger.key"].chmod(0o600)
    secure_shop.use_postgres(f"sslcert={files['stranger.pem']} sslkey={files['stranger.key']}", role=certified)
    fails(secure_shop, "unknown ca", "sslcert")


def test_an_expired_certificate_ends_a_start_and_is_waited_for_by_a_relay_that_runs(secure_shop):
    shop, postgres = secure_shop, secure_shop.postgres
    shop.init_by_admin()
    relay = shop.relay()
    postgres.use_certificate("expired")
    try:
        postgres.restart("immediate")
        event = relay.wait_event("relay.recovering", error=lambda text: "certificate verify failed" in (text or ""))
        assert event["kind"] == "retry" and "valid today" in event["remedy"]
        fails(shop, "certificate verify failed", "valid today")
    finally:
        postgres.use_certificate("server")
        postgres.reload()
    ids = shop.insert(2)
    wait_records(shop, 2, timeout=60)
    assert relay.terminate() == 0
    shop.assert_exactly_once(ids)


# Secrets


def test_no_secret_is_said_at_the_highest_log_level(secure_shop):
    """librdkafka logs its whole configuration with debug=all."""
    shop = secure_shop
    key = shop.kafka.certificates.encrypted_key("client", shop.KEY_PASSWORD)
    shop.config["log"] = {"level": "debug"}
    shop.config["kafka"]["properties"] += ["debug=all", *shop.with_certificate(key=key), "ssl.key.password=${WF_KEY}"]
    env = {"WF_KEY": shop.KEY_PASSWORD}
    shop.init_by_admin(env=env)
    shop.init("--print", env=env)
    relay = shop.relay(env=env)
    shop.insert(3)
    wait_records(shop, 3)
    assert relay.find("kafka.log", facility="CONF", text=lambda text: "sasl.password = [redacted]" in (text or ""))
    for path in (f"/proc/{relay.pid}/cmdline", f"/proc/{relay.pid}/comm"):
        with open(path, "rb") as shown:
            assert not any(secret.encode() in shown.read() for secret in shop.SECRETS)
    assert not any(secret in row["application_name"] for secret in shop.SECRETS
                   for row in shop.query("select application_name from pg_stat_activity"))
    assert relay.terminate() == 0
    # The same with passwords that are wrong, to either server.
    for section, wrong in (("kafka", {"properties": [shop.PG_PASSWORD.join(each.split(shop.KAFKA_PASSWORD))
                                                     for each in shop.config["kafka"]["properties"]]}),
                           ("postgres", {"conninfo": shop.config["postgres"]["conninfo"].replace(shop.PG_PASSWORD,
                                                                                                shop.KEY_PASSWORD)})):
        shop.run("relay", config=shop.changed(**{section: wrong}), env=env).expect_exit(2)
    shop.assert_no_secret_said()


@pytest.mark.parametrize("old, new", [
    ("password=${WF_PG}", "pasword=Geheim-pg-8d1f"),
    ("password=${WF_PG}", "password=Geheim-pg-8d1f Geheim-pg-8d1f"),
    ("conninfo: host=h password=${WF_PG}", "conninfo: postgres://u:Geheim-pg-8d1f@[h/d"),
    ("conninfo: host=h password=${WF_PG}", "conninfo: {password: Geheim-pg-8d1f}"),
    ("conninfo: host=h password=${WF_PG}", "conninfo: host=h password=${WF_PG\n"),
    ("sasl.password=${WF_KAFKA}", "sasl.password:Geheim-kafka-5a7e"),
    ("sasl.password=${WF_KAFKA}", "sasl.password=Geheim-kafka-5a7e$"),
    ("sasl.password=${WF_KAFKA}", "sasl.password=${WF_KAFKA}${:-Geheim-kafka-5a7e}"),
    ("sasl.password=${WF_KAFKA}", "sasl.pasword=Geheim-kafka-5a7e"),
    ("[\"sasl.password=${WF_KAFKA}\"]", "\"sasl.password=Geheim-kafka-5a7e\""),
    ("[\"sasl.password=${WF_KAFKA}\"]", "[\"sasl.password=Geheim-kafka-5a7e\"]\n  password_file: /nowhere"),
    ("[\"sasl.password=${WF_KAFKA}\"]", "[\"sasl.password=Geheim-kafka-5a7e\", \"sasl.password=Geheim-kafka-5a7e\"]"),
    ("[\"sasl.password=${WF_KAFKA}\"]", "[\"sasl.password=Geheim-kafka-5a7e"),
    ("brokers: k", "brokers: k\n  sasl.password: Geheim-kafka-5a7e")])
def test_config_errors_quote_no_secret(tmp_path, old, new):
    text = ("name: shop\npostgres:\n  conninfo: host=h password=${WF_PG}\nkafka:\n  brokers: k\n"
            "  properties: [\"sasl.password=${WF_KAFKA}\"]\nrelay:\n  tables: [{table: outbox}]\n")
    assert old in text
    path = tmp_path / "walferry.yaml"
    path.write_text(text.replace(old, new))
    done = walferry("init", path, "--print", env={"WF_PG": "Geheim-pg-8d1f", "WF_KAFKA": "Geheim-kafka-5a7e"})
    assert done.returncode == 2, done.stdout
    assert "Geheim" not in said(done.stderr) + done.stdout
    assert "remedy" in done.stderr


@pytest.mark.parametrize("admin", [
    "hots=h password=Geheim-pg-8d1f", "host=h password=Geheim-pg-8d1f Geheim-pg-8d1f", "postgres://u:Geheim-pg-8d1f@[h/d",
    "host=127.0.0.1 port=1 user=u password=Geheim-pg-8d1f"])
def test_the_administrators_connection_string_is_not_quoted(tmp_path, admin):
    path = tmp_path / "walferry.yaml"
    path.write_text("name: shop\npostgres: {conninfo: host=h}\nkafka: {brokers: k}\nrelay: {tables: [{table: outbox}]}\n")
    done = walferry("init", path, "--admin", admin, env={})
    assert done.returncode in (1, 2) and "init.failed" in done.stderr
    assert "Geheim" not in said(done.stderr) + done.stdout
