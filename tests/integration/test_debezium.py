"""Coming from Debezium: the records that its event router makes, and the hand-over of docs/from-debezium.md, from a real
Debezium Server. Skipped where there is no Java that it runs on."""
import json
import subprocess

import pytest

from harness import debezium, system
from harness.inbox import HANDLERS_SQL
from harness.shop import quote
from integration_checks import ready

COMPARE = system.ROOT / "docs" / "from-debezium.sql"


@pytest.fixture(scope="session")
def debezium_server():
    if debezium.java() is None:
        pytest.skip(debezium.MISSING)
    debezium.fetch()


@pytest.fixture
def make_debezium(debezium_server):
    """make_debezium(shop, **kwargs of Debezium)"""
    return lambda shop, **kwargs: debezium.Debezium(shop, f"dbz_{shop.name}", **kwargs)


def outbox_config(shop, topic="outbox.event.${aggregate}", **table):
    """What docs/from-debezium.md tells its readers to begin with."""
    shop.config["relay"] |= {"tables": [{"table": "public.outbox"} | table], "envelope": "payload",
                             "routes": [{"type": "*", "topic": topic}]}
    del shop.config["relay"]["messages"]


# The records


MAPPED = """
create table {table} (event_id {id} primary key, entity text, entity_id {key}, kind text, body {payload}, trace text,
                      attempt int, tag uuid)
"""
TEXTS = ['{"b": 1.10, "a": [1, 2], "big": 12345678901234567890.123456789}', '{"name": "žluťoučký ☃ 🚲", "line": "a\\nb"}',
         "null", "[]", '"text"', "1.10"]
VERBATIM = ['{"twice": 1,   "twice": 2,\n\t"list" : [ ], "e": 1e400, "u": "\\u0041"}', '{"line": "\u2028"}']
PAYLOADS = {"jsonb": TEXTS, "json": TEXTS + VERBATIM, "text": TEXTS + VERBATIM + ["not json, 'quoted'", "", "x" * 300_000],
            "bytea": ["\\x00ff80", "\\x7b7d", "\\x"]}


def literal(text):
    return "null" if text is None else quote(text)


def insert_mapped(shop, table, ids, payloads, keys):
    """Each row in a transaction of its own."""
    shop.psql(";\n".join(
        f"insert into {table} values ('{id}', '{shop.name}', '{keys[n % len(keys)]}', 'Kind{n}', {literal(payload)}, "
        f"'00-{n}', {n}, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')" for n, (id, payload) in enumerate(zip(ids, payloads))))


def split_by_writer(shop, topic, count):
    """{id: record} of Debezium's and of walferry's records; each id once with each."""
    records = shop.kafka.consume_bytes(topic)
    of_walferry = {r["headers"]["id"]: r for r in records if "wf_lsn" in r["headers"]}
    of_debezium = {r["headers"]["id"]: r for r in records if "wf_lsn" not in r["headers"]}
    assert len(of_walferry) == len(of_debezium) == count and len(records) == 2 * count
    return of_debezium, of_walferry


def compare(of_debezium, of_walferry):
    assert of_debezium.keys() == of_walferry.keys()
    for id, expected in of_debezium.items():
        found = of_walferry[id]
        assert {k: found[k] for k in ("partition", "key", "value")} == \
            {k: expected[k] for k in ("partition", "key", "value")}, id
        assert expected["headers"].items() <= found["headers"].items(), id


def test_the_same_rows_give_the_same_records_as_its_event_router(make_shop, make_debezium):
    shop = make_shop(create_table=False)
    topic = f"{shop.name}.{shop.name}.events"
    for kind in ("jsonb", "json", "text"):
        shop.psql(MAPPED.format(table=f"outbox_{kind}", id="uuid", key="text", payload=kind))
    shop.kafka.create_topic(topic, 3)
    outbox_config(shop, topic=shop.name + ".${aggregate}.events")
    shop.config["relay"]["tables"] = [
        {"table": f"public.outbox_{kind}",
         "columns": {"id": "event_id", "aggregate": "entity", "key": "entity_id", "type": "kind", "payload": "body"},
         "headers": [{"column": "trace", "name": "traceparent"}, {"column": "attempt", "name": "attempt"},
                     {"column": "kind", "name": "eventType"}, {"column": "tag", "name": "tag"}]}
        for kind in ("jsonb", "json", "text")]
    ready(shop)
    prefix = "transforms.outbox."
    make_debezium(shop, table="public.outbox_(jsonb|json|text)", settings={
        prefix + "table.field.event.id": "event_id", prefix + "table.field.event.key": "entity_id",
        prefix + "table.field.event.type": "kind", prefix + "table.field.event.payload": "body",
        prefix + "table.fields.additional.placement":
            "trace:header:traceparent,attempt:header,kind:header:eventType,tag:header",
        prefix + "route.by.field": "entity",
        # Escaped, or it would be a property of the file itself.
        prefix + "route.topic.replacement": shop.name + ".\\\\${routedByValue}.events"}).start()
    ids = []
    for number, kind in enumerate(("jsonb", "json", "text")):
        payloads = PAYLOADS[kind] + [None]
        table_ids = [f"00000000-0000-0000-000{number}-{n:012}" for n in range(len(payloads))]
        insert_mapped(shop, f"outbox_{kind}", table_ids, payloads, ["k1", "ž key", "", "a,b"])
        ids += table_ids
    shop.psql("delete from outbox_text; update outbox_json set attempt = 7")  # neither is an event
    shop.drain()
    system.wait_for(lambda: len(shop.kafka.consume_bytes(topic)) >= 2 * len(ids), 30, "Debezium's records")
    of_debezium, of_walferry = split_by_writer(shop, topic, len(ids))
    compare(of_debezium, of_walferry)
    first = of_walferry[ids[0]]
    assert {"traceparent": "00-0", "attempt": "0", "eventType": "Kind0"}.items() <= first["headers"].items()
    assert of_walferry[ids[-1]]["value"] is None and of_debezium[ids[-1]]["value"] is None


def test_bytes_are_those_of_its_binary_converter(make_shop, make_debezium):
    shop = make_shop(create_table=False)
    topic = f"outbox.event.{shop.name}"
    shop.psql("create table outbox (id bigint primary key, aggregatetype text, aggregateid bigint, type text, payload bytea)")
    shop.kafka.create_topic(topic, 3)
    outbox_config(shop)
    ready(shop)
    make_debezium(shop, settings={
        "sink.kafka.producer.value.serializer": "org.apache.kafka.common.serialization.ByteArraySerializer",
        "format.value": "binary",
        "format.value.delegate.converter.type": "org.apache.kafka.connect.json.JsonConverter"}).start()
    for n, payload in enumerate(PAYLOADS["bytea"] + [None]):
        shop.psql(f"insert into outbox values ({n + 12345678901}, '{shop.name}', {n - 1}, 'T', {literal(payload)})")
    shop.drain()
    count = len(PAYLOADS["bytea"]) + 1
    system.wait_for(lambda: len(shop.kafka.consume_bytes(topic)) >= 2 * count, 30, "Debezium's records")
    of_debezium, of_walferry = split_by_writer(shop, topic, count)
    compare(of_debezium, of_walferry)
    assert of_walferry["12345678901"]["value"] == b"\x00\xff\x80"


@pytest.mark.decoder("pgoutput")
def test_the_inbox_handles_what_it_writes(make_shop, make_debezium):
    shop = make_shop()
    topic = f"outbox.event.{shop.name}"
    shop.kafka.create_topic(topic, 3)
    shop.psql(HANDLERS_SQL)
    del shop.config["relay"]
    shop.config["inbox"] = {"group": shop.name, "topics": [topic], "handlers": [{"type": "*", "call": "app.on_event"}]}
    shop.init()
    make_debezium(shop, settings={"transforms.outbox.table.fields.additional.placement": "type:header:eventType"}).start()
    ids = shop.insert(20, aggregate=shop.name)
    system.wait_for(lambda: len(shop.kafka.consume_bytes(topic)) >= 20, 30, "Debezium's records")
    shop.run("inbox", "--until-end").expect_exit(0)
    seen = shop.query("select * from app.seen")
    assert sorted(r["id"] for r in seen) == sorted(ids)
    assert {r["type"] for r in seen} == {"OrderPlaced"} and {r["key"] for r in seen} == {f"k{n}" for n in range(10)}
    assert sorted(r["payload"]["n"] for r in seen) == list(range(20))


def test_a_null_is_no_header_and_a_missing_header_column_is_refused(make_shop):
    shop = make_shop(create_table=False)
    shop.psql(MAPPED.format(table="outbox", id="uuid", key="text", payload="jsonb"))
    outbox_config(shop, topic=shop.name + ".events", headers=[{"column": "trace", "name": "x-trace"}, {"column": "tag", "name": "x-tag"}],
                  columns={"id": "event_id", "aggregate": "entity", "key": "entity_id", "type": "kind", "payload": "body"})
    ready(shop)
    shop.psql("insert into outbox (event_id, entity, entity_id, kind, trace) values (gen_random_uuid(), 'e', 'k', 't', '')")
    shop.drain()
    record, = shop.kafka.consume(shop.name + ".events")
    assert record["headers"]["x-trace"] == "" and "x-tag" not in record["headers"]
    shop.psql("alter table outbox drop column tag")
    refusal = shop.run("relay").expect_refused("column_missing")
    assert "column tag" in refusal["error"] and refusal["remedy"]


# The hand-over


def slot_compared(shop, slot, publication, ids, outbox="public.outbox", id="id"):
    """The runbook's step: (verdict, LSN) of docs/from-debezium.sql."""
    done = subprocess.run(
        ["psql", "-XAtq", "-v", f"slot={slot}", "-v", f"publication={publication}", "-v", f"outbox={outbox}",
         "-v", f"id={id}", "-f", COMPARE, shop.postgres.conninfo(shop.db)], input=ids, text=True, capture_output=True,
        timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(done.stdout.strip().split("|"))


class Writers:
    """Two sessions that commit transactions of one to three events, each with a key of its own, until they are stopped."""

    KEYS = ("left", "right")

    def __init__(self, shop):
        self.shop = shop
        self.sessions = [shop.session() for _ in self.KEYS]
        for key, session in zip(self.KEYS, self.sessions):
            session.send(f"""do $$ declare n int := 0; begin
              while not exists (select from pg_class where relname = 'loud') loop
                insert into outbox (aggregatetype, aggregateid, type, payload)
                  select '{shop.name}', '{key}', 'T', jsonb_build_object('n', 3 * n + m) from generate_series(0, n % 3) m;
                commit;
                n := n + 1;
                perform pg_sleep(0.02);
              end loop; end $$""")

    def stop(self):
        if self.sessions:
            self.shop.psql("create table loud ()")
            for session in self.sessions:
                assert "ERROR" not in session.wait()
                session.close()
            self.sessions = []


@pytest.fixture
def make_writers():
    made = []

    def make(shop):
        made.append(Writers(shop))
        return made[-1]

    yield make
    for writers in made:
        for session in writers.sessions:
            session.close()


hand_over = pytest.mark.decoder("pgoutput")  # the slot is Debezium's, and so is its plugin


class HandOver:
    """A shop whose outbox Debezium publishes, with writers at work, and the steps of the runbook."""

    def __init__(self, make_shop, make_debezium, make_writers, **kwargs):
        self.shop = make_shop()
        self.topic = f"outbox.event.{self.shop.name}"
        self.shop.kafka.create_topic(self.topic, 3)
        self.debezium = make_debezium(self.shop, **kwargs).start()
        self.slot = self.debezium.slot
        self.writers = make_writers(self.shop)
        self.wait_published(100)

    def published(self):
        return self.shop.kafka.consume_format(self.topic, "%h")

    def wait_published(self, more):
        wanted = len(self.published()) + more
        system.wait_for(lambda: len(self.published()) >= wanted, 30, f"{more} more records")

    def compare(self):
        ids = "".join(f"{r['headers']['id']}\n" for r in self.shop.kafka.consume(self.topic))
        return slot_compared(self.shop, self.slot, self.debezium.publication, ids)

    def make_ready(self):
        """From a stopped Debezium to a slot that can be adopted; returns the last verdict on the way."""
        verdict, lsn = self.compare()
        for _ in range(5):
            if verdict != "unfinished":
                break
            self.debezium.start()
            self.wait_published(50)
            self.debezium.stop()
            verdict, lsn = self.compare()
        if verdict == "advance":
            self.shop.psql(f"select pg_replication_slot_advance('{self.slot}', '{lsn}')")
            assert self.compare() == ("adopt", "")
        return verdict

    def adopt(self):
        outbox_config(self.shop)
        self.shop.config["postgres"] |= {"slot": self.slot, "publication": self.debezium.publication, "create": False}
        self.shop.run("relay", "--adopt-slot", "--until", "now").expect_exit(0)
        relay = self.shop.relay()
        self.wait_published(100)
        return relay

    def finish(self):
        """The writers end, and everything they wrote is published."""
        self.writers.stop()
        rows = self.shop.outbox_ids()
        system.wait_for(lambda: rows <= {r["headers"]["id"] for r in self.shop.kafka.consume(self.topic)}, 30,
                        "all rows published")

    def assert_once_and_in_order(self, records):
        ids = [r["headers"]["id"] for r in records]
        assert sorted(ids) == sorted(self.shop.outbox_ids())
        for key in Writers.KEYS:
            numbers = [json.loads(r["payload"])["n"] for r in records if r["key"] == key]
            assert numbers == sorted(numbers) and numbers, key


@hand_over
def test_a_running_shop_is_handed_over_and_given_back(make_shop, make_debezium, make_writers):
    over = HandOver(make_shop, make_debezium, make_writers)
    over.debezium.stop()
    over.make_ready()
    relay = over.adopt()
    assert relay.terminate() == 0
    assert over.compare() == ("adopt", "")
    over.debezium.start()
    over.wait_published(100)
    over.finish()
    over.assert_once_and_in_order(over.shop.kafka.consume(over.topic))
    over.debezium.stop()
    over.shop.run("relay").expect_refused("slot_advanced")  # its position is of a time that has passed


@hand_over
def test_a_crashed_debezium_without_heartbeats_finishes_first(make_shop, make_debezium, make_writers):
    over = HandOver(make_shop, make_debezium, make_writers, settings={"source.heartbeat.interval.ms": 0})
    over.debezium.kill9()
    over.debezium.start()
    over.wait_published(50)
    over.debezium.stop()
    # Its slot lags behind what it has published: adopted as it is, the last transaction would come again.
    assert over.make_ready() == "advance"
    over.adopt()
    over.finish()
    records = over.shop.kafka.consume(over.topic)
    by_debezium = [r for r in records if "wf_lsn" not in r["headers"]]
    by_walferry = [r for r in records if "wf_lsn" in r["headers"]]
    of_debezium = {r["headers"]["id"]: r for r in by_debezium}  # what it repeats after a crash is its own affair
    first_of_each = sorted(of_debezium.values(), key=lambda r: json.loads(r["payload"])["n"])
    over.assert_once_and_in_order(first_of_each + by_walferry)


@hand_over
def test_a_slot_of_its_own_takes_over_without_a_pause(make_shop, make_debezium, make_writers):
    over = HandOver(make_shop, make_debezium, make_writers)
    over.slot = over.shop.slot
    over.shop.psql(f"select pg_create_logical_replication_slot('{over.slot}', 'pgoutput')")
    over.wait_published(50)
    over.debezium.stop()
    assert over.make_ready() == "advance"
    over.adopt()
    over.finish()
    over.assert_once_and_in_order(over.shop.kafka.consume(over.topic))


def test_the_comparison_sees_what_a_slot_may_not_be_adopted_with(shop):
    shop.psql(f"""create publication {shop.publication} for table outbox with (publish = 'insert, update, delete');
      alter table outbox drop column payload;
      alter table outbox add column payload text, add column id2 text""")
    shop.psql("create table other (id2 text primary key); alter publication " + shop.publication + " add table other")
    shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')")
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, id2) select 'a', '', 't', 'x' || n "
              "from generate_series(1, 2) n")
    first_end = shop.psql("select pg_current_wal_lsn()")
    shop.psql("update outbox set type = 'u'; delete from outbox; insert into other values ('z1')")
    for n in (3, 4):
        shop.psql(f"begin; insert into outbox (aggregatetype, aggregateid, type, id2) values ('a', '', 't', 'x{n}'); "
                  f"savepoint s; insert into outbox (aggregatetype, aggregateid, type) values ('a', '', 't'); "
                  f"rollback to s; commit")

    def verdict(*ids, outbox="public.outbox"):
        return slot_compared(shop, shop.slot, shop.publication, "".join(f"{id}\n" for id in ids), outbox, id="id2")

    assert verdict() == verdict("y", "x11") == ("adopt", "")
    found, lsn = verdict("x1", "x2")
    assert found == "advance" and lsn <= first_end
    assert verdict("x1")[0] == verdict("x1", "x2", "x4")[0] == verdict("x3")[0] == "unfinished"
    assert verdict("x1", "x2", "x3", "x4")[0] == "advance"
    # Several tables are one stream: the other one's event lies between the first and those that follow.
    both = "public.other,public.outbox"
    assert verdict("x1", "x2", outbox=both)[0] == verdict("x1", "x2", "z1", "x3", outbox=both)[0] == "advance"
    assert verdict("x1", "x2", "x3", outbox=both)[0] == "unfinished"
    # Moved there, exactly the rest is left.
    shop.psql(f"select pg_replication_slot_advance('{shop.slot}', '{lsn}')")
    assert verdict("x1", "x2") == ("adopt", "")
    assert verdict("x3")[0] == "advance" and verdict("x4")[0] == "unfinished"
