"""`walferry dlq CONFIG replay --from-topic TOPIC`: dead letters that the relay made, sent back to where they came from. What
arrives is looked at with kcat, read_committed: each original once, byte for byte, whatever is killed."""
import json
import os
import signal
import time

import pytest

from harness import system, wire
from integration_checks import partition_of, ready
from test_dead_letters import ORIGINALS, as_kcat_writes, emit, letter, prepare

pytestmark = pytest.mark.decoder("pgoutput")
POINTS = ["dlq_topic.after_begin", "dlq_topic.after_produce", "dlq_topic.after_offsets", "dlq_topic.after_commit"]
ENVELOPE = '{"id":"%s","type":"%s","occurred_at":"2026-11-21T08:01:58Z","payload":{}}'


def start(shop, *args, **kwargs):
    return shop.start("dlq", "replay", "--from-topic", shop.dlq, *args, **kwargs)


def replay(shop, *args, exit=0, **kwargs):
    """The statistics, by name."""
    run = start(shop, "--json", *args, **kwargs).expect_exit(exit, 90)
    return json.loads(run.stdout) | {"run": run}


def counts(stats):
    return stats["sent"], stats["passed_over"], stats["no_letters"]


@pytest.fixture
def shop(make_shop):
    """Its original topic has the partition that the letters name."""
    shop = prepare(make_shop())
    shop.kafka.create_topic(shop.source, 4)
    shop.kafka.create_topic(shop.dlq, 1)
    return ready(shop)


def write_letters(shop, ids, type="Rental", key=b"k"):
    for offset, id in enumerate(ids):
        shop.psql(emit(letter(shop, key, (ENVELOPE % (id, type)).encode(), [], offset)))
    shop.drain()


def originals(shop):
    return shop.kafka.consume_bytes(shop.source)


def ids(shop):
    return [json.loads(r["value"])["id"] for r in originals(shop)]


def test_originals_come_back_byte_for_byte_and_once(shop):
    for offset, original in enumerate(ORIGINALS.values()):
        shop.psql(emit(letter(shop, *original, offset)))
    shop.drain()
    before = int(time.time() * 1000)
    assert counts(replay(shop)) == (len(ORIGINALS), 0, 0)
    found = originals(shop)
    assert len(found) == len(ORIGINALS)
    for record, (key, value, headers) in zip(found, ORIGINALS.values()):
        assert (record["partition"], record["key"], record["value"]) == (3, key, value)
        assert record["raw_headers"] == as_kcat_writes(headers)
    for line in shop.kafka.consume_format(shop.source, "%T"):
        assert int(line) >= before, "a topic that keeps its records by age would give up an old one"
    assert counts(replay(shop)) == (0, 0, 0)
    assert len(originals(shop)) == len(ORIGINALS)


def test_letters_that_come_later_are_sent_by_the_next_run(shop):
    write_letters(shop, "ab")
    assert replay(shop)["sent"] == 2
    write_letters(shop, "cd")
    assert replay(shop)["sent"] == 2
    assert ids(shop) == list("abcd")


def test_a_partition_that_is_gone_is_chosen_by_the_key(shop):
    shop.kafka.delete_topic(shop.source)
    shop.kafka.create_topic(shop.source, 2)
    write_letters(shop, "ab", key=b"one")
    write_letters(shop, "c", key=b"two")
    assert replay(shop)["sent"] == 3
    assert {(r["key"], r["partition"]) for r in originals(shop)} == {
        (b"one", partition_of("one", 2)), (b"two", partition_of("two", 2))}


# Once


@pytest.mark.parametrize("hit", [1, 3])
@pytest.mark.parametrize("name", POINTS)
def test_killed_at_each_moment_it_sends_each_once(shop, name, hit):
    write_letters(shop, "abcdefg")
    run = start(shop, "--max-per-second", "2", failpoint=f"{name}=kill@{hit}").expect_exit(-signal.SIGKILL, 60)
    assert run.find("failpoint.hit", name=name) is not None
    done = 2 * hit if name == "dlq_topic.after_commit" else 2 * (hit - 1)
    assert replay(shop)["sent"] == 7 - done
    assert ids(shop) == list("abcdefg")
    assert replay(shop)["sent"] == 0


def test_kills_in_a_row_with_a_filter_leave_none_out_and_send_none_twice(shop):
    for n in range(6):
        write_letters(shop, [f"r{n}"], "Rental")
        write_letters(shop, [f"p{n}"], "Payment")
    for name in POINTS:
        start(shop, "--type", "Rental", "--limit", "1", failpoint=f"{name}=kill").expect_exit(-signal.SIGKILL, 60)
    stats = replay(shop, "--type", "Rent*")
    assert sorted(ids(shop)) == [f"r{n}" for n in range(6)] and stats["sent"] == 5 and stats["passed_over"] == 6
    assert counts(replay(shop, "--type", "Rental")) == (0, 6, 0)
    assert counts(replay(shop)) == (6, 0, 0)
    assert ids(shop) == [f"r{n}" for n in range(6)] + [f"p{n}" for n in range(6)]
    assert counts(replay(shop)) == (0, 0, 0)


def test_of_two_runs_the_first_is_fenced_and_each_is_sent_once(shop, tmp_path):
    write_letters(shop, "abcd")
    paused = tmp_path / "paused"
    first = start(shop, "--max-per-second", "2", failpoint=f"dlq_topic.after_offsets=pause:{paused}")
    system.wait_for(paused.exists, 30, "the first run is in its transaction")
    assert replay(shop)["sent"] == 4
    paused.unlink()
    first.expect_exit(4, 60)
    assert "--from-topic" in first.find("dlq.fenced")["remedy"]
    assert ids(shop) == list("abcd")


def test_a_running_relay_is_not_fenced(shop):
    write_letters(shop, "ab")
    relay = shop.relay()
    assert replay(shop)["sent"] == 2
    shop.insert(3)
    system.wait_for(lambda: len(shop.events()) == 3, 30, "the relay goes on")
    assert relay.running and relay.find("relay.fenced") is None and relay.count("relay.streaming") == 1
    assert relay.terminate() == 0


def test_a_broker_that_restarts_meanwhile_costs_nothing(shop, tmp_path):
    write_letters(shop, [f"e{n}" for n in range(8)])
    paused = tmp_path / "paused"
    run = start(shop, "--json", "--max-per-second", "2", failpoint=f"dlq_topic.after_produce=pause:{paused}")
    system.wait_for(paused.exists, 30, "it is in its transaction")
    shop.kafka.restart()
    paused.unlink()
    run.expect_exit(0, 120)
    assert json.loads(run.stdout)["sent"] == 8
    assert ids(shop) == [f"e{n}" for n in range(8)]


def test_stopped_it_ends_between_two_transactions(shop):
    write_letters(shop, "abcdef")
    run = start(shop, "--max-per-second", "1")
    system.wait_for(lambda: len(originals(shop)) >= 2, 30, "two are sent")
    run.terminate()
    run.expect_exit(1)
    assert "stopped before everything was done" in run.find("dlq.failed")["error"]
    replay(shop)
    assert ids(shop) == list("abcdef")


def made_letters(shop, count, size=0):
    """Into the topic itself: quicker than by way of the relay, in a form that dead_letter.h allows."""
    lines = [json.dumps({"original_topic": shop.source, "original_partition": 0, "original_offset": n, "original_header_count": 0,
                         "type": "AB"[n % 2], "payload": {"n": n, "fill": "x" * size}, "error": {"code": "c"},
                         "first_failure": "2026-11-21T08:01:58Z"}, separators=(",", ":")) for n in range(count)]
    shop.kafka.produce_lines(shop.dlq, lines, key="k", headers={
        "wf_error_code": "c", "wf_error_message": "m", "wf_origin": "o", "wf_consumer": "a"})


def test_many_letters_are_sent_in_order_and_in_bounded_memory(shop, tmp_path):
    made_letters(shop, 20_000, 3_000)
    paused = tmp_path / "paused"
    run = start(shop, "--json", failpoint=f"dlq_topic.after_commit=pause:{paused}@40")
    system.wait_for(paused.exists, 60, "most of it is sent")
    assert run.memory_peak_kb() < 48 << 10, "60 MB went through"
    paused.unlink()
    run.expect_exit(0, 60)
    assert json.loads(run.stdout)["sent"] == 20_000
    assert [json.loads(line)["n"] for line in shop.kafka.consume_format(shop.source, "%s")] == list(range(20_000))


def test_more_gaps_than_can_be_remembered_are_an_error_and_what_was_sent_is_remembered(shop):
    made_letters(shop, 2_400)
    stats = replay(shop, "--type", "B", exit=1)
    assert 900 < stats["sent"] < 1_000
    assert "more places than can be remembered" in stats["run"].find("dlq.failed")["error"]
    assert replay(shop, "--type", "B", exit=1)["sent"] == 0
    assert replay(shop, "--limit", "500")["sent"] == 500
    replay(shop)
    found = [json.loads(line)["n"] for line in shop.kafka.consume_format(shop.source, "%s")]
    assert sorted(found) == list(range(2_400))
    assert found[:stats["sent"]] == list(range(1, 2 * stats["sent"], 2))


# Which


def test_filters_leave_the_others_for_a_later_run(shop):
    write_letters(shop, ["a1", "a2"], "A")
    write_letters(shop, ["b1"], "B")
    write_letters(shop, ["a3"], "A")
    shop.psql(emit(letter(shop, b"k", b"\xff", [], 9)))  # payload_not_json, without a type
    shop.drain()
    assert counts(replay(shop, "--code", "payload_not_json")) == (1, 4, 0)
    assert counts(replay(shop, "--type", "B")) == (1, 3, 0)
    assert counts(replay(shop, "--since", "2030-01-01")) == (0, 3, 0)
    assert counts(replay(shop, "--until", "2020-01-01")) == (0, 3, 0)
    assert counts(replay(shop, "--limit", "2")) == (2, 0, 0)
    assert counts(replay(shop, "--since", "2020-01-01", "--until", "2030-01-01")) == (1, 0, 0)
    found = [r["value"] for r in originals(shop)]
    assert found[0] == b"\xff" and [json.loads(v)["id"] for v in found[1:]] == ["b1", "a1", "a2", "a3"]


def test_a_dry_run_says_what_would_be_sent_and_remembers_nothing(shop, tmp_path):
    write_letters(shop, "abc")
    paused = tmp_path / "paused"
    real = start(shop, "--limit", "1", failpoint=f"dlq_topic.after_begin=pause:{paused}")
    system.wait_for(paused.exists, 30, "another run is in its transaction")
    run = start(shop, "--dry-run", "--limit", "2").expect_exit(0)
    lines = run.stdout.decode().splitlines()
    assert lines[0].startswith(f"--  {shop.dlq}/0@") and lines[0].endswith(f"Rental  would be sent to {shop.source}/3 (was 0)")
    assert lines[2:] == ["a dry run: nothing was sent, and nothing is remembered", "would be sent to their topics: 2"]
    assert originals(shop) == []
    paused.unlink()
    real.expect_exit(0)
    assert real.stdout.decode() == "sent to their topics: 1\n", "it was not fenced"
    assert counts(replay(shop, "--dry-run")) == (2, 0, 0)
    assert replay(shop)["sent"] == 2 and ids(shop) == list("abc")


def test_what_is_no_dead_letter_is_reported_and_passed_over(shop):
    shop.kafka.produce(shop.dlq, "hello", key="k")
    write_letters(shop, "a")
    shop.kafka.produce(shop.dlq, None, key="k")
    stats = replay(shop)
    assert counts(stats) == (1, 0, 2)
    assert [e["offset"] for e in stats["run"].events if e["event"] == "dlq.no_letter"][0] == 0
    assert ids(shop) == ["a"]
    assert counts(replay(shop)) == (0, 0, 0)
    shop.kafka.produce(shop.dlq, "{}", key="k")
    run = start(shop).expect_exit(0)
    assert "is no dead letter: type, error or first_failure is missing" in run.stdout.decode()


# What stands in its way


def test_a_topic_that_is_gone_ends_it_and_nothing_is_lost(shop):
    write_letters(shop, "ab")
    shop.kafka.delete_topic(shop.source)
    stats = replay(shop, exit=1)
    failed = stats["run"].find("dlq.failed")
    assert f"the topic {shop.source} does not exist any more" in failed["error"] and f"{shop.dlq}/0@" in failed["error"]
    assert "create it" in failed["remedy"] and counts(stats) == (0, 0, 0)
    shop.kafka.create_topic(shop.source, 4)
    assert replay(shop)["sent"] == 2 and ids(shop) == list("ab")


def test_a_letter_that_its_topic_refuses_is_named(shop):
    write_letters(shop, "a")
    big = (b"k", os.urandom(30_000), [])
    shop.psql(emit(letter(shop, *big, 5)))
    shop.drain()
    shop.kafka.set_topic_config(shop.source, max_message_bytes=20_000)
    failed = replay(shop, exit=1)["run"].find("dlq.failed")
    assert "MSG_SIZE_TOO_LARGE" in failed["error"] and shop.source in failed["error"] and f"{shop.dlq}/0@" in failed["error"]
    assert originals(shop) == []
    assert shop.kafka.end_offsets(shop.source) == shop.kafka.end_offsets(shop.source, committed=True), "no open transaction"
    shop.kafka.set_topic_config(shop.source, max_message_bytes=100_000)
    assert replay(shop)["sent"] == 2


def test_a_dead_letter_topic_that_is_not_there_is_an_error(shop):
    run = shop.run("dlq", "replay", "--from-topic", shop.name + ".nowhere").expect_exit(2)
    assert f"there is no topic {shop.name}.nowhere" in run.find("dlq.failed")["error"]
    assert shop.name + ".nowhere" not in shop.kafka.topics()


def test_progress_that_does_not_fit_is_refused(shop):
    write_letters(shop, "abc")
    group = f"walferry.{shop.name}.dlq"
    for offset, text in [(1_000, ""), (2, "of another"), (2, "wf1 0,1")]:
        wire.commit_offset(shop.kafka.port, group, shop.dlq, 0, offset, text)
        refusal = replay(shop, exit=3)["run"].refusal_of("dlq")
        assert refusal["code"] == "dlq_progress_invalid" and f"{shop.dlq} partition 0" in refusal["error"]
    assert originals(shop) == []
    assert f"--group {group} --topic {shop.dlq} --reset-offsets --to-earliest" in refusal["remedy"]
    wire.commit_offset(shop.kafka.port, group, shop.dlq, 0, 0)  # as that does
    assert replay(shop)["sent"] == 3 and ids(shop) == list("abc")


def test_a_topic_that_is_made_anew_begins_at_its_start(shop):
    write_letters(shop, "abc")
    replay(shop)
    shop.kafka.delete_topic(shop.dlq)  # and what groups have stored of it
    shop.kafka.create_topic(shop.dlq, 1)
    write_letters(shop, "d")
    assert replay(shop)["sent"] == 1 and ids(shop) == list("abcd")


def test_it_needs_no_postgres_and_no_inbox_in_the_config(shop):
    write_letters(shop, "a")
    config = {k: v for k, v in shop.config.items() if k != "inbox"}
    config["postgres"] = config["postgres"] | {"conninfo": "host=127.0.0.1 port=1 dbname=x user=x"}
    assert replay(shop, config=config)["sent"] == 1


# The whole way

HANDLER = """
create schema app;
create table app.seen (n bigserial, id text);
create table app.broken (id text);
create function app.on_event(e jsonb) returns void language plpgsql as $$
begin
  if exists (select from app.broken b where b.id = e->>'id') then
    raise exception 'broken';
  end if;
  insert into app.seen (id) values (e->>'id');
end $$;
"""


def test_from_a_failing_handler_to_the_mended_one(make_shop):
    shop = make_shop()
    shop.config["inbox"] = {"group": shop.name, "topics": [shop.topic()], "retry": {"max_attempts": 1, "backoff_ms": 10},
                            "handlers": [{"type": "*", "call": "app.on_event"}]}
    shop.dlq = shop.topic() + ".dlq"
    shop.psql(HANDLER)
    shop.kafka.create_topic(shop.topic(), 3)
    shop.init()
    relay = shop.relay()
    inbox = shop.start("inbox")
    good, bad = shop.insert(3), []
    shop.psql("create function app.break_all() returns trigger language plpgsql as $$ begin "
              "insert into app.broken values (new.id); return new; end $$;"
              "create trigger break_all before insert on public.outbox for each row execute function app.break_all()")
    bad = shop.insert(4)
    system.wait_for(lambda: len(shop.events(topic=shop.dlq)) == 4, 60, "four dead letters")
    shop.psql("delete from app.broken")
    assert replay(shop)["sent"] == 4

    def seen():
        return shop.psql("select id from app.seen order by n").split()
    system.wait_for(lambda: len(seen()) == 7, 30, "all are handled")
    assert sorted(seen()) == sorted(good + bad)
    assert replay(shop)["sent"] == 0
    # The letters in the database find their marks.
    run = shop.run("dlq", "replay", "--json").expect_exit(0)
    assert json.loads(run.stdout)["dead_letters"]["already_processed"] == 4
    assert len(seen()) == 7
    assert relay.running and inbox.running
    assert relay.terminate() == 0 and inbox.terminate() == 0
