"""The inbox's loop: from records of a topic to what the handlers did, which offsets stand behind it, and what becomes of
events that fail."""
import json
import re
import time
import urllib.request

# A handler whose payload says what it does: {"do": ...}. nextval is not rolled back, so that it counts attempts.
MOODY = """
create sequence app.tries;
create table app.done (n int primary key, at timestamptz default clock_timestamp());
create table app.later (n int, unique (n) deferrable initially deferred);
create function app.moody(e jsonb) returns void language plpgsql as $$
begin
  case e->'payload'->>'do'
    when 'fail' then raise exception 'no way' using detail = 'none at all', hint = 'give up';
    when 'twice' then
      if nextval('app.tries') < 3 then raise exception 'busy' using errcode = '40001'; end if;
    when 'always' then perform nextval('app.tries'); raise exception 'deadlock' using errcode = '40P01';
    when 'sleep' then perform pg_sleep(60);
    when 'defer' then insert into app.later values (1), (1);
    else null;
  end case;
  perform app.on_event(e);
end $$;
"""


def moody(make_inbox, **kwargs):
    inbox = make_inbox(**kwargs)
    inbox.psql(MOODY)
    inbox.config["inbox"]["handlers"] = [{"type": "*", "call": "app.moody"}]
    return inbox


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def payloads(inbox):
    return [payload for _, _, payload in inbox.seen()]


def test_each_event_is_handled_once_in_order(inbox):
    ids = inbox.produce(*range(100), partition=0)
    more = inbox.produce(*range(100, 150), partition=1, key="other")
    inbox.drain()
    seen = inbox.seen()
    assert [i for i, key, _ in seen if key == "k"] == ids
    assert [i for i, key, _ in seen if key == "other"] == more
    assert [p for _, key, p in seen if key == "k"] == list(range(100))
    assert inbox.offsets() == {0: 100, 1: 50, 2: 0}

    again = inbox.produce({"id": ids[3], "payload": "again"}, "new", partition=2)
    inbox.drain()
    assert inbox.seen_ids()[150:] == again[1:], "an event that was handled is not handled again, wherever it stands"


def test_poison_in_a_batch_undoes_no_neighbour(make_inbox):
    inbox = moody(make_inbox)
    ids = inbox.produce(*[{"payload": {"do": "fail" if n in (3, 4, 17) else "", "n": n}} for n in range(30)], partition=0)
    run = inbox.drain()
    poison = [ids[n] for n in (3, 4, 17)]
    assert inbox.seen_ids() == [i for i in ids if i not in poison]
    assert inbox.offsets()[0] == 30
    letters = inbox.letters()
    assert [letter["message_id"] for letter in letters] == poison
    letter = letters[0]
    assert (letter["topic"], letter["partition"], letter["record_offset"]) == (inbox.topic, 0, 3)
    assert (letter["code"], letter["attempts"], letter["state"]) == ("handler_failed", 1, "open")
    assert letter["message"] == "no way"
    assert letter["details"]["sqlstate"] == "P0001"
    assert letter["details"]["detail"] == "none at all"
    assert letter["details"]["hint"] == "give up"
    assert "moody" in letter["details"]["context"]
    assert run.count("inbox.dead_letter") == 3
    assert inbox.query("select * from walferry.inbox_attempts") == []


def test_a_transient_failure_is_tried_again(make_inbox):
    inbox = moody(make_inbox)
    inbox.produce({"payload": {"do": "twice"}}, {"payload": "next"}, partition=0)
    run = inbox.drain()
    assert payloads(inbox) == [{"do": "twice"}, "next"]
    assert inbox.psql("select last_value from app.tries") == "3"
    assert [e["attempt"] for e in run.events if e["event"] == "inbox.event_failed"] == [1, 2]
    assert inbox.letters() == []
    assert inbox.query("select * from walferry.inbox_attempts") == []


def test_attempts_end(make_inbox):
    inbox = moody(make_inbox)
    inbox.produce({"payload": {"do": "always"}}, {"payload": "next"}, partition=0)
    inbox.drain()
    assert payloads(inbox) == ["next"]
    letter, = inbox.letters()
    assert (letter["code"], letter["attempts"]) == ("retries_exhausted", 3)
    assert letter["first_failure"] < letter["last_failure"]


def test_attempts_are_counted_across_runs(make_inbox):
    inbox = moody(make_inbox)
    slow = inbox.changed(retry={"max_attempts": 3, "backoff_ms": 60000, "backoff_max_ms": 60000})
    inbox.produce({"payload": {"do": "always"}}, partition=0)
    for attempt in 1, 2:
        run = inbox.start(config=slow)
        assert run.wait_event("inbox.event_failed")["attempt"] == attempt
        assert run.terminate() == 0
    inbox.drain(config=slow)
    assert inbox.letters()[0]["attempts"] == 3


def test_a_handler_that_takes_too_long(make_inbox):
    inbox = moody(make_inbox)
    config = inbox.changed(timeout_ms=300, retry={"max_attempts": 2, "backoff_ms": 20})
    inbox.produce({"payload": {"do": "sleep"}}, {"payload": "next"}, partition=0)
    inbox.drain(config=config)
    assert payloads(inbox) == ["next"]
    letter, = inbox.letters()
    assert (letter["code"], letter["attempts"], letter["details"]["sqlstate"]) == ("handler_timeout", 2, "57014")


def test_what_fails_at_the_commit_is_found(make_inbox):
    inbox = moody(make_inbox)
    inbox.produce(*[{"payload": {"do": "defer" if n == 5 else "", "n": n}} for n in range(10)], partition=0)
    inbox.drain()
    assert [p["n"] for p in payloads(inbox)] == [n for n in range(10) if n != 5]
    letter, = inbox.letters()
    assert letter["record_offset"] == 5 and letter["details"]["sqlstate"] == "23505"


def test_other_partitions_go_on_while_one_backs_off(make_inbox):
    inbox = moody(make_inbox)
    config = inbox.changed(retry={"max_attempts": 5, "backoff_ms": 60000, "backoff_max_ms": 60000})
    run = inbox.start(config=config)
    run.wait_event("inbox.streaming")
    inbox.produce("first", {"payload": {"do": "twice"}}, "behind", partition=0)
    run.wait_event("inbox.event_failed")
    inbox.produce("other", partition=1)
    wait_until(lambda: "other" in payloads(inbox))
    assert payloads(inbox) == ["first", "other"]
    assert run.terminate() == 0
    inbox.drain()
    assert payloads(inbox) == ["first", "other", {"do": "twice"}, "behind"]


def test_types_without_a_handler(inbox):
    inbox.config["inbox"]["handlers"] = [{"type": "Order*", "call": "app.on_event"}, {"type": "OrderNoise", "ignore": True}]
    ids = [inbox.produce(n, type=type, partition=0)[0]
           for n, type in enumerate(["OrderPlaced", "OrderNoise", "Other", "OrderPaid"])]
    inbox.drain()
    assert inbox.seen_ids() == [ids[0], ids[3]]
    letter, = inbox.letters()
    assert (letter["code"], letter["type"], letter["message_id"]) == ("unmatched_type", "Other", ids[2])
    assert letter["attempts"] == 0

    inbox.produce("more", type="Other", partition=0)
    inbox.drain(config=inbox.changed(unmatched="skip"))
    assert len(inbox.letters()) == 1
    assert inbox.offsets()[0] == 5


def test_what_cannot_be_read_is_a_dead_letter(inbox):
    inbox.kafka.produce(inbox.topic, "no json", key="k", headers={"type": "T", "id": "1", "wf_lsn": "0/1"}, partition=0)
    inbox.kafka.produce(inbox.topic, '{"id":"1","id":"2","type":"T","payload":1}', partition=0)
    inbox.produce("fine", partition=0)
    inbox.drain()
    assert payloads(inbox) == ["fine"]
    assert [(x["code"], x["record_offset"]) for x in inbox.letters()] == [("payload_not_json", 0), ("envelope_invalid", 1)]
    assert inbox.letters()[0]["value"] == "\\x" + b"no json".hex()
    assert {"name": "type", "value": "T"} in inbox.letters()[0]["headers"]


def test_records_without_value_key_or_id(inbox):
    inbox.kafka.produce(inbox.topic, None, key="k", headers={"type": "Gone", "id": "7", "wf_lsn": "0/1"}, partition=0)
    inbox.kafka.produce(inbox.topic, '{"type":"Bare","payload":1}', partition=0)
    inbox.drain()
    assert inbox.seen() == [("7", "k", None), (f"{inbox.topic}/0/1", None, 1)]


def test_a_held_key_parks_what_follows(make_inbox):
    inbox = moody(make_inbox)
    config = inbox.changed(dead_letter={"hold_key": True})
    inbox.produce("before", {"payload": {"do": "fail"}}, "behind 1", "behind 2", partition=0, key="a")
    inbox.produce("free", partition=0, key="b")
    inbox.drain(config=config)
    assert payloads(inbox) == ["before", "free"]
    assert [(r["record_offset"], bytes.fromhex(r["key"][2:])) for r in
            inbox.query("select * from walferry.inbox_parked order by id")] == [(2, b"a"), (3, b"a")]
    hold, = inbox.query("select * from walferry.inbox_holds")
    assert hold["dead_letter"] == inbox.letters()[0]["id"]
    assert inbox.offsets()[0] == 5


def test_the_handler_knows_where_the_event_came_from(inbox):
    inbox.psql("""create table app.settings (name text, value text);
      create or replace function app.on_event(e jsonb) returns void language plpgsql as $$ begin
        insert into app.settings select n, current_setting('walferry.' || n, true)
        from unnest('{correlation_id,causation_id,trace_id,traceparent,tenant_id}'::text[]) n;
      end $$""")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    inbox.produce({"id": "e1", "payload": 1, "correlation_id": "c1", "trace_id": "0af7651916cd43dd8448eb211c80319c"},
                  headers={"traceparent": parent, "tenant_id": "t1"}, partition=0)
    inbox.drain()
    assert {r["name"]: r["value"] for r in inbox.query("select * from app.settings")} == {
        "correlation_id": "c1", "causation_id": "e1", "trace_id": "0af7651916cd43dd8448eb211c80319c", "traceparent": parent,
        "tenant_id": "t1"}


def test_a_stop_is_clean(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    inbox.produce(*range(10), partition=0)
    wait_until(lambda: len(inbox.seen()) == 10)
    assert inbox.psql("select count(*) from walferry.inbox_offsets where dirty") == "3"
    assert run.terminate() == 0
    assert inbox.psql("select count(*) from walferry.inbox_offsets where dirty") == "0"
    inbox.produce("behind", partition=0)
    assert [json.loads(r)["payload"] for r in inbox.kafka.consume_group(inbox.topic, inbox.group)] == ["behind"], \
        "the group's own offsets are those of the tables"


def test_a_long_handler_does_not_delay_a_stop(make_inbox):
    inbox = moody(make_inbox)
    run = inbox.start(config=inbox.changed(timeout_ms=60000))
    run.wait_event("inbox.streaming")
    inbox.produce({"payload": {"do": "sleep"}}, partition=0)
    wait_until(lambda: inbox.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1")
    began = time.monotonic()
    assert run.terminate() == 0
    assert time.monotonic() - began < 10
    assert inbox.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "0"
    assert inbox.query("select * from walferry.inbox_attempts") == []


def test_an_offset_that_an_operator_moves(inbox):
    inbox.produce(*range(5), partition=0)
    run = inbox.start()
    wait_until(lambda: len(inbox.seen()) == 5)
    inbox.psql("update walferry.inbox_offsets set next_offset = 8, record_offset = null where partition = 0")
    inbox.produce(*range(5, 10), partition=0)
    run.wait_event("inbox.displaced")
    wait_until(lambda: len(inbox.seen()) == 7)
    assert payloads(inbox) == [0, 1, 2, 3, 4, 8, 9]


def test_records_deleted_before_they_were_read(inbox):
    inbox.produce(*range(5), partition=0)
    inbox.drain()
    inbox.produce(*range(5, 10), partition=0)
    inbox.produce("other", partition=1)
    inbox.kafka.delete_records(inbox.topic, {0: 8})
    run = inbox.drain(code=3)
    assert run.refusal_of("inbox")["code"] == "offset_deleted"
    assert payloads(inbox) == [0, 1, 2, 3, 4, "other"], "the other partitions are handled all the same"


def test_tables_that_are_not_there(make_inbox):
    inbox = make_inbox(init=False)
    run = inbox.drain(code=3)
    assert run.refusal_of("inbox")["code"] == "inbox_not_set_up"


def test_many_members_share_the_partitions(inbox):
    runs = [inbox.start() for _ in range(3)]
    for run in runs:
        run.wait_event("inbox.streaming", partitions=1)
    ids = sum((inbox.produce(*range(n, n + 50), partition=n % 3, key=str(n % 3)) for n in range(0, 300, 50)), [])
    wait_until(lambda: len(inbox.seen()) == 300)
    assert sorted(inbox.seen_ids()) == sorted(ids)
    for key in "012":
        numbers = [p for _, k, p in inbox.seen() if k == key]
        assert numbers == sorted(numbers)


def test_a_server_that_comes_back(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    inbox.postgres.restart()
    mark = run.mark()
    inbox.produce(*range(10), partition=0)
    wait_until(lambda: len(inbox.seen()) == 10)
    run.wait_event("inbox.streaming", after=mark)
    inbox.kafka.restart()
    inbox.produce(*range(10, 20), partition=1)
    wait_until(lambda: len(inbox.seen()) == 20, 60)
    assert run.terminate() == 0


def test_large_messages(inbox):
    inbox.produce(*["x" * 900000 + str(n) for n in range(20)], partition=0)
    run = inbox.start()
    wait_until(lambda: len(inbox.seen()) == 20)
    assert run.memory_peak_kb() < 64 * 1024
    assert run.terminate() == 0


def test_a_member_that_hangs_in_the_middle_of_a_batch_is_put_out(make_inbox, tmp_path):
    inbox = make_inbox(partitions=1)
    held = tmp_path / "held"
    first = inbox.start(failpoint=f"inbox.before_commit=pause:{held}")
    first.wait_event("inbox.streaming")
    ids = inbox.produce(*["x" * 20000] * 20, partition=0)  # more than libpq keeps: the server has begun
    wait_until(held.exists)
    wait_until(lambda: inbox.psql("select count(*) from pg_stat_activity where wait_event = 'ClientRead' and state = 'active' "
                                  "and application_name like 'walferry/%'") == "1")
    first.sigstop()
    second = inbox.start()
    second.wait_event("inbox.partition_locked", sessions_ended=1)
    wait_until(lambda: inbox.seen_ids() == ids)
    held.unlink()
    first.sigcont()
    more = inbox.produce(*range(10, 20), partition=0)
    wait_until(lambda: inbox.seen_ids() == ids + more)
    assert first.terminate() == 0 and second.terminate() == 0


def test_the_time_of_a_call_is_the_servers(make_inbox):
    inbox = make_inbox(partitions=1)
    inbox.psql("create or replace function app.on_event(e jsonb) returns void language sql as 'select pg_sleep(0.02)'")
    inbox.config["http"] = {"listen": "127.0.0.1:0"}
    inbox.produce(*range(20))
    run = inbox.start()
    port = run.wait_event("http.listening")["port"]

    def metric(name):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            return float(re.search(rf'^{name}\{{[^}}]*type="\*"[^}}]*\}} (.*)$', page.read().decode(), re.M)[1])

    wait_until(lambda: metric("walferry_inbox_handler_seconds_count") == 20)
    assert 0.4 <= metric("walferry_inbox_handler_seconds_sum") < 4
