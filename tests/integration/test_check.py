"""`walferry check` against real servers: each precondition is broken for real, has to show, and is put right by what the
line says. What a start refuses, check must have seen; and it changes nothing."""
import json
import re
import subprocess

import pytest

from harness import system
from integration_checks import World, ready, wait_records
from test_refusals import EVERY_DAMAGE, damage_publication, lose_position, with_history

pytestmark = pytest.mark.decoder("pgoutput")  # unless a test says otherwise: the servers are the same
STATUSES = {"ok", "warn", "fail", "skipped"}


class Report:
    """The result of one `check --json`."""

    def __init__(self, run):
        self.run = run
        self.json = json.loads(run.stdout)  # one object and nothing else
        self.lines = {}
        for line in self.json["checks"]:
            assert line["status"] in STATUSES and line["message"] and line["group"], line
            assert line["status"] not in ("warn", "fail") or line.get("remedy"), f"no remedy: {line}"
            assert line["name"] not in self.lines, f"twice: {line['name']}"
            self.lines[line["name"]] = line
        for status in STATUSES:
            assert self.json["counts"][status] == len([line for line in self.json["checks"] if line["status"] == status])
        assert self.json["ok"] == (self.json["counts"]["fail"] == 0)

    def failures(self):
        return [line for line in self.json["checks"] if line["status"] == "fail"]

    def codes(self):
        return {line.get("code") for line in self.failures()}

    def line(self, start):
        """The one line whose name starts so."""
        found = [line for name, line in self.lines.items() if name.startswith(start)]
        assert len(found) == 1, f"{len(found)} lines {start}*: {list(self.lines)}"
        return found[0]

    def expect(self, start, status, *words):
        line = self.line(start)
        assert line["status"] == status, line
        for word in words:
            assert word in line["message"] + " " + line.get("remedy", ""), f"{word} is not in {line}"
        return line


def check(shop, exit_code=0, config=None):
    run = shop.run("check", "--json", config=config)
    assert run.exit_code == exit_code, f"exit code {run.exit_code}\n{run.stdout.decode()}\n{run.log_tail()}"
    report = Report(run)
    assert (exit_code == 0) == report.json["ok"]
    return report


def without(shop, server, **more):
    """The config with one server where nothing listens."""
    port, = system.free_ports(1)
    if server == "kafka":
        return shop.changed(kafka={"brokers": f"127.0.0.1:{port}"}, **more)
    return shop.changed(postgres={"conninfo": shop.postgres.conninfo(shop.db, port=port)}, **more)


# What is well


def test_a_first_start_may_be_made_and_nothing_is_made_by_looking(shop):
    topics = shop.kafka.topics().keys()
    report = check(shop)
    report.expect("slot", "ok", "does not exist yet")
    report.expect("publication", "ok", "the relay makes it")
    report.expect("position topic", "ok", "does not exist yet")
    report.expect("output plugin", "ok")
    report.expect("replication connection", "ok", "timeline 1")
    assert shop.query("select slot_name from pg_replication_slots where database = current_database()") == []
    assert shop.query("select * from pg_publication") == [] and shop.kafka.topics().keys() == topics


def test_beside_a_running_relay_nobody_is_fenced(shop):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    report = check(shop)
    report.expect("slot", "ok", f"read by walferry/{shop.name}")
    assert report.lines["position"]["status"] == "ok" and "in use" in report.lines["position"]["message"]
    shop.insert(2)
    wait_records(shop, 4)
    assert not relay.count("relay.recovering") and not relay.count("kafka.producer_renewed")
    assert relay.terminate() == 0
    shop.assert_exactly_once()


def test_a_stopped_relay_fits_its_slot(shop):
    with_history(shop)
    world = World(shop)
    report = check(shop)
    assert report.lines["position"]["status"] == "ok" and "fit" in report.lines["position"]["message"]
    report.expect(f"topic {shop.topic()}", "warn", "replication 1")
    world.assert_unchanged()


def test_the_text_has_a_line_each_and_the_remedy_below(shop):
    run = shop.run("check").expect_exit(0)
    lines = run.stdout.decode().splitlines()
    assert all(re.match(r"(ok  |warn|FAIL|--  )  \S", line) or line.startswith("      ") for line in lines[:-2]), lines
    warned = [n for n, line in enumerate(lines) if line.startswith("warn")]
    assert warned and all(lines[n + 1].startswith("      ") for n in warned)
    assert re.match(rf"{shop.name}: \d+ ok, {len(warned)} to look at, 0 failed, \d+ skipped\.", lines[-1])


# What a start refuses, check sees


def refused_alike(shop, *codes):
    """check fails, in at least one line with the code of the relay's refusal; both change nothing."""
    world = World(shop)
    report = check(shop, exit_code=3)
    world.assert_unchanged()
    event = shop.run("relay", "--until", "now", timeout=60).expect_refused()
    world.assert_unchanged()
    assert event["code"] in report.codes(), f"the relay says {event['code']}, check {report.failures()}"
    assert not codes or event["code"] in codes
    return report


@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_damaged_publication(shop, how):
    with_history(shop)
    damage_publication(shop, how)
    refused_alike(shop)


def drop_and_make(shop, sql):
    shop.postgres.drop_slot(shop.slot)
    shop.psql(sql.format(slot=shop.slot))


DAMAGED_SLOTS = {
    "dropped": ("slot_missing", lambda shop: shop.postgres.drop_slot(shop.slot)),
    "made again": ("slot_advanced", lambda shop: drop_and_make(
        shop, "select pg_create_logical_replication_slot('{slot}', 'pgoutput')")),
    "of another plugin": ("slot_mismatch", lambda shop: drop_and_make(
        shop, "select pg_create_logical_replication_slot('{slot}', 'test_decoding')")),
    "physical": ("slot_mismatch", lambda shop: drop_and_make(
        shop, "select pg_create_physical_replication_slot('{slot}', true)")),
    "advanced": ("slot_advanced", lambda shop: (shop.insert(1), shop.psql(
        f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())"))),
}


@pytest.mark.parametrize("how", DAMAGED_SLOTS)
def test_a_damaged_slot(shop, how):
    with_history(shop)
    code, damage = DAMAGED_SLOTS[how]
    damage(shop)
    refused_alike(shop, code)


@pytest.mark.parametrize("how", ["partitions", "delete", "compact,delete", "unclean"])
def test_a_spoilt_position_topic(shop, how):
    with_history(shop)
    topic = f"walferry.position.{shop.name}"
    if how == "partitions":
        shop.kafka.add_partitions(topic, 3)
    elif how == "unclean":
        shop.kafka.set_topic_config(topic, cleanup_policy="compact", unclean_leader_election_enable="true")
    else:
        shop.kafka.set_topic_config(topic, cleanup_policy=how)
    refused_alike(shop, "position_topic_invalid").expect("position topic", "fail", topic)
    if how != "partitions":
        shop.kafka.set_topic_config(topic, cleanup_policy="compact", unclean_leader_election_enable="false")
        check(shop)


def test_a_lost_position(shop):
    with_history(shop)
    lose_position(shop, "tombstone")
    refused_alike(shop, "slot_unknown")


def test_an_unreadable_position(shop):
    with_history(shop)
    shop.kafka.produce(f"walferry.position.{shop.name}", '{"format": 999}', key="current")
    refused_alike(shop, "position_unreadable")


def test_a_missing_table_and_a_missing_column(shop):
    shop.config["relay"]["tables"][0]["columns"]["tenant_id"] = "tenant"
    ready_config = shop.changed(relay={"tables": [{"table": "public.outbox"}]})
    check(shop, config=ready_config)
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert')")
    report = refused_alike(shop, "column_missing")
    report.expect("table public.outbox", "fail", "tenant")
    shop.psql("drop table outbox")
    refused_alike(shop, "table_missing").expect("table public.outbox", "fail", "walferry init")


def test_a_default_column_that_is_not_there(shop):
    """Not seen by a start, but by the first row."""
    shop.psql("alter table outbox drop column payload")
    report = check(shop, exit_code=3, config=shop.changed(relay={"tables": [{"table": "public.outbox"}]}))
    assert report.codes() == {"column_missing"}
    report.expect("columns of", "fail", "payload")


def test_the_optional_columns_that_count_are_named(shop):
    """Also those that a table has by chance: they decide what becomes of its rows."""
    shop.psql("drop table outbox; create table outbox (id uuid primary key, aggregatetype text, aggregateid text, type text, "
              "payload jsonb, note text)")
    report = check(shop)
    assert "used as well" not in report.line("columns of")["message"]
    shop.psql("alter table outbox add topic text, add headers text")
    report = check(shop)
    assert report.line("columns of")["message"].endswith("; used as well: topic, headers")


@pytest.mark.decoder("wal2json")
@pytest.mark.parametrize("libraries", ["test_decoding", '"pgoutput, test_decoding, wal2json"'], ids=["left out", "one string"])
def test_a_server_that_does_not_let_the_plugin_be_loaded(fresh_postgres, make_shop, libraries):
    """Seen also by a role that may not read the setting: the server itself is asked."""
    server = fresh_postgres()
    if server.value("select count(*) from pg_settings where name = 'output_plugin_libraries'") != "1":
        pytest.skip("this Postgres loads any output plugin")
    shop = ready(make_shop(postgres=server))
    server.configure({"output_plugin_libraries": libraries})
    server.reload()
    system.wait_for(lambda: server.value("show output_plugin_libraries") == libraries, 10, "reload")
    server.psql("create role few login replication")
    for role in ("postgres", "few"):
        report = check(shop, exit_code=3, config=shop.changed(postgres={"conninfo": server.conninfo(shop.db, role)}))
        assert report.codes() == {"plugin_not_allowed"}
        report.expect("output plugin", "fail", shop.decoder, "ALTER SYSTEM SET output_plugin_libraries = pgoutput,")


SHIM = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ts) {
  long result = syscall(SYS_clock_gettime, id, ts);
  if (id == CLOCK_REALTIME && getenv("SHIM_SECONDS") != NULL)
    ts->tv_sec += atol(getenv("SHIM_SECONDS"));
  return (int)result;
}
#ifdef VERSION
int rd_kafka_version(void) { return VERSION; }
#endif
"""


def shim(tmp_path, *options):
    """The environment of a walferry with another clock, or another librdkafka as far as its version goes."""
    library = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", *options, "-x", "c", "-", "-o", library], input=SHIM.encode(), check=True)
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": "verify_asan_link_order=0"}


@pytest.mark.parametrize("seconds, words", [(90, "behind"), (-90, "ahead of")])
def test_clocks_that_differ(shop, tmp_path, seconds, words):
    ready(shop)
    report = Report(shop.run("check", "--json", env=shim(tmp_path) | {"SHIM_SECONDS": seconds}).expect_exit(0))
    line = report.expect("clock", "warn", words, "NTP")
    assert 80_000 < int(line["message"].split("is ")[1].split(" ms")[0]) < 100_000, line


@pytest.mark.parametrize("version, status", [("0x020500ff", "fail"), ("0x020a00ff", "fail"), ("0x020001ff", "fail"),
                                             ("0x020300ff", "warn"), ("0x020600ff", "ok")])
def test_versions_of_librdkafka_that_have_known_bugs(shop, tmp_path, version, status):
    ready(shop)
    environment = shim(tmp_path, f"-DVERSION={version}")
    if status == "fail":  # before any server is asked
        for command in ("check", "relay"):
            failed = shop.run(command, env=environment).expect_exit(2).find(f"{command}.failed")
            assert "librdkafka" in failed["error"] and "another version" in failed["remedy"]
        return
    Report(shop.run("check", "--json", env=environment).expect_exit(0)).expect("librdkafka", status)
    run = shop.run("relay", "--until", "now", env=environment).expect_exit(0)
    assert bool(run.find("kafka.library")) == (status == "warn")


@pytest.mark.decoder("wal2json")
def test_a_plugin_that_reads_no_publication(shop):
    check(shop).expect("publication", "ok", "wal2json needs none")
    with_history(shop)
    report = check(shop)
    report.expect("table public.outbox", "ok", "in the WAL")
    report.expect("output plugin", "ok")
    shop.psql("drop table outbox")
    refused_alike(shop, "table_missing")
    shop.create_table()
    refused_alike(shop, "table_changed")


@pytest.mark.decoder("wal2json")
def test_a_database_that_is_not_in_utf8(make_shop):
    shop = make_shop(create_table=False)
    shop.postgres.drop_database(shop.db)
    shop.postgres.psql(f"create database {shop.db} encoding 'LATIN1' locale 'C' template template0")
    shop.create_table()
    refused_alike(shop, "server_encoding").expect("encoding", "fail", "LATIN1", "pgoutput")


def test_messages_alone_need_no_table(make_shop):
    shop = make_shop(create_table=False)
    shop.config["relay"]["tables"] = []
    check(shop).expect("publication", "ok", "the relay makes it")
    ready(shop)
    report = check(shop)
    report.expect("publication", "ok", "publishes inserts")
    assert not any(name.startswith(("table", "columns")) for name in report.lines)


def test_no_slot_and_no_leave_to_make_one(shop):
    shop.config["postgres"]["create"] = False
    report = refused_alike(shop, "slot_missing")
    assert report.codes() == {"slot_missing", "publication_missing"}
    shop.init()
    check(shop)


def test_another_database_under_the_same_name(shop, make_shop):
    with_history(shop)
    other = make_shop()
    other.config["name"] = other.name = shop.name
    other.config["postgres"] |= {"slot": "walferry_another"}
    assert "instance_conflict" in check(other, exit_code=3).codes()


def test_another_cluster_and_a_server_not_made_for_it(shop, fresh_postgres, make_shop):
    """Nothing hides behind the first failure: all of it shows at once."""
    with_history(shop)
    server = fresh_postgres({"wal_level": "replica", "max_replication_slots": 1, "wal_sender_timeout": 0,
                             "max_wal_senders": 1})
    server.value("select pg_create_physical_replication_slot('taken')")
    other = make_shop(postgres=server, name=shop.name)
    report = check(other, exit_code=3)
    assert {"wal_level", "cluster_changed"} <= report.codes()
    report.expect("max_replication_slots", "fail", "1 of 1")
    report.expect("max_wal_senders", "fail", "0 of 1")
    report.expect("wal_sender_timeout", "warn", "off")
    report.expect("output plugin", "skipped")


def test_a_server_that_was_rolled_back(fresh_postgres, make_shop):
    server = fresh_postgres()
    shop = with_history(make_shop(postgres=server))
    server.stop()
    image = server.copy_data()
    server.start()
    shop.insert(5)
    shop.drain()
    server.stop()
    server.restore_data(image)
    server.start()
    refused_alike(shop, "server_behind")


@pytest.mark.decoder("pgoutput")
def test_a_slot_that_the_server_would_give_up_for_being_idle(shop, fresh_postgres, make_shop):
    name = "idle_replication_slot_timeout"
    if shop.postgres.value("show server_version_num") < "180000":
        shop.init()
        assert name not in check(shop).lines
    server = fresh_postgres({name: "1h"}, version=18)
    shop = make_shop(postgres=server)
    shop.init()
    check(shop).expect(name, "warn", "3600 s", "slot_invalidated")
    shop.config["postgres"]["replay"] = {"keep": "24h"}
    shop.init()
    server.psql(f"alter system set {name} = '2d'")
    server.reload()
    check(shop).expect(name, "ok", "172800 s")
    shop.config["postgres"]["replay"] = {"keep": "3d"}
    line = check(shop).expect(name, "warn", "172800 s", "259200 s", "held-back")

    # so it goes
    server.psql(f"alter system set {name} = '1s'")
    server.reload()

    def given_up():
        shop.insert(1)
        server.psql("checkpoint")
        return {server.slot(slot)["invalidation_reason"] for slot in (shop.slot, shop.slot + "_replay")} == {"idle_timeout"}
    system.wait_for(given_up, 20, "both slots are given up", interval=0.3)
    report = check(shop, 3)
    assert report.codes() == {"slot_invalidated"}
    report.expect("held-back slot", "warn", name)
    server.psql(line["remedy"].split(",")[0])
    server.reload()
    check(shop, 3).expect(name, "ok", "off")


def test_an_invalidated_slot_and_one_in_danger(fresh_postgres, make_shop):
    server = fresh_postgres({"max_slot_wal_keep_size": "40MB"})
    shop = with_history(make_shop(postgres=server))
    check(shop).expect("max_slot_wal_keep_size", "ok", "40 MB")

    def fill(segments):
        shop.psql("create table if not exists t (n int)")
        for _ in range(segments):
            shop.psql("insert into t values (1); select pg_switch_wal()")
        shop.psql("checkpoint")

    fill(2)
    check(shop).expect("max_slot_wal_keep_size", "warn", "holds back")
    fill(4)
    system.wait_for(lambda: server.slot(shop.slot)["wal_status"] == "lost", 20, "slot lost")
    refused_alike(shop, "slot_invalidated")


# Topics


def test_topics_of_events(shop):
    with_history(shop)
    topic = shop.topic()
    shop.kafka.set_topic_config(topic, unclean_leader_election_enable="true")
    report = check(shop, exit_code=3)
    assert report.codes() == {"unclean_election"}
    report.expect(f"topic {topic}", "fail", "unclean.leader.election.enable=false")
    shop.kafka.set_topic_config(topic, unclean_leader_election_enable="false")
    shop.kafka.add_partitions(topic, 5)
    check(shop).expect(f"topic {topic}", "warn", "of which 3 are used")
    shop.kafka.delete_topic(topic)
    shop.kafka.create_topic(topic, 1)
    assert check(shop, exit_code=3).codes() == {"partitions_shrunk"}
    shop.kafka.delete_topic(topic)
    check(shop).expect(f"topic {topic}", "ok", "does not exist yet")
    shop.config["kafka"]["topics"]["create"] = False
    report = check(shop, exit_code=3)
    assert report.codes() == {"topic_missing"}
    shop.kafka.create_topic(topic, 3)
    shop.kafka.create_topic(shop.quarantine_topic, 1, cleanup_policy="compact")
    check(shop).expect("quarantine", "warn", "compacted")


def test_limits_of_size(shop):
    shop.config["relay"]["routes"] = [{"type": "*", "topic": f"{shop.name}.all"}]
    ready(shop)
    shop.kafka.create_topic(f"{shop.name}.all", 1, max_message_bytes=50000)
    line = check(shop).expect("size check of public.outbox", "warn", "row_undecodable")
    shop.psql(line["remedy"])  # it is the very statement that helps
    report = check(shop)
    report.expect("size check of public.outbox", "ok", "67108864")
    report.expect(f"size limit of {shop.name}.all", "warn", "50000", "67108864")
    shop.psql("alter table outbox drop constraint payload_size, "
              "add constraint small check (length(payload::text) < 40000)")
    assert f"size limit of {shop.name}.all" not in check(shop).lines


def test_a_transaction_timeout_that_the_brokers_do_not_allow(fresh_kafka, make_shop):
    shop = make_shop(kafka=fresh_kafka({"transaction.max.timeout.ms": 30000}))
    check(shop, exit_code=2).expect("transaction timeout", "fail", "60000", "30000", "transaction.max.timeout.ms")
    shop.config["kafka"]["properties"] = ["transaction.timeout.ms=20000"]
    check(shop).expect("transaction timeout", "ok")


# Rights


def test_roles_and_their_rights(shop):
    role = shop.name
    shop.config["postgres"]["conninfo"] = shop.postgres.conninfo(shop.db, user=role)
    report = check(shop, exit_code=2)
    report.expect("connection", "fail", role)
    report.expect("slot", "skipped")
    shop.psql(f"create role {role} login")
    try:
        report = check(shop, exit_code=2)
        line = report.expect("role", "fail", "REPLICATION")
        report.expect("replication connection", "fail", "REPLICATION")
        report.expect("publication", "fail", "owner", "walferry init", "--admin")
        shop.psql(line["remedy"].removeprefix("as a superuser: "))
        check(shop, exit_code=2).expect("role", "ok", role)
        shop.run("init", "--admin", shop.postgres.conninfo(shop.db)).expect_exit(0)
        report = check(shop)
        report.expect("role", "ok", "with REPLICATION")
        report.expect("slot", "ok")
    finally:
        shop.postgres.drop_slot(shop.slot)
        shop.psql(f"drop owned by {role}; drop role {role}")


# Servers that are away


def test_what_depends_on_a_server_that_is_away_is_skipped(shop):
    with_history(shop)
    report = check(shop, exit_code=1, config=without(shop, "kafka"))
    report.expect("brokers", "fail")
    report.expect("publication", "ok")
    for name in ("position", "topics", "position topic"):
        assert report.lines[name]["status"] == "skipped" and "skipped" in report.lines[name]["message"]
    report = check(shop, exit_code=1, config=without(shop, "postgres"))
    report.expect("connection", "fail")
    report.expect("position topic", "warn")
    for name in ("slot", "position", "publication"):
        assert report.lines[name]["status"] == "skipped"


def test_a_broken_config_prints_nothing(shop):
    run = shop.run("check", "--json", config=shop.changed(relay={"on_invalid": "perhaps"})).expect_exit(2)
    assert run.stdout == b""


def test_the_slot_in_strange_hands(shop):
    ready(shop)
    reader = system.spawn(["pg_recvlogical", "-d", shop.postgres.conninfo(shop.db), "--slot", shop.slot, "--start", "-f", "/dev/null",
                           "-o", "proto_version=1", "-o", f"publication_names={shop.publication}"])
    try:
        system.wait_for(lambda: shop.postgres.slot(shop.slot)["active"], 20, "pg_recvlogical holds the slot")
        check(shop).expect("slot", "warn", "pg_recvlogical", "standby")
    finally:
        reader.terminate()
        reader.wait(20)
        system.forget(reader)
