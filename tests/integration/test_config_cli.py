"""The command line and the config file: what is said, where, and with which exit code. Only one test needs servers."""
import os
import re
import subprocess

import pytest

from harness.shop import yaml
from harness.system import ROOT
from harness.walferry import binary
from integration_checks import said

CONFIG = """\
name: cli
postgres:
  conninfo: host=127.0.0.1 port=1 dbname=none user=nobody
  create: true
kafka:
  brokers: 127.0.0.1:1
  properties: ["compression.codec=lz4"]
  topics: {create: true, partitions: 3, replication: 1}
relay:
  tables:
    - table: public.outbox
      columns: {key: aggregateid, aggregate: aggregatetype}
  messages: [walferry]
  envelope: standard
  routes:
    - {type: "*", topic: "${aggregate}.events.v1"}
  on_invalid: quarantine
"""


def cli(*args, env=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    environment |= {k: str(v) for k, v in (env or {}).items()}
    return subprocess.run([binary(), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30, env=environment)


# --help, --version, usage


def test_help_goes_to_stdout_and_names_every_command():
    done = cli("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("relay", "init", "inbox", "--version"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["relay", "init"])
def test_each_command_has_help_with_an_example(command):
    done = cli(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(rf"walferry {command} [^\n]*\.yaml", done.stdout), "no example"
    for option in {"relay": ["--until", "--adopt-slot"], "init": ["--print", "--admin"]}[command]:
        assert option in done.stdout


def test_version_names_the_program_and_the_librdkafka_it_runs_with():
    done = cli("--version")
    assert done.returncode == 0 and done.stderr == ""
    assert re.match(r"walferry \d+\.\d+\.\d+", done.stdout)
    assert re.search(r"librdkafka \d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize("args, named", [
    ((), "--help"), (("fly",), "fly"), (("relay",), "CONFIG"), (("init",), "CONFIG"), (("--fly",), "--fly"),
    (("relay", "CONFIG", "--fly"), "--fly"), (("relay", "CONFIG", "second.yaml"), "second.yaml"),
    (("relay", "CONFIG", "--until"), "--until"), (("relay", "CONFIG", "--until", "later"), "later"),
    (("relay", "CONFIG", "--until", "0/XYZ"), "0/XYZ"), (("relay", "CONFIG", "--log-format", "xml"), "xml"),
    (("relay", "nothing-here.yaml"), "nothing-here.yaml"), (("init", "CONFIG", "--admin"), "--admin"),
    (("init", "CONFIG", "--until", "now"), "--until")])
def test_wrong_usage_is_exit_2_and_names_what_is_wrong(tmp_path, args, named):
    path = tmp_path / "walferry.yaml"
    path.write_text(CONFIG)
    done = cli(*[path if a == "CONFIG" else a for a in args])
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert named.lower() in said(done.stderr).lower()


def test_a_command_without_its_section(tmp_path):
    path = tmp_path / "walferry.yaml"
    path.write_text(CONFIG)
    done = cli("inbox", path)
    assert done.returncode == 2 and done.stdout == ""
    assert "there is no inbox section" in said(done.stderr) and "handlers" in said(done.stderr)


# The config file


def errors_of(tmp_path, text, env=None):
    path = tmp_path / "walferry.yaml"
    path.write_text(text)
    done = cli("relay", path, env=env)
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr}"
    assert done.stdout == ""
    return path, said(done.stderr)


def at(text, needle, nth=0):
    """LINE:COLUMN, from 1, of a place in a text."""
    index = -1
    for _ in range(nth + 1):
        index = text.index(needle, index + 1)
    return f"{text.count(chr(10), 0, index) + 1}:{index - text.rfind(chr(10), 0, index)}"


@pytest.mark.parametrize("old, new, place, words", [
    ("messages: [walferry]", "mesages: [walferry]", "mesages", ["mesages"]),
    ("  create: true\n", "  create: fasle\n", "fasle", ["fasle", "true"]),
    ("partitions: 3", "partitions: 30s", "30s", ["30s"]),
    ("partitions: 3", "partitions: 010", "010", ["010"]),
    ("partitions: 3", "partitions: 0", "0, replication", []),
    ("partitions: 3", "partitions: -1", "-1", ["-1"]),
    ("partitions: 3", "partitions: 99999999999", "99999999999", ["99999999999"]),
    ("partitions: 3", "partitions: 3.0", "3.0", ["3.0"]),
    ("partitions: 3", "partitions: 3, partitions: 3", "partitions: 3, replication", ["partitions"]),
    ("  brokers: 127.0.0.1:1", "  brokers:", None, ["brokers"]),
    ("  brokers: 127.0.0.1:1", "  brokers: ~", "~", ["brokers"]),
    ("  brokers: 127.0.0.1:1", "  brokers: [a, b]", "[a, b]", []),
    ("  brokers: 127.0.0.1:1", "  brokers: ${WF_UNDEFINED_NAME}", "${WF", ["WF_UNDEFINED_NAME"]),
    ("envelope: standard", "envelope: fancy", "fancy", ["fancy", "standard"]),
    ("on_invalid: quarantine", "on_invalid: ignore", "ignore", ["ignore", "quarantine", "stop"]),
    ("name: cli\n", "name: Not A Name\n", "Not A Name", ["Not A Name"]),
    ("name: cli\n", "name: ''\n", "''", ["name"]),
    ("    - table: public.outbox\n      columns", "    - columns", None, ["table"]),
    ("columns: {key", "columns: {quay", "quay", ["quay"]),
    ("compression.codec=lz4", "enable.idempotence=false", '"enable.idempotence', ["enable.idempotence"]),
    ("compression.codec=lz4", "transactional.id=mine", '"transactional.id', ["transactional.id"]),
    ("compression.codec=lz4", "acks=1", '"acks', ["acks"]),
    ("compression.codec=lz4", "no-equals-sign", '"no-equals', ["="]),
    ("${aggregate}.events", "${agregate}.events", '"${agr', ["agregate"]),
    ("conninfo: host=", "conninfo: hots=", "hots", ["hots"]),
    ("  messages: [walferry]", "  messages: [walferry", None, []),
    ("kafka:\n", "kafka:\n\tx: 1\n", None, [])])
def test_a_config_error_names_the_place_and_what_would_be_right(tmp_path, old, new, place, words):
    assert old in CONFIG
    text = CONFIG.replace(old, new, 1)
    path, message = errors_of(tmp_path, text)
    if place is not None:
        assert f"{path}:{at(text, place)}" in message
    else:
        assert re.search(re.escape(str(path)) + r":\d+:\d+", message)
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~\n", "[]\n", "just text\n"])
def test_a_file_without_a_mapping_is_refused(tmp_path, text):
    path, message = errors_of(tmp_path, text)
    assert re.search(re.escape(str(path)) + r":\d+:\d+", message)


def test_a_second_document_is_refused(tmp_path):
    text = CONFIG + "---\nname: second\n"
    path, message = errors_of(tmp_path, text)
    assert re.search(re.escape(str(path)) + r":(18|19):\d+", message)


@pytest.mark.parametrize("section", ["name", "postgres", "kafka"])
def test_a_missing_section_is_named(tmp_path, section):
    text = re.sub(rf"(?m)^{section}:.*\n(?:  .*\n)*", "", CONFIG)
    assert text != CONFIG
    _, message = errors_of(tmp_path, text)
    assert section in message


def test_secrets_of_the_config_are_never_said(tmp_path):
    text = CONFIG.replace("user=nobody", "user=nobody password=${WF_SECRET}").replace("create: true", "create: fasle", 1)
    _, message = errors_of(tmp_path, text, env={"WF_SECRET": "s3cr3t-word"})
    assert "s3cr3t-word" not in message


def test_a_right_config_passes_and_only_the_servers_are_missing(tmp_path):
    """So that the errors above are about what they change, and about nothing else."""
    path = tmp_path / "walferry.yaml"
    path.write_text(CONFIG)
    process = subprocess.Popen([binary(), "relay", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
    finally:
        process.terminate()
        out, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    assert out == "" and "walferry.yaml:" not in said(err)


def test_environment_variables_are_expanded(shop):
    """In conninfo after it was split: an empty value does not swallow the next word, a space stays in its value."""
    config = shop.changed(
        postgres={"conninfo": "host=${WF_HOST:-127.0.0.1} port=${WF_PORT} password=${WF_EMPTY:-} dbname=${WF_DB} "
                              "application_name=${WF_APP} user=postgres"},
        kafka={"brokers": "${WF_BROKERS}"})
    env = {"WF_PORT": shop.postgres.port, "WF_DB": shop.db, "WF_APP": "two words", "WF_BROKERS": shop.kafka.brokers}
    shop.run("relay", "--until", "now", config=config, env=env).expect_exit(0)
    assert shop.confirmed_flush()


def test_a_dollar_is_written_twice(make_shop):
    shop = make_shop()
    shop.config["relay"]["messages"] = ["wal$$ferry"]
    shop.drain()
    shop.psql("""select pg_logical_emit_message(true, 'wal$ferry',
      '{"id": "1", "type": "T", "aggregate": "orders", "key": "k", "payload": {}}')""")
    shop.drain()
    assert shop.record_ids() == ["1"]


def test_inbox_in_a_relays_config_is_checked_and_ignored(shop):
    inbox = {"group": "accounting", "topics": [f"{shop.name}.in"], "handlers": [{"type": "*", "call": "a.b"}]}
    shop.run("relay", "--until", "now", config=shop.changed(inbox=inbox)).expect_exit(0)
    wrong = shop.changed(inbox={**inbox, "handers": []})
    run = shop.run("relay", "--until", "now", config=wrong).expect_exit(2)
    assert "handers" in said("\n".join(run.lines))


def test_other_properties_of_librdkafka_are_taken(shop):
    shop.config["kafka"]["properties"] = ["compression.codec=zstd", "linger.ms=1", "client.rack=here"]
    shop.drain()
    shop.insert(3)
    shop.drain()
    shop.assert_exactly_once()
    config = shop.changed(kafka={"properties": ["no.such.property=1"]})
    run = shop.run("relay", "--until", "now", config=config).expect_exit(2)
    assert "no.such.property" in said("\n".join(run.lines))


@pytest.mark.decoder("pgoutput")  # the example's own, and its port can serve one test at a time
def test_the_example_works_as_written(postgres, kafka, make_shop):
    """config/examples/shop.yaml, with init, as the README has it."""
    example = ROOT / "config" / "examples" / "shop.yaml"
    env = {"PGPORT": postgres.port, "KAFKA_BROKERS": kafka.brokers}
    shop = make_shop(name="shop", create_table=False)
    postgres.psql("drop role if exists walferry; create role walferry login replication; "
                  "alter database shop owner to walferry")
    shop.psql("alter schema public owner to walferry")
    try:
        for args in (("init",), ("relay", "--until", "now")):
            done = cli(args[0], example, *args[1:], env=env)
            assert done.returncode == 0, done.stderr
        shop.psql("""insert into outbox (id, aggregatetype, aggregateid, type, payload) values
          (gen_random_uuid(), 'orders', '1', 'OrderPlaced', '{}'), (gen_random_uuid(), 'x', '2', 'RentalBooked', '{}')""")
        done = cli("relay", example, "--until", "now", env=env)
        assert done.returncode == 0, done.stderr
        assert len(kafka.consume("orders.events.v1")) == 1
        assert len(kafka.consume("fleet.rentals")) == 1
    finally:
        postgres.drop_database("shop")
        postgres.psql("drop role walferry")
        for topic in ("orders.events.v1", "fleet.rentals", "shop.quarantine", "walferry.position.shop"):
            if topic in kafka.topics():
                kafka.delete_topic(topic)


def test_the_log_is_json_off_a_terminal_and_text_on_request(tmp_path):
    path = tmp_path / "walferry.yaml"
    path.write_text(yaml({"name": "x", "fly": 1}))
    assert cli("relay", path).stderr.startswith("{")
    assert not cli("relay", path, "--log-format", "text").stderr.startswith("{")
