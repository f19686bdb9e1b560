"""docs/handlers.md: its blocks as they stand there, and what it says of transactions, errors and changes."""
import json
import re
import time

import pytest

from harness import walferry
from harness.system import ROOT

GUIDE = (ROOT / "docs" / "handlers.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE, re.S | re.M)


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.fixture
def loyalty(postgres, kafka, tmp_path):
    """run(command, ...) of the guide's config, in a database of the name that it has there."""
    path = tmp_path / "loyalty.yaml"
    path.write_text(blocks("yaml")[0])
    env = {"PGPORT": postgres.port, "KAFKA_BROKERS": kafka.brokers}
    before = set(kafka.topics())
    postgres.psql("create database loyalty")
    kafka.create_topic("orders.events.v1", 1)
    try:
        yield lambda command, *args: walferry.run(command, path, *args, env=env)
    finally:
        postgres.drop_database("loyalty")
        postgres.psql("drop role if exists loyalty_owner; drop role if exists walferry")
        for topic in set(kafka.topics()) - before:
            if not topic.startswith("__"):
                kafka.delete_topic(topic)


def test_every_block_can_be_run_in_its_order(loyalty, postgres, kafka):
    loyalty("init", "--admin", postgres.conninfo("loyalty")).expect_exit(0)
    said = [postgres.psql(sql, "loyalty") for sql in blocks("sql")]
    assert len(said) > 10 and set(f for f, _ in BLOCKS) == {"yaml", "sql", "json"}

    mails, = [out for out in said if out.startswith("|")]
    assert mails == "|\nt", "the second is no reason, and the key is there"
    assert postgres.query("select * from loyalty.mails", "loyalty") == [], "the worker has taken it"
    tried, = [out for out in said if "PointsGranted" in out]
    assert "ada|42" in tried and "c-1|e-1" in tried, "the handler, as tried in psql"

    event, = blocks("json")
    kafka.produce("orders.events.v1", event.replace("\n", ""), key="4711")
    kafka.produce("orders.events.v1", '{"id": "e-2", "type": "OrderShipped", "occurred_at": "2026-11-21T08:01:58Z", '
                                      '"payload": null}', key="4711")
    loyalty("inbox", "--until-end").expect_exit(0)
    assert postgres.query("select * from loyalty.points", "loyalty") == [{"customer": "ada", "points": 43}]
    row, = postgres.query("select * from outbox", "loyalty")
    assert (row["type"], row["correlation_id"], row["causation_id"], row["trace_id"], row["tenant_id"]) == (
        "PointsGranted", "c-1", "e-1", "t-1", "acme")
    assert row["payload"] == {"customer": "ada", "points": 43, "tenant": "acme"}
    assert postgres.query("select * from walferry.inbox_dead_letters", "loyalty") == []


def test_what_a_handler_gets(inbox):
    """The members of the guide's table, from an event with all of them and from one with next to none."""
    inbox.psql("""create table app.got (event jsonb, settings text[]);
      create function app.take(event jsonb) returns void language sql volatile as $$
        insert into app.got values (event, array(select current_setting('walferry.' || s, true) from
          unnest(array['correlation_id', 'causation_id', 'trace_id', 'traceparent', 'tenant_id']) s)) $$""")
    event = json.loads(blocks("json")[0])
    inbox.kafka.produce(inbox.topic, json.dumps(event), key="4711", partition=0)
    inbox.kafka.produce(inbox.topic, "42.50", partition=0)
    inbox.drain(config=inbox.changed(handlers=[{"type": "*", "call": "app.take"}]))
    whole, bare = inbox.query("select * from app.got")
    assert whole["event"] == event
    assert whole["settings"] == ["c-1", "e-1", "t-1", "", "acme"]
    members = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", GUIDE.split("| member |")[1].split("\n\n")[0],
                                                            re.M))))
    assert members == set(event)
    place = f"{inbox.topic}/0/1"
    assert set(bare["event"]) == {"id", "occurred_at", "payload"} and bare["event"]["id"] == place
    assert inbox.psql("select event->>'payload' from app.got where event->>'id' like '%/1'") == "42.50"
    assert bare["settings"] == [place, place, "", "", ""], "it begins a chain"


def rows_of_errors():
    """SQLSTATE or class of each row of the guide's table of errors, with what follows."""
    table = GUIDE.split("| SQLSTATE |")[1].split("\n\n")[0]
    for states, _, follows in re.findall(r"^\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", table, re.M):
        for state in re.findall(r"`(\w+)(?:…)?`", states):
            yield state.ljust(5, "0"), follows


def test_what_follows_an_error(inbox):
    inbox.psql("""create function app.fail(event jsonb) returns void language plpgsql as $$
                  begin raise exception 'as told' using errcode = event->>'payload'; end $$""")
    config = inbox.changed(handlers=[{"type": "*", "call": "app.fail"}],
                           retry={"max_attempts": 2, "backoff_ms": 1, "backoff_max_ms": 1})
    wanted, endless = {}, []
    for state, follows in rows_of_errors():
        if "does not count" in follows:
            endless.append(state)
        else:
            wanted[state] = 2
    wanted |= dict.fromkeys(("P0001", "23505", "22023", "42883", "2D000"), 1)
    assert {"57014", "40000", "08000"} < set(wanted) and "57P01" in endless
    for n, state in enumerate(wanted):
        inbox.produce(state, partition=n % 3)
    inbox.drain(config=config)
    found = {l["details"]["sqlstate"]: l["attempts"] for l in inbox.letters()}
    assert found == wanted

    ids = inbox.produce(*endless, partition=0)
    run = inbox.start(config=config)
    run.wait_event("inbox.streaming")
    time.sleep(1)
    assert len(inbox.letters()) == len(wanted), "never given up"
    assert run.terminate() == 0 and ids


def test_a_handler_cannot_end_the_transaction(inbox):
    inbox.psql("create function app.ends(event jsonb) returns void language plpgsql as $$ begin commit; end $$")
    inbox.produce(1)
    inbox.drain(config=inbox.changed(handlers=[{"type": "*", "call": "app.ends"}]))
    assert [l["details"]["sqlstate"] for l in inbox.letters()] == ["2D000"]


def test_a_deferred_constraint_fails_for_its_event_alone(inbox):
    inbox.psql("""create table app.parents (id int primary key);
      create table app.children (parent int references app.parents deferrable initially deferred);
      insert into app.parents values (1);
      create function app.adopt(event jsonb) returns void language sql volatile as $$
        insert into app.children values ((event->>'payload')::int) $$""")
    inbox.produce(1, 2, 1, partition=0)
    inbox.drain(config=inbox.changed(handlers=[{"type": "*", "call": "app.adopt"}]))
    assert inbox.query("select * from app.children") == [{"parent": 1}, {"parent": 1}]
    assert [l["details"]["sqlstate"] for l in inbox.letters()] == ["23503"]


def test_handlers_are_changed_while_the_inbox_runs(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    inbox.produce("old")
    wait_until(lambda: len(inbox.seen()) == 1)
    changed = """create function app.on_event(e jsonb) returns void language sql volatile as $$
                 insert into app.seen (id, payload) values (e->>'id', jsonb_build_array({!r}, e->'payload')) $$"""
    inbox.psql("begin; drop function app.on_event(jsonb); " + changed.format("dropped") + "; commit")
    inbox.produce("new")
    wait_until(lambda: len(inbox.seen()) == 2)
    inbox.psql(changed.replace("create", "create or replace").format("replaced"))
    inbox.produce("newer")
    wait_until(lambda: len(inbox.seen()) == 3)
    assert [payload for _, _, payload in inbox.seen()] == ["old", ["dropped", "new"], ["replaced", "newer"]]
    assert inbox.letters() == []

    inbox.psql("drop function app.on_event(jsonb)")
    inbox.produce("waits")
    run.wait_event("inbox.handler_missing")
    inbox.psql(changed.format("made again"))
    wait_until(lambda: len(inbox.seen()) == 4)
    assert inbox.seen()[3][2] == ["made again", "waits"] and inbox.letters() == []


def test_a_retry_that_is_raised_on_purpose(inbox):
    """loyalty.on_customer_moved of the guide, before and after what it waits for."""
    block, = [b for b in blocks("sql") if "ERRCODE = '40001'" in b]
    inbox.psql("create schema loyalty;" + block)
    inbox.produce({"payload": {"customer": "ada"}})
    config = inbox.changed(handlers=[{"type": "*", "call": "loyalty.on_customer_moved"}],
                           retry={"max_attempts": 1000, "backoff_ms": 20, "backoff_max_ms": 20})
    run = inbox.start(config=config)
    run.wait_event("inbox.event_failed", attempt="3")
    inbox.psql("insert into loyalty.customers values ('ada')")
    wait_until(lambda: sum(inbox.offsets().values()) == 1)
    assert inbox.letters() == []
