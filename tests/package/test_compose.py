"""docker-compose.yml: it parses, its servers are set up as the tests set up theirs, and what it mounts works. That the services
work together is tried in test_image.py, with the servers of the tests."""
import re
import subprocess

from harness import system, walferry

COMPOSE = system.ROOT / "docker-compose.yml"


def kafka_settings():
    """Of both sides, as properties: the image makes KAFKA_A_B out of a.b, the script writes a file."""
    image = {name.lower().replace("_", "."): value.strip('"') for name, value in
             re.findall(r"^ +KAFKA_([A-Z_]+): (\S+)", COMPOSE.read_text(), re.M)}
    script = dict(re.findall(r"^([a-z.]+)=(\S+)$", (system.ROOT / "scripts/lib/kafka.sh").read_text(), re.M))
    return image, script


def test_compose_accepts_it():
    done = subprocess.run(["docker-compose", "-f", COMPOSE, "config", "-q"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_broker_is_set_up_as_that_of_the_tests():
    image, script = kafka_settings()
    for name in ("auto.create.topics.enable", "default.replication.factor", "min.insync.replicas",
                 "offsets.topic.replication.factor", "transaction.state.log.replication.factor", "transaction.state.log.min.isr",
                 "process.roles", "node.id", "controller.listener.names"):
        assert image[name] == script[name], name
    version = re.search(r"image: apache/kafka:(\S+)", COMPOSE.read_text())[1]
    assert f"WALFERRY_KAFKA_VERSION:-{version}}}" in (system.ROOT / "scripts/lib/kafka.sh").read_text()


def test_a_real_broker_takes_its_settings(fresh_kafka):
    """As they stand, but for ports, addresses and folders."""
    image, _ = kafka_settings()
    own = {"listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name", "log.dirs",
           "controller.quorum.voters"}
    broker = fresh_kafka({name: value for name, value in image.items() if name not in own})
    broker.create_topic("tried")
    assert "tried" in broker.topics()


def test_its_server_is_set_up_as_that_of_the_tests():
    image = dict(re.findall(r'"-c", "([a-z_]+)=([^"]+)"', COMPOSE.read_text()))
    script = dict(re.findall(r'echo "([a-z_]+) = ([^"]+)"', (system.ROOT / "scripts/lib/postgres.sh").read_text()))
    assert image["wal_level"] == "logical"
    for name, value in image.items():
        assert script[name] == value, name


def test_its_server_lets_both_decoders_in_whatever_version_it_is(fresh_postgres):
    """output_plugin_libraries is unknown to older servers, and needed by newer ones."""
    server = fresh_postgres()
    if server.value("select count(*) from pg_settings where name = 'output_plugin_libraries'") == "1":
        server.configure({"output_plugin_libraries": "pgoutput"})  # as it would be without the line of the tests' server
        server.restart()
    script = (system.ROOT / "config/compose/postgres/output_plugins.sql").read_text()
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"],
                          input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    server.restart()
    for plugin in ("pgoutput", "wal2json"):
        server.psql(f"select pg_create_logical_replication_slot('tried_{plugin}', '{plugin}')")


def test_what_it_mounts_is_there_and_is_a_config(installed):
    mounted = set(re.findall(r'volumes: \["\./([^:"]+):/etc/walferry/', COMPOSE.read_text()))
    assert mounted
    for path in mounted:
        done = walferry.run("init", system.ROOT / path, "--print", binary_path=str(installed / "bin/walferry"))
        done.expect_exit(0)
        assert b"CREATE PUBLICATION" in done.stdout
