"""`walferry replay`: a window of what was published is published once more, exactly once, from the slot held back for it."""
import datetime
import json
import os
import signal
import subprocess
import time

import pytest

from harness import system
from harness.servers import lsn_number, lsn_text
from harness.walferry import binary
from integration_checks import ready

PUBLISHER = ["publisher.after_begin", "publisher.after_produce", "publisher.after_position", "publisher.after_commit"]
STARTING = ["relay.after_producer_init", "relay.after_position_read"]


@pytest.fixture
def kept(shop):
    """An instance that holds back what comes from now on."""
    shop.config["postgres"]["replay"] = {"keep": "1h"}
    ready(shop)
    hold_back(shop)
    return shop


def hold_back(shop):
    if shop.postgres.slot(held(shop)) is None:
        shop.psql(f"select pg_copy_logical_replication_slot('{shop.slot}', '{held(shop)}', false, '{shop.decoder}')")


def held(shop):
    return shop.slot + "_replay"


def oldest(shop):
    return lsn_text(shop.postgres.confirmed_flush(held(shop)))


def replay(shop, *args, code=0, timeout=60, **kwargs):
    run = shop.run("replay", *args, timeout=timeout, **kwargs).expect_exit(code)
    shop.wait_markers()
    return run


def refused(run):
    event = run.refusal_of("replay")
    assert event and event["error"].strip() and event["remedy"].strip(), run.log_tail()
    return event


def split(records):
    """Those of the relay, and those of replays."""
    return ([r for r in records if "wf_replay" not in r["headers"]], [r for r in records if "wf_replay" in r["headers"]])


def content(record, *without):
    headers = {k: v for k, v in record["headers"].items() if k != "wf_replay"}
    whole = {"partition": record["partition"], "key": record["key"], "payload": record["payload"], "ts": record["ts"],
             "headers": headers}
    return {k: v for k, v in whole.items() if k not in without}


def assert_same(first, again, *without):
    """The same records in the same order in each partition."""
    def by_partition(records):
        found = {}
        for r in records:
            found.setdefault(0 if "partition" in without else r["partition"], []).append(content(r, *without))
        return found
    assert len(first) == len(again)
    assert by_partition(first) == by_partition(again)


def lsns(records):
    return sorted({r["headers"]["wf_lsn"] for r in records}, key=lsn_number)


def three_commits(shop):
    for _ in range(3):
        shop.insert(4)
    shop.drain()
    return lsns(shop.events())


# What is published again


def test_all_that_is_retained_comes_again_as_it_was(kept):
    three_commits(kept)
    before = kept.position()
    slots = kept.query("select slot_name, confirmed_flush_lsn from pg_replication_slots order by 1")
    run = replay(kept, "--from", oldest(kept), "--json")
    first, again = split(kept.events())
    assert len(first) == 12
    assert_same(first, again)
    summary = json.loads(run.stdout)
    assert summary["records"] == 12 and summary["finished"] and summary["records_before"] == 0
    assert summary["by_type"] == [{"topic": kept.topic(), "type": "OrderPlaced", "records": 12}]
    assert {r["headers"]["wf_replay"] for r in again} == {summary["run"]}
    assert kept.position() == before, "the relay's position is not a replay's to touch"
    assert slots == kept.query("select slot_name, confirmed_flush_lsn from pg_replication_slots order by 1")


def test_bounds_by_lsn_are_inclusive(kept):
    a, b, c = three_commits(kept)
    replay(kept, "--from", b, "--to", b)
    assert lsns(split(kept.events())[1]) == [b] and len(split(kept.events())[1]) == 4
    replay(kept, "--from", b)
    assert lsns(split(kept.events())[1]) == [b, c]
    replay(kept, "--from", lsn_text(lsn_number(b) + 1), "--to", lsn_text(lsn_number(c) + 10_000_000))
    again = split(kept.events())[1]
    assert [r["headers"]["wf_lsn"] for r in again].count(c) == 8 and len(again) == 16, "capped at the relay's position"


def test_bounds_by_time_are_those_of_the_commits(kept):
    a, b, c = three_commits(kept)
    times = {r["headers"]["wf_lsn"]: r["ts"] for r in kept.events()}  # without occurred_at the commit's, in ms
    replay(kept, "--from", rfc3339(times[b]), "--to", rfc3339(times[c] - 1))
    assert lsns(split(kept.events())[1]) == [b]
    replay(kept, "--from", rfc3339(times[b]))
    assert [r["headers"]["wf_lsn"] for r in split(kept.events())[1]].count(c) == 4


def rfc3339(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def plant(shop, position, written_us):
    """A minute's copy in the history of the relay's position."""
    minute = datetime.datetime.fromtimestamp(written_us // 1_000_000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M")
    shop.kafka.produce(f"walferry.position.{shop.name}", json.dumps(position | {"written_us": written_us}),
                       key=f"at/{minute}Z")


def at_commit(position, lsn, time_ms):
    """As it was when the transaction of this commit LSN was published last."""
    return position | {"commit_lsn": lsn, "end_lsn": lsn_text(lsn_number(lsn) + 1), "idle_end_lsn": "0/0",
                       "commit_time_us": time_ms * 1000}


def commit_times(shop):
    return {r["headers"]["wf_lsn"]: r["ts"] for r in shop.events()}  # without occurred_at the commit's, in ms


def test_a_time_begins_where_the_history_has_it(kept):
    """And not at the oldest that is retained."""
    a, b, c = three_commits(kept)
    times = commit_times(kept)
    entry = at_commit(kept.position(), a, times[a] - 120_000)
    plant(kept, entry, times[a] * 1000)
    run = replay(kept, "--from", rfc3339(times[b]), "--dry-run")
    assert run.find("replay.streaming")["from"] == entry["end_lsn"] != oldest(kept)
    plant(kept, at_commit(kept.position(), c, times[c] - 120_000), times[c] * 1000)
    run = replay(kept, "--from", rfc3339(times[c] + 1), code=2)
    assert "nothing to replay" in run.find("replay.failed")["error"]


def test_a_relay_whose_clock_is_behind_loses_nothing_of_a_time(kept):
    """It stored its position before the commits that this covers, as its clock has it."""
    a, b, c = three_commits(kept)
    times, position = commit_times(kept), kept.position()
    kept.insert(4)
    kept.drain()
    plant(kept, position, times[b] * 1000 - 100_000)
    replay(kept, "--from", rfc3339(times[b]))
    assert lsns(split(kept.events())[1]) == lsns(kept.events())[1:]


def test_a_time_of_before_the_server_went_back(kept):
    """As after a restored image: an LSN of the history that was given up is higher than those of today."""
    a, b, c = three_commits(kept)
    times = commit_times(kept)
    plant(kept, at_commit(kept.position(), c, times[a] - 120_000), times[b] * 1000 - 61_000_000)
    plant(kept, at_commit(kept.position(), a, times[a]), times[b] * 1000)
    replay(kept, "--from", rfc3339(times[b]))
    assert lsns(split(kept.events())[1]) == [b, c]


def test_types_are_picked_by_pattern(kept):
    for kind in ("OrderPlaced", "OrderPaid", "CartFilled", "Refund"):
        kept.insert(2, type=kind)
    kept.psql("select pg_logical_emit_message(true, 'walferry', "
              """'{"id":"m-1","type":"Refund","aggregate":"orders","key":"k1","payload":{"n":1}}')""")
    kept.drain()
    run = replay(kept, "--from", oldest(kept), "--type", "Order*", "--type", "Refund", "--json")
    again = split(kept.events())[1]
    assert sorted(r["headers"]["type"] for r in again) == ["OrderPaid"] * 2 + ["OrderPlaced"] * 2 + ["Refund"] * 3
    assert {e["type"]: e["records"] for e in json.loads(run.stdout)["by_type"]} == {
        "OrderPaid": 2, "OrderPlaced": 2, "Refund": 3}


def test_another_topic_and_a_suffix(kept):
    three_commits(kept)
    first = kept.events()
    other = kept.name + ".repaired"
    replay(kept, "--from", oldest(kept), "--topic", other)
    assert_same(first, kept.events(topic=other))
    replay(kept, "--from", oldest(kept), "--topic-suffix", ".again")
    assert_same(first, kept.events(topic=kept.topic() + ".again"))
    assert kept.events() == first


def test_partitions_are_the_pinned_ones_though_the_topic_has_grown(kept):
    three_commits(kept)
    kept.kafka.add_partitions(kept.topic(), 6)
    replay(kept, "--from", oldest(kept))
    first, again = split(kept.events())
    assert_same(first, again)


def test_partitions_of_a_replays_own_topic_are_pinned_by_its_first_run(kept):
    three_commits(kept)
    args, other = ["--from", oldest(kept), "--topic", kept.name + ".repaired"], kept.name + ".repaired"
    replay(kept, *args)
    first = kept.events(topic=other)
    kept.kafka.add_partitions(other, 6)
    replay(kept, *args, "--again")
    assert_same(first, [r for r in kept.events(topic=other) if r["headers"]["wf_replay"].endswith("-2")])


def test_rows_that_cannot_be_published_are_quarantined_again(kept):
    kept.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', '', '{}')")
    kept.insert(1)
    kept.drain()
    run = replay(kept, "--from", oldest(kept), "--json")
    first, again = split(kept.quarantined())
    assert len(first) == len(again) == 1
    assert first[0]["event"] == again[0]["event"] and first[0]["key"] == again[0]["key"]
    assert {e["topic"] for e in json.loads(run.stdout)["by_type"]} == {kept.quarantine_topic, kept.topic()}


# What only looks


def test_a_dry_run_counts_and_writes_nothing(kept):
    three_commits(kept)
    topics, ends = kept.kafka.topics(), kept.kafka.end_offsets(kept.topic())
    run = replay(kept, "--from", oldest(kept), "--dry-run")
    out = run.stdout.decode()
    assert "12  would be published" in out and f"12  {kept.topic()}  OrderPlaced" in out
    assert (kept.kafka.topics(), kept.kafka.end_offsets(kept.topic())) == (topics, ends)


def test_stdout_has_the_records(kept):
    three_commits(kept)
    run = replay(kept, "--from", oldest(kept), "--sink", "stdout")
    lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
    first = kept.events()
    assert sorted(line["headers"]["id"] for line in lines) == sorted(r["headers"]["id"] for r in first)
    assert all("wf_replay" in line["headers"] for line in lines) and len(first) == 12


def test_a_terminal_gets_a_bar(kept):
    three_commits(kept)
    ours, theirs = os.openpty()
    done = subprocess.run([binary(), "replay", kept.write_config(), "--from", oldest(kept), "--log-format", "text"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    os.close(theirs)
    assert done.returncode == 0
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "[" + "#" * 24 + "] 100 %  12 events" in shown and "position.committed" not in shown
    assert b"          12  published" in done.stdout


# Exactly once


@pytest.mark.parametrize("name", PUBLISHER + STARTING)
def test_killed_at_each_moment_it_goes_on_and_doubles_nothing(kept, name):
    for _ in range(5):
        kept.insert(3)
    kept.drain()
    args = ["--from", oldest(kept)]
    for hit in (1, 1, 2):
        run = kept.start("replay", *args, failpoint=f"{name}=kill@{hit}")
        if run.wait(60) == 0:
            break
        assert run.exit_code == -signal.SIGKILL and run.find("failpoint.hit", name=name), run.log_tail()
    last = replay(kept, *args)
    first, again = split(kept.events())
    assert_same(first, again)
    assert len({r["headers"]["wf_replay"] for r in again}) == 1
    assert last.find("replay.done")


def test_a_wide_transaction_is_split_and_gone_on_with(kept):
    kept.insert_many(40_000, payload_bytes=1000)
    kept.insert(3)
    kept.drain()
    args = ["--from", oldest(kept), "--type", "OrderP*"]
    for hit in (3, 2):  # the run's first position, perhaps idle progress, then parts of the transaction
        run = kept.start("replay", *args, failpoint=f"publisher.after_commit=kill@{hit}")
        assert run.wait(60) == -signal.SIGKILL
    last = replay(kept, *args)
    assert 0 < int(last.find("replay.streaming")["records_before"]) < 40_000
    first, again = split(kept.events())
    assert len(first) == 40_003
    assert_same(first, again)


def test_a_config_that_changed_between_two_transactions_is_the_runs_from_then_on(kept):
    kept.insert(3)
    kept.drain()
    kept.insert_many(40_000, payload_bytes=1000)
    kept.drain()
    args = ["--from", oldest(kept)]
    for hit, messages, complete in ((2, ["walferry"], True), (3, ["walferry", "other"], False)):
        kept.config["relay"]["messages"] = messages
        run = kept.start("replay", *args, failpoint=f"publisher.after_commit=kill@{hit}")
        assert run.wait(60) == -signal.SIGKILL
        stored = json.loads(kept.kafka.consume(f"walferry.position.{kept.name}.replay")[-1]["payload"])
        assert stored["complete"] == complete and stored["commit_lsn"] != "0/0"
    kept.config["relay"]["messages"] = ["walferry"]
    event = refused(replay(kept, *args, code=3))
    assert event["code"] == "resume_mismatch" and f"--from {stored['commit_lsn']}" in event["remedy"]
    kept.config["relay"]["messages"] = ["walferry", "other"]
    replay(kept, *args)
    first, again = split(kept.events())
    assert_same(first, again)


def test_finished_is_said_and_again_publishes_once_more(kept):
    three_commits(kept)
    args = ["--from", oldest(kept)]
    replay(kept, *args)
    run = replay(kept, *args)
    assert b"is finished already: 12 records" in run.stdout and b"--again" in run.stdout
    assert len(split(kept.events())[1]) == 12
    replay(kept, *args, "--again")
    again = split(kept.events())[1]
    runs = {r["headers"]["wf_replay"] for r in again}
    assert len(again) == 24 and len(runs) == 2 and any(r.endswith("-2") for r in runs)


def test_a_window_that_counts_from_now_is_not_published_twice_unasked(kept):
    """Most of it would be what it was: a second time is a word of the operator's."""
    three_commits(kept)
    entry = kept.position() | {"commit_lsn": "0/0", "end_lsn": oldest(kept), "idle_end_lsn": "0/0"}
    plant(kept, entry, 1_700_000_000_000_000)
    replay(kept, "--from", "1h")
    run = replay(kept, "--from", "1h")
    assert b"is finished already: 12 records" in run.stdout and b"counted from now" in run.stdout
    assert len(split(kept.events())[1]) == 12


def test_the_bounds_are_those_of_the_first_start(kept):
    three_commits(kept)
    args = ["--from", oldest(kept)]
    run = kept.start("replay", *args, failpoint="publisher.after_commit=kill@2")
    run.wait(60)
    kept.insert(5)
    kept.drain()
    replay(kept, *args)
    first, again = split(kept.events())
    assert (len(first), len(again)) == (17, 12)


def test_beside_a_relay_that_runs(kept):
    with kept.relay() as relay:
        for _ in range(10):
            kept.insert(5)
        system.wait_for(lambda: len(kept.record_ids()) == 50, 30, "50 records")
        run = kept.start("replay", "--from", oldest(kept))
        for _ in range(10):
            kept.insert(5)
        run.expect_exit(0)
        system.wait_for(lambda: len(split(kept.events())[0]) == 100, 30, "100 records")
        assert relay.running and relay.count("relay.recovering") == 0
    first, again = split(kept.events())
    done = {r["headers"]["id"] for r in again}
    assert len(done) == len(again) >= 50
    assert_same([r for r in first if r["headers"]["id"] in done], again)


def test_stopped_it_says_how_to_go_on(kept):
    kept.insert_many(25_000, payload_bytes=1000)
    kept.drain()
    pause = kept.dir / "pause"
    run = kept.start("replay", "--from", oldest(kept), failpoint=f"publisher.after_commit=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    run._signal(signal.SIGTERM)
    pause.unlink()
    run.expect_exit(1, 15)
    assert "the same command goes on" in run.find("replay.failed")["remedy"]
    replay(kept, "--from", oldest(kept))
    first, again = split(kept.events())
    assert_same(first, again)


# What is refused


def test_too_old_an_lsn_is_refused_with_the_oldest(kept):
    a, b, c = three_commits(kept)
    kept.psql(f"select pg_replication_slot_advance('{held(kept)}', '{c}')")
    event = refused(replay(kept, "--from", b, code=3))
    assert event["code"] == "replay_too_old" and oldest(kept) in event["error"] and oldest(kept) in event["remedy"]
    assert not split(kept.events())[1]
    replay(kept, "--from", c)
    assert lsns(split(kept.events())[1]) == [c]


def test_too_old_a_time_is_refused(kept):
    a, b, c = three_commits(kept)
    kept.psql(f"select pg_replication_slot_advance('{held(kept)}', '{c}')")
    event = refused(replay(kept, "--from", "2026-01-01", code=3))
    assert event["code"] == "replay_too_old" and oldest(kept) in event["remedy"]
    assert not split(kept.events())[1]


def test_what_is_left_of_a_run_was_lost(kept):
    a, b, c = three_commits(kept)
    run = kept.start("replay", "--from", a, failpoint="publisher.after_commit=kill@2")
    assert run.wait(30) == -signal.SIGKILL
    kept.insert(1)
    kept.drain()
    kept.psql(f"select pg_replication_slot_advance('{held(kept)}', '{lsn_text(kept.confirmed_flush())}')")
    event = refused(replay(kept, "--from", a, code=3))
    assert event["code"] == "replay_too_old" and "interrupted" in event["error"]
    assert "it has published" in event["remedy"]


def test_a_run_that_was_refused_leaves_nothing(kept):
    """What is stored would hold WAL back, and what counts from now would mean the time at which it was refused, for ever."""
    three_commits(kept)
    assert refused(replay(kept, "--from", "1d", code=3))["code"] == "replay_too_old"
    assert kept.kafka.consume(f"walferry.position.{kept.name}.replay") == []


def test_two_at_once_are_refused(kept):
    three_commits(kept)
    pause = kept.dir / "pause"
    run = kept.start("replay", "--from", oldest(kept), failpoint=f"publisher.after_produce=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    second = replay(kept, "--from", oldest(kept), "--type", "Other", code=4)
    assert "backend" in second.find("replay.fenced")["error"]
    pause.unlink()
    run.expect_exit(0)
    assert len(split(kept.events())[1]) == 12


def test_nothing_held_back_and_nothing_there(shop):
    ready(shop)
    run = shop.run("replay", "--from", "1h").expect_exit(2)
    assert "postgres.replay" in run.find("replay.failed")["error"]
    shop.config["postgres"]["replay"] = {"keep": "1h"}
    shop.psql(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{held(shop)}'")
    assert refused(replay(shop, "--from", "1h", code=3))["code"] == "slot_missing"


BROKEN_TYPE = """
create type broken;
create function broken_in(cstring) returns broken language internal immutable strict as 'textin';
create function broken_out(broken) returns cstring language internal immutable strict as 'array_out';
create type broken (input = broken_in, output = broken_out, internallength = variable);
alter table outbox add column broken broken"""


def test_what_the_server_cannot_decode_is_refused_with_the_way_around(kept):
    kept.insert(2)
    kept.drain()
    before, *_ = lsns(kept.events())
    kept.psql(BROKEN_TYPE)
    kept.psql("insert into outbox (aggregatetype, aggregateid, type, payload, broken) "
              f"values ('orders', 'k', 'OrderPlaced', '{{}}', '{'x' * 64}')")
    behind = kept.psql("select pg_current_wal_lsn()")
    kept.run("position", "set", behind, "--confirm", kept.name).expect_exit(0)
    kept.insert(3)
    kept.drain()
    run = replay(kept, "--from", oldest(kept), code=3)
    event = refused(run)
    assert event["code"] == "row_undecodable" and before in event["error"] and f"--to {before}" in event["remedy"]
    assert run.count("replay.recovering") == 2
    replay(kept, "--from", behind)
    first, again = split(kept.events())
    assert_same(first, again)


@pytest.mark.decoder("pgoutput")
def test_a_time_without_the_publication_is_refused_with_the_way_around(kept):
    kept.insert(2)
    kept.drain()
    before, *_ = lsns(kept.events())
    kept.psql(f"drop publication {kept.publication}")
    kept.insert(2)
    kept.psql(f"create publication {kept.publication} for table outbox "
              "with (publish = 'insert', publish_via_partition_root = true)")
    behind = kept.psql("select pg_current_wal_lsn()")
    kept.run("position", "set", behind, "--confirm", kept.name).expect_exit(0)
    kept.insert(3)
    kept.drain()
    event = refused(replay(kept, "--from", oldest(kept), code=3))
    assert event["code"] == "publication_missing" and "--to" in event["remedy"] and "--from" in event["remedy"]
    replay(kept, "--from", before, "--to", before)
    replay(kept, "--from", behind)
    again = [r["headers"]["wf_lsn"] for r in split(kept.events())[1]]
    assert set(again) == set(lsns(kept.events())) and again.count(before) in (2, 4)


@pytest.mark.decoder("pgoutput")
def test_another_publication_is_refused(kept):
    three_commits(kept)
    kept.psql("drop publication " + kept.publication)
    kept.psql(f"create publication {kept.publication} for table outbox with (publish = 'insert')")
    assert refused(replay(kept, "--from", oldest(kept), code=3))["code"] == "publication_changed"
    assert not split(kept.events())[1]


def test_a_lost_connection_is_made_anew(make_shop):
    shop = make_shop(pg_proxy=True)
    shop.config["postgres"]["replay"] = {"keep": "1h"}
    ready(shop)
    hold_back(shop)
    for _ in range(5):
        shop.insert(3)
    shop.drain()
    pause = shop.dir / "pause"
    run = shop.start("replay", "--from", oldest(shop), failpoint=f"publisher.after_commit=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    shop.postgres.terminate_slot_user(held(shop) + "_run")
    pause.unlink()
    run.expect_exit(0)
    shop.wait_markers()
    assert run.count("replay.recovering") <= 3
    first, again = split(shop.events())
    assert_same(first, again)


@pytest.mark.decoder("pgoutput")
def test_a_limit_does_not_split_transactions_that_fit_its_portions(kept):
    for _ in range(40):
        kept.insert(7)
    kept.drain()
    args = ["--from", oldest(kept), "--max-per-second", "100"]
    for hit in (3, 4, 5):
        run = kept.start("replay", *args, failpoint=f"publisher.after_commit=kill@{hit}")
        assert run.wait(60) == -signal.SIGKILL
        stored = json.loads(kept.kafka.consume(f"walferry.position.{kept.name}.replay")[-1]["payload"])
        assert stored["complete"] and stored["commit_lsn"] != "0/0"
    replay(kept, *args)
    assert_same(*split(kept.events()))


@pytest.mark.parametrize("source", ["slot", "table"])
@pytest.mark.decoder("pgoutput")
def test_no_more_records_a_second_than_asked_for(kept, source):
    """Several batches of either kind; stopped in a pause, it goes on without a limit."""
    kept.insert_many(9000, payload_bytes=2000)
    kept.drain()
    args = ["--from", oldest(kept)] if source == "slot" else ["--source", "table"]
    began = time.monotonic()
    replay(kept, *args, "--max-per-second", "3000")
    assert time.monotonic() - began > 1.5
    assert len(split(kept.events())[1]) == 9000
    started = time.monotonic()
    run = kept.start("replay", *args, "--again", "--max-per-second", "100")
    system.wait_for(lambda: len(kept.record_ids()) > 18000, 30, "a first batch")
    began = time.monotonic()
    assert run.terminate() == 1
    assert time.monotonic() - began < 5
    assert len(kept.record_ids()) - 18000 <= 100 * (time.monotonic() - started + 1)
    replay(kept, *args)
    again = split(kept.events())[1]
    assert len(again) == 18000 and len({(r["headers"]["id"], r["headers"]["wf_replay"]) for r in again}) == 18000
