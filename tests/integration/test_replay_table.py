"""`walferry replay --source table`: the rows that are in the outbox are published once more, exactly once, without a slot."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from harness import system
from harness.servers import lsn_number
from harness.walferry import binary
from integration_checks import ready
from test_replay import assert_same, content, refused, replay, split

TABLE = ["--source", "table"]
LISTS = "select relname from pg_class where relnamespace = to_regnamespace('walferry') and relname ~ '^(snapshot|replay)_' and relkind = 'r'"
TIMED = "alter table outbox add occurred_at timestamptz not null default clock_timestamp()"
MARKS = ("wf_lsn", "wf_tx")  # of the first time


@pytest.fixture
def bare(shop):
    """Without a slot yet."""
    shop.psql(TIMED)
    return shop


@pytest.fixture
def timed(bare):
    ready(bare)
    return bare


def as_first(records):
    """Without what only the stream knows of a commit."""
    return [dict(r, headers={k: v for k, v in r["headers"].items() if k not in MARKS}) for r in records]


def assert_again(shop, **kwargs):
    first, again = split(shop.events(**kwargs))
    assert_same(as_first(first), as_first(again))
    return again


def stored(shop):
    return json.loads(shop.kafka.consume(f"walferry.position.{shop.name}.replay")[-1]["payload"])


def expect_killed(run, name):
    run.expect_exit(-signal.SIGKILL, 60)
    assert run.find("failpoint.hit", name=name), run.log_tail()


# What is published


def test_all_rows_come_again_as_they_were_beside_a_relay_that_runs(timed):
    assert "replay" not in timed.config["postgres"]
    for _ in range(3):
        timed.insert(4)
    with timed.relay() as relay:
        system.wait_for(lambda: len(timed.record_ids()) == 12, 30, "12 records")
        timed.kafka.add_partitions(timed.topic(), 6)
        run = replay(timed, *TABLE, "--json")
        assert relay.running and relay.count("relay.recovering") == 0
    again = assert_again(timed)
    summary = json.loads(run.stdout)
    assert (summary["source"], summary["rows"], summary["records"], summary["finished"]) == ("table", 12, 12, True)
    assert {r["headers"]["wf_replay"] for r in again} == {summary["run"]}
    assert {r["headers"]["wf_lsn"] for r in again} == {summary["to"]} and "wf_tx" not in again[0]["headers"]
    assert lsn_number(summary["to"]) > max(lsn_number(r["headers"]["wf_lsn"]) for r in split(timed.events())[0])
    assert timed.psql(LISTS) == "" and timed.position()["topics"][timed.topic()] == 3
    assert b"is finished already: 12 records were published; --again publishes the rows" in replay(timed, *TABLE).stdout
    replay(timed, *TABLE, "--again")
    marks = [r["headers"].get("wf_replay") for r in timed.events()]
    assert {mark: marks.count(mark) for mark in marks} == {None: 12, summary["run"]: 12, summary["run"] + "-2": 12}


def test_a_relay_that_is_refused_and_a_position_that_is_lost(timed):
    timed.insert(5)
    timed.drain()
    timed.kafka.delete_topic("walferry.position." + timed.name)
    system.wait_for(lambda: "walferry.position." + timed.name not in timed.kafka.topics(), 15, "the topic gone")
    timed.postgres.drop_slot(timed.slot)
    timed.psql(f'drop publication if exists "{timed.publication}"')
    unpublished = timed.insert(1)
    replay(timed, *TABLE)
    again = split(timed.events())[1]
    assert {r["headers"]["id"] for r in again} == timed.outbox_ids() > set(unpublished) and len(again) == 6


@pytest.mark.decoder("pgoutput")
def test_bounds_are_those_of_occurred_at_and_types_and_topics_are_picked(timed):
    for n, kind in enumerate(("OrderPlaced", "OrderPaid", "Refund", "OrderPaid")):
        timed.psql("insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) values "
                   f"('orders', 'k', '{kind}', '{{\"n\": {n}}}', '2026-01-0{n + 1} 10:00:00+02')")
    timed.drain()
    other = timed.name + ".repaired"
    run = replay(timed, *TABLE, "--from", "2026-01-02T08:00:00Z", "--to", "2026-01-04T07:59:59.999999Z", "--type",
                 "Order*", "--topic", other)
    assert [r["event"]["payload"] for r in timed.events(topic=other)] == [{"n": 1}]
    assert b"2 rows as of" in run.stdout and b"occurred at 2026-01-02T08:00:00Z or later" in run.stdout
    timed.psql("alter table outbox alter occurred_at type timestamp using occurred_at at time zone 'UTC'")
    timed.psql(f'alter database "{timed.db}" set timezone = \'Asia/Tokyo\'')
    replay(timed, *TABLE, "--from", "2026-01-03T08:00:00Z", "--topic-suffix", ".again")
    assert [r["event"]["payload"] for r in timed.events(topic=timed.topic() + ".again")] == [{"n": 2}, {"n": 3}]
    timed.psql("update outbox set occurred_at = now() at time zone 'UTC' - interval '90 min' where payload = '{\"n\": 0}'")
    replay(timed, *TABLE, "--from", "2h", "--to", "1h", "--topic-suffix", ".recent")
    assert [r["event"]["payload"] for r in timed.events(topic=timed.topic() + ".recent")] == [{"n": 0}]


def test_several_tables_one_of_them_partitioned(bare):
    bare.psql("create table parted (id uuid default gen_random_uuid(), aggregatetype text not null, aggregateid text not "
               "null, type text not null, payload jsonb, occurred_at timestamptz not null default clock_timestamp()) "
               "partition by list (type); create table parted_a partition of parted for values in ('OrderPlaced'); "
               "create table parted_b partition of parted default")
    bare.config["relay"]["tables"].append(dict(bare.config["relay"]["tables"][0], table="public.parted"))
    bare.insert(3)
    bare.insert(3, table="parted")
    bare.insert(3, table="parted", type="Other")
    with bare.relay("--snapshot") as relay:
        system.wait_for(lambda: len(bare.record_ids()) == 9, 30, "9 records")
        replay(bare, *TABLE, "--topic-suffix", ".again")
        bare.insert(1)
        system.wait_for(lambda: len(bare.events()) == 10, 30, "what comes behind the list")
        assert relay.count("relay.recovering") == relay.count("relay.table_passed_over") == 0
    records = bare.events(topic=bare.topic() + ".again")
    first = {r["headers"]["id"]: content(r) for r in as_first(bare.events())}
    assert len(records) == len({r["headers"]["id"] for r in records}) == 9
    for record in as_first(records):
        wanted = first[record["headers"]["id"]]
        wanted["headers"].pop("wf_snapshot", None)
        assert content(record) == wanted


def test_only_looking_makes_no_list_and_needs_no_kafka(timed):
    timed.insert(7)
    timed.drain()
    topics = timed.kafka.topics()
    nobody = timed.changed(kafka={"brokers": f"127.0.0.1:{system.free_ports(1)[0]}"})
    run = replay(timed, *TABLE, "--dry-run", config=nobody)
    assert b"7 rows as of" in run.stdout and b"7  would be published" in run.stdout
    run = replay(timed, *TABLE, "--sink", "stdout", config=nobody)
    lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
    first = timed.events()
    assert [line["headers"]["id"] for line in lines] == timed.psql("select id from outbox order by occurred_at, id").split()
    assert {line["headers"]["id"]: line["headers"]["type"] for line in lines} == {
        r["headers"]["id"]: r["headers"]["type"] for r in first}
    assert timed.psql(LISTS) == "" and timed.kafka.topics() == topics
    ours, theirs = os.openpty()
    done = subprocess.run([binary(), "replay", timed.write_config(), *TABLE, "--dry-run", "--log-format", "text"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60)
    os.close(theirs)
    assert done.returncode == 0 and "[" + "#" * 24 + "] 100 %  7 events" in os.read(ours, 1 << 16).decode()
    os.close(ours)


# Exactly once


@pytest.mark.parametrize("rows", [25_000])
def test_killed_at_each_moment_it_goes_on_and_doubles_nothing(timed, rows):
    timed.insert_many(rows)
    timed.drain()
    moments = ["replay.after_work_list", "relay.after_position_read", "publisher.after_commit", "publisher.after_commit",
               "publisher.after_produce", "publisher.after_commit", "replay.before_work_list_dropped",
               "replay.after_work_list_dropped", "publisher.after_commit"]
    hits = {2: 1, 3: 2}
    for n, name in enumerate(moments):
        run = timed.start("replay", *TABLE, failpoint=f"{name}=kill@{hits.get(n, 1)}")
        expect_killed(run, name)
        if n == 3:
            timed.insert(5)  # not of the list
            assert timed.psql(LISTS).count("replay_") == 1
        if n == 4:
            assert 0 < stored(timed)["snapshot"]["next"] < rows
            timed.psql("delete from outbox where ctid in (select ctid from outbox limit 1000)")
    assert timed.psql(LISTS) == ""
    last = replay(timed, *TABLE)
    assert b"is finished already" in last.stdout
    first, again = split(timed.events())
    assert len(first) == rows
    assert_same(as_first(first), as_first(again))
    assert len({r["headers"]["wf_replay"] for r in again}) == len({r["headers"]["wf_lsn"] for r in again}) == 1


@pytest.mark.decoder("pgoutput")
def test_lost_connections_are_made_anew_and_stopped_it_says_how_to_go_on(timed):
    timed.insert_many(12_000)
    timed.drain()
    pause = timed.dir / "pause"
    run = timed.start("replay", *TABLE, failpoint=f"publisher.after_commit=pause:{pause}@2")
    system.wait_for(pause.exists, 30, "the pause")
    timed.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%.replay'")
    pause.unlink()
    run.expect_exit(0, 30)
    assert run.count("replay.recovering") == 1 and run.count("replay.rows_taken") == 1
    run = timed.start("replay", *TABLE, "--again", failpoint=f"publisher.after_commit=pause:{pause}@3")
    system.wait_for(pause.exists, 30, "the pause")
    run._signal(signal.SIGTERM)
    pause.unlink()
    run.expect_exit(1, 15)
    assert "the same command goes on" in run.find("replay.failed")["remedy"]
    replay(timed, *TABLE, "--again")
    first, again = split(timed.events())
    for mark in {r["headers"]["wf_replay"] for r in again}:
        assert_same(as_first(first), as_first([r for r in again if r["headers"]["wf_replay"] == mark]))
    assert len(again) == 24_000 and timed.psql(LISTS) == ""


@pytest.mark.decoder("pgoutput")
def test_a_list_that_is_gone_is_refused_and_again_begins_anew(timed):
    timed.insert_many(12_000)
    timed.drain()
    kill = "publisher.after_commit=kill@2"
    timed.start("replay", *TABLE, failpoint=kill).expect_exit(-signal.SIGKILL, 60)
    old, = timed.psql(LISTS).split()
    published = stored(timed)["run"]["records"]
    pause = timed.dir / "pause"
    other = timed.start("replay", *TABLE, "--type", "Order*", "--topic-suffix", ".o", failpoint=f"publisher.after_begin=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    new, = timed.psql(LISTS).split()
    assert new != old, "the list of the run that was given up is gone"
    run = replay(timed, *TABLE, code=4)
    assert "another replay of this instance is running (backend" in run.find("replay.fenced")["error"]
    replay(timed, *TABLE, "--dry-run")
    assert timed.run("drop", "--confirm", timed.name).refusal_of("drop")["code"] == "instance_active"
    pause.unlink()
    other.expect_exit(0, 30)
    assert other.find("replay.work_list_dropped", tables=1)
    event = refused(replay(timed, *TABLE, code=3))
    assert event["code"] == "replay_list_lost" and "--again" in event["remedy"] and f"{published} records" in event["remedy"]
    assert len(split(timed.events())[1]) == published
    replay(timed, *TABLE, "--again")
    again = split(timed.events())[1]
    second = [r for r in again if r["headers"]["wf_replay"].endswith("-2")]
    assert (len(again), len(second), len({r["headers"]["id"] for r in second})) == (12_000 + published, 12_000, 12_000)

    timed.start("replay", *TABLE, "--again", failpoint=kill).expect_exit(-signal.SIGKILL, 60)
    table, = timed.psql(LISTS).split()
    timed.psql(f"delete from walferry.{table} where walferry_ordinal = 11000")
    assert refused(replay(timed, *TABLE, code=3))["code"] == "replay_list_lost"
    out = timed.run("drop", "--confirm", timed.name).expect_exit(0).stdout.decode()
    assert "work list of a replay dropped" in out and f"walferry.position.{timed.name}.replay deleted" in out
    assert timed.psql(LISTS) == ""


@pytest.mark.decoder("pgoutput")
def test_rows_at_the_end_that_are_passed_over_are_done_too(timed):
    timed.insert(3)
    timed.psql("insert into outbox (aggregatetype, aggregateid, type, payload) select 'orders', 'k', 'Other', '{}' from generate_series(1, 12000)")
    timed.drain()
    options = [*TABLE, "--type", "OrderPlaced"]
    expect_killed(timed.start("replay", *options, failpoint="replay.after_work_list_dropped=kill"), "replay.after_work_list_dropped")
    assert stored(timed)["snapshot"]["next"] == 12_003
    replay(timed, *options)
    assert b"is finished already: 3 records" in replay(timed, *options).stdout
    assert len(split(timed.events())[1]) == 3


@pytest.mark.decoder("pgoutput")
def test_a_list_of_other_tables_is_not_gone_on_with(bare):
    bare.psql("create table second (like outbox including all)")
    tables = bare.config["relay"]["tables"]
    tables.append(dict(tables[0], table="public.second"))
    ready(bare)
    bare.insert_many(6_000)
    bare.insert_many(6_000, table="second")
    bare.drain()
    expect_killed(bare.start("replay", *TABLE, failpoint="publisher.after_commit=kill@2"), "publisher.after_commit")
    tables.reverse()
    event = refused(replay(bare, *TABLE, code=3))
    assert event["code"] == "replay_list_lost" and "relay.tables" in event["error"] and "--again" in event["remedy"]
    tables.reverse()
    replay(bare, *TABLE)
    assert_again(bare)


@pytest.mark.decoder("pgoutput")
def test_a_server_that_ends_idle_sessions_leaves_the_lock(timed):
    timed.insert_many(12_000)
    timed.drain()
    timed.psql(f'alter database "{timed.db}" set idle_session_timeout = \'500ms\'')
    pause = timed.dir / "pause"
    run = timed.start("replay", *TABLE, failpoint=f"publisher.after_commit=pause:{pause}@2")
    system.wait_for(pause.exists, 30, "the pause")
    time.sleep(1)
    replay(timed, *TABLE, "--topic-suffix", ".o", code=4)
    pause.unlink()
    run.expect_exit(0, 30)


@pytest.mark.decoder("pgoutput")
def test_the_lists_of_a_snapshot_and_of_a_replay_are_kept_apart(bare):
    bare.insert_many(12_000)
    run = bare.start("relay", "--snapshot", failpoint="publisher.after_commit=kill@3")
    expect_killed(run, "publisher.after_commit")
    assert bare.psql(LISTS).startswith("snapshot_")
    bare.start("replay", *TABLE, "--topic-suffix", ".o", failpoint="publisher.after_commit=kill@2").expect_exit(-signal.SIGKILL, 60)
    assert sorted(name.split("_")[0] for name in bare.psql(LISTS).split()) == ["replay", "snapshot"]
    bare.drain()
    assert bare.psql(LISTS).startswith("replay_"), "a relay tidies up what is its own"
    replay(bare, *TABLE, "--topic-suffix", ".o")
    assert bare.psql(LISTS) == ""
    assert sorted(bare.record_ids()) == sorted([*bare.outbox_ids()] * 2)


# What is refused


@pytest.mark.decoder("pgoutput")
def test_what_rows_cannot_say_is_refused(shop):
    assert b"0 rows as of" in replay(ready(shop), *TABLE, "--topic-suffix", ".none").stdout
    shop.insert(2)
    shop.drain()
    run = replay(shop, *TABLE, "--from", "0/16B3748", code=2)
    assert "have no LSN" in run.log_tail() and "position CONFIG history" in run.log_tail()
    run = replay(shop, *TABLE, "--from", "2h", code=2)
    assert "table public.outbox has no column occurred_at" in run.find("replay.failed")["error"]
    shop.psql("alter table outbox add occurred_at bigint default 5")
    run = replay(shop, *TABLE, "--from", "2h", code=2)
    assert "without --from and --to" in run.find("replay.failed")["remedy"]
    shop.psql("alter table outbox drop occurred_at")
    run = replay(shop, "--from", "2h", code=2)
    assert "--source table" in run.find("replay.failed")["remedy"]
    replay(shop, *TABLE)
    assert {r["headers"]["id"] for r in split(shop.events())[1]} == shop.outbox_ids()


@pytest.mark.decoder("pgoutput")
def test_a_role_without_the_rights_is_told_which(timed):
    timed.insert(3)
    timed.drain()
    timed.psql(f'create role "{timed.name}" login replication; create schema if not exists walferry; '
               f'grant usage on schema walferry to "{timed.name}"')
    conninfo = re.sub(r"user=\S+", f"user={timed.name}", timed.config["postgres"]["conninfo"])
    limited = timed.changed(postgres={"conninfo": conninfo, "create": False})
    try:
        run = replay(timed, *TABLE, code=2, config=limited)
        assert "CREATE on the schema walferry, and SELECT on the outbox" in run.find("replay.failed")["remedy"]
        timed.psql(f'grant select on outbox to "{timed.name}"')
        replay(timed, *TABLE, "--dry-run", config=limited)
        assert replay(timed, *TABLE, code=2, config=limited).find("replay.failed")
        timed.psql(f'grant create on schema walferry to "{timed.name}"')
        replay(timed, *TABLE, config=limited)
        assert_again(timed)
    finally:
        timed.psql(f'drop owned by "{timed.name}" cascade; drop role "{timed.name}"')
