"""`walferry dlq`: dead letters as the inbox leaves them, made with its own statements; what becomes of them is looked at with
psql."""
import json
import signal
import threading

import pytest

from harness import system, walferry
from harness.shop import quote, yaml
from test_inbox_sql import Member, World, statements

TOPIC = "fleet.rentals"
HANDLER = """
create table app.done (n bigserial, id text, correlation text, causation text, trace text);
create table app.broken (id text primary key, sqlstate text default 'P0001');
create table app.unique_at_end (id text, unique (id) deferrable initially deferred);
create sequence app.calls;
create function app.on_rental(e jsonb) returns void language plpgsql as $$
declare state text;
begin
  perform nextval('app.calls');
  insert into app.done (id, correlation, causation, trace) values (e->>'id',
    current_setting('walferry.correlation_id', true), current_setting('walferry.causation_id', true),
    current_setting('walferry.trace_id', true));
  perform pg_sleep(coalesce((e->'payload'->>'sleep')::float, 0));
  if e->'payload' ? 'die' then
    perform pg_terminate_backend(pg_backend_pid());
  end if;
  if e->'payload' ? 'at_end' then
    insert into app.unique_at_end values ('x'), ('x');
  end if;
  select b.sqlstate into state from app.broken b where b.id = e->>'id';
  if found then
    raise exception 'rental % is broken', e->>'id' using errcode = state, hint = 'mend it';
  end if;
end $$;
"""
CONFIG = {"group": "accounting", "topics": [TOPIC],
          "handlers": [{"type": "Rental*", "call": "app.on_rental"}, {"type": "Noise", "ignore": True}],
          "retry": {"max_attempts": 3, "backoff_ms": 10}}


class Letters(World):
    def __init__(self, postgres):
        super().__init__(postgres)
        self.psql(HANDLER)
        self.statements = statements("app.on_rental")
        self.dir = system.temp_dir("dlq")
        self.inbox, self.relay = dict(CONFIG), False
        self.member = Member(self)
        self.offset_next = 0
        self.runs = []

    def start(self, *args, **kwargs):
        path = self.dir / "walferry.yaml"
        system.write_file(path, yaml({"name": self.db, "postgres": {"conninfo": self.postgres.conninfo(self.db)},
                                      "kafka": {"brokers": "127.0.0.1:1"}, "inbox": self.inbox} |
                                     ({"relay": {"tables": [{"table": "public.outbox"}]}} if self.relay else {})))
        run = walferry.Walferry("dlq", path, *args, **kwargs)
        self.runs.append(run)
        return run

    def dlq(self, *args, exit=0, **kwargs):
        run = self.start(*args, **kwargs).expect_exit(exit)
        return run.stdout.decode(errors="replace")

    def objects(self, *args, **kwargs):
        return [json.loads(line) for line in self.dlq(*args, "--json", **kwargs).splitlines()]

    def record(self, id, key, type="RentalCompleted", value=None, **payload):
        """topic, partition, offset, timestamp, key, headers, value"""
        envelope = {"id": id, "type": type, "source": "shop", "occurred_at": "2026-11-21T08:00:00Z", "correlation_id": "c-" + id,
                    "payload": payload}
        self.offset_next += 1
        return [TOPIC, 0, self.offset_next, 1000, key.encode() if isinstance(key, str) else key,
                '[{"name": "x", "value": "y"}]', value or json.dumps(envelope).encode()]

    def letter(self, id, key="k", hold=False, type="RentalCompleted", code="handler_failed", consumer="accounting",
               broken=False, **kwargs):
        """A dead letter; its number."""
        if broken:
            self.psql(f"insert into app.broken values ({quote(id)})")
        return int(self.member.do("wf_dead_letter", consumer, *self.record(id, key, type, **kwargs), "shop", id, type, code,
                                  "it failed", '{"sqlstate": "P0001"}', hold).split("|")[0])

    def arrive(self, id, key="k", type="RentalCompleted", member=None, **kwargs):
        """As the inbox handles it: called or parked."""
        member, record = member or self.member, self.record(id, key, type, **kwargs)
        member.begin()
        done = member.do("handle", "accounting", "shop", id, None, None, None, None, None,
                         record[6].decode(), *record[:4], *record[4:])
        member.run("commit")
        return done.split("|")[0] or "duplicate"

    def mend(self):
        self.psql("delete from app.broken")

    def done(self):
        return self.psql("select id from app.done order by n").split()

    def states(self):
        return {int(r["id"]): r["state"] for r in
                self.postgres.query("select id, state from walferry.inbox_dead_letters order by id", self.db)}

    def row(self, number):
        return self.postgres.query(f"select * from walferry.inbox_dead_letters where id = {number}", self.db)[0]

    def parked(self):
        return int(self.psql("select count(*) from walferry.inbox_parked"))

    def holds(self):
        return self.psql("select dead_letter from walferry.inbox_holds order by 1").split()

    def close(self):
        for run in self.runs:
            run.close()
        super().close()
        system.remove_dir(self.dir)


@pytest.fixture
def letters(postgres):
    made = Letters(postgres)
    yield made
    made.close()


@pytest.fixture
def held(letters):
    """A letter that holds its key, three messages behind it, and two letters of other keys."""
    letters.numbers = [letters.letter("first", key="k", hold=True)]
    for id in ("second", "third", "fourth"):
        assert letters.arrive(id, key="k") == "parked"
    letters.numbers += [letters.letter("a", key="a"), letters.letter("b", key=None)]
    return letters


ORDER = ["first", "second", "third", "fourth"]


def of_key(letters):
    return [id for id in letters.done() if id in ORDER]


def settled(letters):
    assert of_key(letters) == ORDER and sorted(letters.done()) == sorted([*ORDER, "a", "b"])
    assert set(letters.states().values()) == {"replayed"} and letters.parked() == 0 and letters.holds() == []
    assert letters.arrive("fifth", key="k") == "called"


# Looking


def test_list_shows_open_letters_oldest_first(held):
    out = held.dlq("list").splitlines()
    assert out[0].split() == ["ID", "FAILED", "AT", "RECORD", "KEY", "TYPE", "CODE", "TRIES", "PARKED", "MESSAGE"]
    assert [line.split()[0] for line in out[1:]] == [str(n) for n in held.numbers]
    first = out[1].split()
    assert first[2:8] == [f"{TOPIC}/0@1", "k", "RentalCompleted", "handler_failed", "0", "3"] and out[1].endswith("it failed")
    assert [line.split()[3] for line in out[2:]] == ["a", "-"] and [line.split()[7] for line in out[2:]] == ["-", "-"]


def test_list_as_json_has_a_line_for_each_letter(held):
    first, a, b = held.objects("list")
    assert first["id"] == held.numbers[0] and first["state"] == "open" and first["resolved_at"] is None
    assert (first["topic"], first["partition"], first["offset"], first["timestamp_ms"]) == (TOPIC, 0, 1, 1000)
    assert (first["key"], first["source"], first["message_id"]) == ("k", "shop", "first")
    assert (first["type"], first["code"], first["message"]) == ("RentalCompleted", "handler_failed", "it failed")
    assert first["holds_key"] is True and first["parked"] == 3 and first["attempts"] == 0
    assert a["holds_key"] is False and a["parked"] == 0 and b["key"] is None
    assert first["first_failure"].endswith("Z") and first["first_failure"] <= a["first_failure"]


def test_filters_choose(letters):
    one = letters.letter("1", type="RentalCompleted")
    two = letters.letter("2", type="RentalReserved", code="handler_timeout")
    odd = letters.letter("3", type="Rental%eserved", code="envelope_invalid")
    bare = letters.letter("4", type=None, value=b"{}")
    letters.letter("5", consumer="somebody else")
    letters.psql(f"update walferry.inbox_dead_letters set first_failure = '2026-01-01T00:00:00Z' where id = {one};"
                 f"update walferry.inbox_dead_letters set state = 'replayed', resolved_at = now() where id = {odd}")

    def listed(*args):
        return [letter["id"] for letter in letters.objects("list", *args)]
    assert listed() == [one, two, bare]
    assert listed("--all") == [one, two, odd, bare]
    assert listed("--state", "replayed") == [odd] and listed("--state", "discarded") == []
    assert listed("--type", "RentalReserved") == [two]
    assert listed("--type", "Rental*") == [one, two] and listed("--type", "*") == [one, two, bare]
    assert listed("--all", "--type", "Rental%*") == [odd] and listed("--type", "Rental_eserved") == []
    assert listed("--code", "handler_timeout") == [two] and listed("--code", "handler") == []
    assert listed("--until", "2026-01-02") == [one] and listed("--until", "2026-01-01") == []
    assert listed("--since", "2026-01-01") == [one, two, bare] and listed("--since", "2026-01-01T00:00:01Z") == [two, bare]
    assert listed("--since", "1h") == [two, bare] and listed("--until", "1h") == [one]
    assert listed("--id", str(two)) == [two] and listed("--id", str(odd)) == [odd] and listed("--id", "99999") == []


def test_a_long_list_comes_in_pages_and_without_the_values(letters):
    letters.letter("1")
    letters.psql("insert into walferry.inbox_dead_letters (consumer, topic, partition, record_offset, record_timestamp, value, "
                 "code, message, attempts, first_failure, last_failure) "
                 "select 'accounting', 't', 0, n, 0, convert_to(repeat('x', 1000), 'UTF8'), 'handler_failed', repeat('m', 5000), 1, "
                 "now(), now() from generate_series(1, 1500) n")
    found = letters.objects("list")
    assert [letter["offset"] for letter in found[1:]] == list(range(1, 1501)) and len(found[5]["message"]) == 160


def test_texts_of_others_do_not_act_on_the_terminal(letters):
    letters.letter("1", key="k\x1b[31m\n", type="Rental\u00e9\x07")
    line = letters.dlq("list").splitlines()[1]
    assert "\x1b" not in line and "\x07" not in line and "Rental\u00e9" in line
    assert letters.objects("list")[0]["key"] == "k\x1b[31m\n"


def test_show_has_everything(held):
    held.psql(f"update walferry.inbox_dead_letters set attempts = 4 where id = {held.numbers[0]}")
    text = held.dlq("show", "--id", str(held.numbers[0]))
    for line in ("state           open", f"record          {TOPIC}/0@1", "key             k", "attempts        4",
                 "holds its key   yes", "parked behind   3", "handler         app.on_rental", "headers         x: y",
                 'details         {"sqlstate": "P0001"}', "message         it failed"):
        assert line in text.splitlines(), text
    value = text.split("value           ")[1]
    assert json.loads(value)["id"] == "first"
    shown, = held.objects("show", "--id", str(held.numbers[0]))
    assert shown["value"] == value.rstrip("\n") and shown["event"]["correlation_id"] == "c-first" and shown["problem"] is None
    assert shown["headers"] == [{"name": "x", "value": "y"}] and shown["handler"] == "app.on_rental"
    assert shown["details"] == {"sqlstate": "P0001"} and shown["parked"] == 3


def test_show_of_bytes_that_are_no_event(letters):
    number = letters.letter("1", key=b"\x00\xff", type=None, value=b"\xff\x00{", code="payload_not_json")
    shown, = letters.objects("show", "--id", str(number))
    assert shown["key_base64"] == "AP8=" and shown["value_base64"] == "/wB7" and shown["event"] is None
    assert shown["problem"] == "payload_not_json" and shown["handler"] is None
    assert "unreadable      payload_not_json: " in letters.dlq("show", "--id", str(number))


def test_show_of_none_and_of_another_consumers(letters):
    number = letters.letter("1", consumer="somebody else")
    for id in (number, 4711):
        run = letters.start("show", "--id", str(id)).expect_exit(2)
        assert run.find("dlq.failed")["error"] == f"consumer accounting has no dead letter {id}" and run.stdout == b""


def test_without_the_tables_it_says_what_to_do(letters):
    letters.psql("drop table walferry.inbox_layout")
    for verb in (["list"], ["replay"], ["discard", "--all"]):
        refused = letters.start(*verb).expect_exit(3).find("dlq.refused")
        assert refused["code"] == "inbox_not_set_up" and "walferry init" in refused["remedy"]


# Replay


def test_replay_calls_the_handler_once_with_all_that_it_is_given(letters):
    number = letters.letter("1")
    out = letters.dlq("replay")
    assert out == "dead letters: 1 (1 replayed)\nparked behind them: 0\n"
    assert letters.psql("select id, correlation, causation from app.done") == "1|c-1|1"
    row = letters.row(number)
    assert row["state"] == "replayed" and row["resolved_at"] is not None
    assert letters.dlq("replay") == "dead letters: 0\nparked behind them: 0\n" and letters.done() == ["1"]


def test_what_was_processed_otherwise_is_resolved_without_a_call(letters):
    letters.letter("1")
    assert letters.arrive("1", key="other") == "called"
    assert "dead letters: 1 (1 already processed)" in letters.dlq("replay")
    assert letters.done() == ["1"] and list(letters.states().values()) == ["replayed"]


def test_a_letter_that_fails_again_stays_open_and_the_others_go_on(letters):
    numbers = [letters.letter("1"), letters.letter("2", broken=True), letters.letter("3")]
    letters.psql(f"update walferry.inbox_dead_letters set code = 'handler_timeout', last_failure = '2026-01-01'")
    before = letters.row(numbers[1])
    run = letters.start("replay").expect_exit(1)
    out = run.stdout.decode()
    assert f"FAILED  {numbers[1]}  {TOPIC}/0@2  RentalCompleted  handler_failed: rental 2 is broken" in out
    assert "dead letters: 3 (2 replayed, 1 failed)" in out and "failed with handler_failed: 1" in out
    assert letters.done() == ["1", "3"] and list(letters.states().values()) == ["replayed", "open", "replayed"]
    row = letters.row(numbers[1])
    assert row["attempts"] == before["attempts"] + 1 and row["first_failure"] == before["first_failure"]
    assert row["last_failure"] > before["last_failure"] and row["code"] == "handler_failed"
    assert row["message"] == "rental 2 is broken"
    details = row["details"]
    assert (details["sqlstate"], details["message"], details["hint"]) == ("P0001", "rental 2 is broken", "mend it")
    assert "on_rental" in details["context"]
    assert not any("rental 2" in line for line in run.lines), "a handler's words may hold data"
    letters.mend()
    letters.dlq("replay")
    assert letters.done() == ["1", "3", "2"]


def test_what_is_parked_follows_in_order_and_the_key_is_let_go(held):
    out = held.dlq("replay")
    assert out == "dead letters: 3 (3 replayed)\nparked behind them: 3 (3 replayed)\n"
    assert held.done() == [*ORDER, "a", "b"]
    settled(held)


def test_what_is_parked_and_was_processed_otherwise_is_not_called_again(held):
    held.psql("insert into walferry.inbox_processed_messages (generation, consumer, source, message_id) values "
              "(1, 'accounting', 'shop', 'third')")
    assert "parked behind them: 3 (2 replayed, 1 already processed)" in held.dlq("replay")
    assert of_key(held) == ["first", "second", "fourth"] and held.parked() == 0 and held.holds() == []


def test_a_parked_message_that_fails_is_a_letter_and_holds_the_key(held):
    held.psql("insert into app.broken values ('third')")
    out = held.dlq("replay", exit=1)
    assert "third is broken" in out and "(was parked; is a dead letter now, and holds the key)" in out
    assert "parked behind them: 2 (1 replayed, 1 failed)" in out
    assert of_key(held) == ["first", "second"] and {"a", "b"} <= set(held.done())
    number, = held.holds()
    row = held.row(number)
    assert held.parked() == 1 and (row["state"], row["message_id"], row["attempts"]) == ("open", "third", 1)
    assert row["code"] == "handler_failed" and row["type"] == "RentalCompleted" and row["headers"] == [{"name": "x", "value": "y"}]
    assert held.arrive("fifth", key="k") == "parked"
    held.dlq("replay", exit=1)
    assert of_key(held) == ["first", "second"] and held.row(number)["attempts"] == 2 and held.parked() == 2
    held.mend()
    held.dlq("replay")
    assert [id for id in held.done() if id in [*ORDER, "fifth"]] == [*ORDER, "fifth"] and held.holds() == []


@pytest.mark.parametrize("relay", [True, False])
def test_what_was_parked_and_fails_is_told_to_the_relay_if_there_is_one(held, relay):
    held.relay = relay
    held.psql("insert into app.broken values ('third')")
    slot = held.db
    held.psql(f"create publication p; select pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    held.dlq("replay", exit=1)
    held.dlq("replay", exit=1)
    told = held.psql(f"select count(*) from pg_logical_slot_peek_binary_changes('{slot}', null, null, 'proto_version', '1', "
                     "'publication_names', 'p', 'messages', 'true') where get_byte(data, 0) = ascii('M') "
                     "and position('walferry.dead_letter'::bytea in data) > 0")
    assert told == ("1" if relay else "0"), "one becomes a dead letter, once"


def test_the_same_key_of_another_topic_or_consumer_is_not_touched(held):
    held.psql("update walferry.inbox_dead_letters set topic = 'other' where message_id = 'first';"
              "update walferry.inbox_holds set topic = 'other'")
    held.dlq("replay")
    assert "first" in held.done() and held.parked() == 3
    held.psql("update walferry.inbox_holds set topic = 'fleet.rentals', consumer = 'other'")
    held.dlq("replay")
    assert held.parked() == 3


def test_a_letter_does_not_overtake_an_earlier_one_of_its_held_key(letters):
    early = letters.letter("1", key="k", broken=True)
    late = letters.letter("2", key="k", hold=True)
    letters.letter("3", key="other")
    out = letters.dlq("replay", exit=1)
    assert f"waits  {late}  {TOPIC}/0@2  RentalCompleted  behind {early}, which is open" in out
    assert "dead letters: 3 (1 replayed, 1 failed, 1 waiting for an earlier one of their key)" in out
    assert letters.done() == ["3"]
    letters.dlq("replay", "--id", str(late), exit=1)
    assert letters.done() == ["3"]
    letters.mend()
    letters.dlq("replay")
    assert letters.done() == ["3", "1", "2"] and letters.holds() == []


def test_types_are_treated_as_the_config_says_now(letters):
    letters.letter("1", type="Noise")
    missing = letters.letter("2", type="Unknown")
    out = letters.dlq("replay", exit=1)
    assert "1 ignored or skipped by the config, 1 failed" in out and letters.row(missing)["code"] == "unmatched_type"
    letters.inbox["unmatched"] = "skip"
    letters.dlq("replay")
    assert letters.done() == [] and set(letters.states().values()) == {"replayed"}


def test_what_no_handler_can_be_given_stays_open(letters):
    number = letters.letter("1", value=b"no json", code="other")
    letters.dlq("replay", exit=1)
    row = letters.row(number)
    assert (row["code"], row["attempts"], row["state"]) == ("payload_not_json", 1, "open")


def test_constraints_that_are_checked_at_commit_fail_their_message(held):
    number = held.letter("at end", key="e", at_end=True)
    held.dlq("replay", exit=1)
    row = held.row(number)
    assert row["code"] == "handler_failed" and row["details"]["sqlstate"] == "23505" and "at end" not in held.done()
    assert of_key(held) == ORDER


@pytest.mark.parametrize("sqlstate, code, calls", [("40001", "retries_exhausted", 3), ("P0001", "handler_failed", 1),
                                                   ("57014", "handler_timeout", 1)])
def test_what_may_pass_is_tried_again(letters, sqlstate, code, calls):
    number = letters.letter("1")
    letters.psql(f"insert into app.broken values ('1', '{sqlstate}')")
    letters.dlq("replay", exit=1)
    assert letters.psql("select last_value from app.calls") == str(calls)
    row = letters.row(number)
    assert (row["code"], row["attempts"]) == (code, 1)


def test_a_handler_that_takes_too_long_is_ended(letters):
    letters.inbox["timeout_ms"] = 700
    number, other = letters.letter("1", sleep=30), letters.letter("2")
    letters.dlq("replay", exit=1)
    assert letters.row(number)["code"] == "handler_timeout" and letters.done() == ["2"]


def test_a_handler_that_ends_its_session_fails_alone(held):
    number = held.letter("dies", key="d", die=True)
    last = held.letter("last", key="l")
    held.dlq("replay", exit=1)
    assert held.states()[number] == "open" and held.states()[last] == "replayed"
    assert of_key(held) == ORDER and "dies" not in held.done()


def test_limit_and_rate(letters):
    for n in range(6):
        letters.letter(str(n))
    letters.dlq("replay", "--limit", "2")
    assert letters.done() == ["0", "1"]
    run = letters.start("replay", "--max-per-second", "4")
    run.expect_exit(0)
    seconds = letters.psql("select extract(epoch from max(resolved_at) - min(resolved_at)) from walferry.inbox_dead_letters "
                           "where message_id >= '2'")
    assert letters.done() == ["0", "1", "2", "3", "4", "5"] and float(seconds) > 0.6


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(held):
    held.letter("n", key="n", type="Unknown")
    before = held.psql("select * from walferry.inbox_dead_letters; select * from walferry.inbox_holds; select count(*) from "
                       "walferry.inbox_parked")
    out = held.dlq("replay", "--dry-run", exit=1)
    assert f"--  {held.numbers[0]}  {TOPIC}/0@1  RentalCompleted  would call app.on_rental" in out
    assert "Unknown  cannot be handled  unmatched_type" in out and "a dry run: nothing was changed" in out
    assert "would be discarded" in held.dlq("discard", "--all", "--dry-run")
    assert held.done() == [] and before == held.psql(
        "select * from walferry.inbox_dead_letters; select * from walferry.inbox_holds; select count(*) from "
        "walferry.inbox_parked")


def test_statistics_as_json(held):
    held.psql("insert into app.broken values ('third'), ('a')")
    totals, = held.objects("replay", exit=1)
    assert totals["dead_letters"] | {} == {"handled": 2, "already_processed": 0, "ignored": 0, "discarded": 0, "failed": 1,
                                           "waiting": 0, "elsewhere": 0}
    assert totals["parked"]["handled"] == 1 and totals["parked"]["failed"] == 1
    assert totals["failed_by_code"] == {"handler_failed": 2}


# Discard


def test_discard_wants_to_know_how_many(held):
    run = held.start("discard", "--type", "Rental*").expect_exit(2)
    assert run.find("dlq.failed")["error"].startswith("3 dead letters match; nothing was discarded")
    run = held.start("discard", "--type", "Rental*", "--confirm", "2").expect_exit(2)
    assert "--confirm says 2" in run.find("dlq.failed")["error"]
    assert set(held.states().values()) == {"open"} and held.done() == [] and held.parked() == 3


def test_discarded_letters_are_not_called_and_what_is_parked_is(held):
    out = held.dlq("discard", "--id", str(held.numbers[0]), "--confirm", "1")
    assert out == "dead letters: 1 (1 discarded)\nparked behind them: 3 (3 replayed)\n"
    assert held.done() == ORDER[1:] and held.holds() == []
    assert held.states() == dict(zip(held.numbers, ("discarded", "open", "open")))
    held.dlq("discard", "--all", "--confirm", "2")
    assert set(held.states().values()) == {"discarded"} and held.done() == ORDER[1:]
    assert held.dlq("discard", "--all") == "dead letters: 0\nparked behind them: 0\n"


def test_what_is_parked_waits_for_the_letter_that_holds_the_key(letters):
    early = letters.letter("1", key="k")
    late = letters.letter("2", key="k", hold=True)
    letters.arrive("3", key="k")
    letters.dlq("discard", "--id", str(early), "--confirm", "1")
    assert letters.done() == [] and letters.parked() == 1 and letters.holds() == [str(late)]
    letters.dlq("replay")
    assert letters.done() == ["2", "3"] and letters.holds() == []


def test_what_is_parked_behind_a_discarded_letter_may_fail(held):
    held.psql("insert into app.broken values ('second')")
    held.dlq("discard", "--id", str(held.numbers[0]), "--confirm", "1", exit=1)
    assert held.done() == [] and held.parked() == 2 and int(held.holds()[0]) > max(held.numbers)


# Kills, stops and company


KILLS = [("letters.before_commit", 1), ("letters.after_commit", 1), ("letters.parked_before_commit", 1),
         ("letters.parked_after_commit", 1), ("letters.parked_before_commit", 3), ("letters.parked_after_commit", 3),
         ("letters.before_release", 1)]


@pytest.mark.parametrize("verb, name, hit", [("discard", *kill) for kill in KILLS] + [("replay", *kill) for kill in (
    *KILLS, ("letters.before_commit", 2), ("letters.after_commit", 3))])
def test_killed_at_any_moment_nothing_comes_twice_and_nothing_is_lost(held, verb, name, hit):
    args = ["replay"] if verb == "replay" else ["discard", "--id", str(held.numbers[0])]
    confirm = ["--confirm", "1"] if verb == "discard" else []
    run = held.start(*args, *confirm, failpoint=f"{name}=kill@{hit}")
    assert run.wait() == -signal.SIGKILL, run.log_tail()
    assert of_key(held) == (ORDER if verb == "replay" else ORDER[1:])[:len(of_key(held))]
    held.dlq(*args, *confirm)
    if verb == "replay":
        settled(held)
    else:
        assert held.done() == ORDER[1:] and held.parked() == 0 and held.holds() == []
        assert held.states()[held.numbers[0]] == "discarded"


def test_many_kills(letters):
    """At every commit of a run in turn, with letters that fail again and again."""
    wanted = {}
    for key in "pqr":
        letters.letter(f"{key}0", key=key, hold=True, broken=key == "q")
        for n in range(1, 4):
            letters.arrive(f"{key}{n}", key=key)
        wanted[key] = [f"{key}{n}" for n in range(4)]
    for n in range(12):
        point = ("letters.before_commit", "letters.parked_before_commit", "letters.parked_after_commit", "letters.after_commit")[n % 4]
        letters.start("replay", failpoint=f"{point}=kill@{1 + n % 2}").wait()
        if n == 7:
            letters.mend()
    letters.dlq("replay")
    done = letters.done()
    assert sorted(done) == sorted(sum(wanted.values(), []))
    assert {key: [id for id in done if id[0] == key] for key in wanted} == wanted
    assert letters.holds() == [] and letters.parked() == 0


def test_two_at_once_call_each_handler_once_and_in_order(letters):
    for n in range(60):
        letters.letter(f"x{n}", key=f"x{n}")
    for key in "pq":
        letters.letter(f"{key}00", key=key, hold=True)
        for n in range(1, 25):
            letters.arrive(f"{key}{n:02}", key=key)
    runs = [letters.start("replay") for _ in range(3)]
    for run in runs:
        run.expect_exit(0)
    letters.dlq("replay")
    done = letters.done()
    assert len(done) == len(set(done)) == 110
    for key in "pq":
        assert [id for id in done if id[0] == key] == [f"{key}{n:02}" for n in range(25)]
    assert letters.holds() == [] and set(letters.states().values()) == {"replayed"}


def test_a_letter_that_another_works_on_is_passed_by(letters):
    letters.letter("1", sleep=3)
    letters.letter("2")
    first = letters.start("replay")
    system.wait_for(lambda: letters.psql("select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.query like "
                                         "'%app%on_rental%' and a.state = 'active' and l.granted and pid <> pg_backend_pid()") != "0",
                    10, "in the handler")
    out = letters.dlq("replay")
    assert "1 replayed, 1 resolved or worked on by another" in out and letters.done() == ["2"]
    first.expect_exit(0)
    assert sorted(letters.done()) == ["1", "2"]


def test_the_inbox_goes_on_beside_a_replay(letters):
    """Messages of the key arrive all the time: parked or handled, each once and in order."""
    letters.letter("m000", key="k", hold=True)
    member, stop, sent = Member(letters), threading.Event(), ["m000"]

    def feed():
        while not stop.is_set():
            id = f"m{len(sent):03}"
            letters.arrive(id, key="k", member=member)
            sent.append(id)
    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        system.wait_for(lambda: len(sent) > 20, 20, "fed")
        for _ in range(3):
            letters.dlq("replay")
    finally:
        stop.set()
        feeder.join(30)
    letters.dlq("replay")
    called = letters.done()
    assert called == sent and letters.holds() == [] and letters.parked() == 0


def test_a_stop_waits_for_the_message_in_hand(letters):
    for n in range(5):
        letters.letter(str(n), sleep=1)
    run = letters.start("replay")
    system.wait_for(lambda: letters.done() != [], 20, "first")
    assert run.terminate() == 1
    failed = run.find("dlq.failed")
    assert failed["error"] == "stopped before everything was done" and b"dead letters: " in run.stdout
    resolved = [id for id, state in letters.states().items() if state == "replayed"]
    assert 1 <= len(resolved) < 5 and len(letters.done()) == len(resolved)
    letters.psql("update walferry.inbox_dead_letters set value = convert_to(replace(convert_from(value, 'UTF8'), '\"sleep\": 1', "
                 "'\"sleep\": 0'), 'UTF8')")
    letters.dlq("replay")
    assert letters.done() == [str(n) for n in range(5)]


def test_postgres_restarts_in_between(letters):
    for n in range(40):
        letters.letter(str(n), sleep=0.05)
    run = letters.start("replay")
    system.wait_for(lambda: len(letters.done()) > 2, 20, "some")
    letters.postgres.restart()
    run.expect_exit(0)
    assert letters.done() == [str(n) for n in range(40)]
