"""What cannot be published as asked lands in the quarantine topic, once, with the reason; its neighbours are published."""
import base64
import json
import os
import re
import time
import uuid

import pytest

from harness.servers import lsn_number
from integration_checks import World, assert_ack_behind_position, assert_refused, find_key, ready, wait_records

LOOSE_TABLE = """
create table outbox (id text, aggregatetype text, aggregateid text, type text, payload {payload}, tenant_id text,
  occurred_at text, partition text, headers text)
"""


def incompressible(size):
    return base64.b64encode(os.urandom(size * 3 // 4 + 3)).decode()[:size]


def loose(make_shop, payload="text", columns=()):
    """A shop whose outbox enforces nothing, as one that others made may."""
    shop = make_shop(create_table=False)
    shop.psql(LOOSE_TABLE.format(payload=payload))
    shop.config["relay"]["tables"][0]["columns"] |= {c: c for c in columns}
    return ready(shop)


def insert(shop, *rows, **defaults):
    """Rows in one transaction: dicts of columns."""
    sql = "begin;"
    for row in rows:
        row = {"aggregatetype": "orders", "aggregateid": "k", "type": "T", "payload": "{}"} | defaults | row
        quoted = ", ".join("null" if v is None else "$q$" + v + "$q$" for v in row.values())
        sql += f"insert into outbox ({', '.join(row)}) values ({quoted});"
    shop.psql(sql + "commit;")


def assert_quarantined(shop, *wanted, code=None):
    """Exactly the wanted ids, once each, with all that such a record must hold."""
    records = shop.quarantined()
    assert [find_key(r["event"], "id") for r in records] == list(wanted)
    for record in records:
        value = record["event"]
        error = value["error"]
        assert error["code"] and error["message"]
        assert code is None or error["code"] == code, error
        assert lsn_number(str(find_key(value, "lsn"))) > 0
        assert value["attempts"] >= 1 and value["first_failure"] and value["last_failure"]
        texts = list(record["headers"].values())
        assert error["code"] in texts, f"the reason is in no header: {record['headers']}"
        assert any("outbox" in t or "walferry" in t for t in texts), f"the origin is in no header: {record['headers']}"
    return records


def published(shop, topic=None):
    return [r["headers"]["id"] for r in shop.events(topic=topic)]


def assert_stays_once(shop):
    """A restart repeats neither record nor quarantine."""
    before = World(shop, slot=False).before
    shop.drain()
    after = World(shop, slot=False).before
    assert (before["records"], before["quarantined"]) == (after["records"], after["quarantined"])


# Too large


def insert_sized(shop, *sizes):
    """One transaction of a row for each size; returns their ids."""
    ids = [str(uuid.uuid4()) for _ in sizes]
    sql = "begin;"
    for n, (id, size) in enumerate(zip(ids, sizes)):
        payload = json.dumps({"n": n, "fill": incompressible(size)})
        sql += (f"insert into outbox (id, aggregatetype, aggregateid, type, payload) "
                f"values ('{id}', 'orders', 'k', 'T', '{payload}');")
    shop.psql(sql + "commit;")
    return ids


def assert_oversized(shop, id, size, table="outbox"):
    record = next(r for r in shop.quarantined() if find_key(r["event"], "id") == id)
    value = record["event"]
    assert size <= int(find_key(value, "size", "size_bytes", "bytes")) < size + 2000
    assert len(str(find_key(value, "hash", "sha256", "fnv1a64", "payload_hash"))) >= 8
    assert table in record["payload"]
    assert len(record["payload"]) < 4000, "the payload itself must not be in it"
    assert record["key"] == "k" and value["original_topic"] == shop.topic()


@pytest.mark.parametrize("size", [2_000_000, 12_000_000], ids=["2MB", "12MB"])
def test_a_row_beyond_the_brokers_limit_is_quarantined_and_its_neighbours_are_published(shop, size):
    ready(shop)
    first, big, last = insert_sized(shop, 10, size, 10)
    shop.drain()
    assert published(shop) == [first, last]
    assert_quarantined(shop, big)
    assert_oversized(shop, big, size)
    assert_stays_once(shop)


@pytest.mark.parametrize("properties, megabytes, fits", [
    ([], 2, False), (["compression.codec=none"], 2, False), (["compression.level=3"], 2, False),
    (["compression.codec=lz4"], 2, True), (["compression.type=zstd"], 2, True), (["compression.codec=lz4"], 101, False)],
    ids=["default", "none", "level", "lz4", "zstd", "lz4-above-a-request"])
def test_only_where_a_codec_is_chosen_a_row_may_fit_by_compression(shop, properties, megabytes, fits):
    shop.config["kafka"]["properties"] = [*shop.config["kafka"].get("properties", []), *properties]
    ready(shop)
    id = str(uuid.uuid4())
    shop.psql("insert into outbox (id, aggregatetype, aggregateid, type, payload) "
              f"values ('{id}', 'orders', 'k', 'T', to_jsonb(repeat('x', {megabytes}000000)))")
    run = shop.drain()
    if fits:
        assert published(shop) == [id]
    else:
        assert_quarantined(shop, id)
    assert not run.count("relay.recovering"), "what can be known beforehand is not tried"


def test_a_topics_own_limit_counts(shop):
    shop.kafka.create_topic(shop.topic(), 3, max_message_bytes=20_000)
    ready(shop)
    ids = insert_sized(shop, 10, 50_000, 15_000, 10, 90_000, 10)
    shop.drain()
    assert published(shop) == [ids[0], ids[2], ids[3], ids[5]]
    assert_quarantined(shop, ids[1], ids[4])
    assert_oversized(shop, ids[1], 50_000)
    assert_oversized(shop, ids[4], 90_000)
    assert_stays_once(shop)


def test_many_small_rows_fit_a_small_limit_together(shop):
    """A batch of them does not: the producer has to keep its batches below the limit."""
    shop.kafka.create_topic(shop.topic(), 1, max_message_bytes=20_000)
    ready(shop)
    ids = insert_sized(shop, *[3_000] * 60)
    shop.drain()
    assert published(shop) == ids
    assert not shop.quarantined()


def test_a_limit_lowered_while_it_runs_is_found_out_by_trying(shop):
    relay = shop.relay()
    first, = insert_sized(shop, 10)
    wait_records(shop, 1)
    shop.kafka.set_topic_config(shop.topic(), max_message_bytes="20000")
    ids = insert_sized(shop, 10, 50_000, 10, 70_000, 10)
    wait_records(shop, 1 + 3, 60)
    assert relay.terminate() == 0
    shop.drain()
    assert published(shop) == [first, ids[0], ids[2], ids[4]]
    assert_quarantined(shop, ids[1], ids[3])
    assert_oversized(shop, ids[1], 50_000)
    assert_stays_once(shop)


def test_a_record_without_key_for_a_compacted_topic_is_quarantined(make_shop):
    shop = loose(make_shop)
    shop.kafka.create_topic(shop.topic(), 1, cleanup_policy="compact")
    insert(shop, {"id": "1"}, {"id": "2", "aggregateid": None}, {"id": "3"})
    shop.drain(timeout=90)
    assert published(shop) == ["1", "3"]
    assert_quarantined(shop, "2")
    assert_stays_once(shop)


@pytest.mark.parametrize("rows", [1, 3])
def test_quarantine_records_that_the_broker_refuses_too_end_the_run(make_shop, rows):
    """However many there are: they share a batch, and each brings the others down."""
    shop = loose(make_shop)
    shop.kafka.create_topic(shop.config["relay"]["quarantine_topic"], 1, cleanup_policy="compact")
    insert(shop, {"id": "good"}, *[{"id": f"bad-{n}", "aggregateid": None} for n in range(rows)])
    world = World(shop)
    assert_refused(shop.run("relay"), "bad-0", codes=("quarantine_refused",))
    world.assert_nothing_published()


@pytest.mark.parametrize("rows, bad", [(4000, range(1234, 1235)), (200, range(0, 200, 2))], ids=["one", "every other"])
def test_records_that_the_broker_refuses_are_found_among_many(shop, rows, bad):
    """A time that the topic does not allow: the broker refuses the whole batch of such a record, and its neighbours."""
    shop.kafka.create_topic(shop.topic(), 1, message_timestamp_after_max_ms=3600000)
    shop.psql("alter table outbox add column occurred_at timestamptz")
    ready(shop)
    shop.psql(f"insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) "
              f"select 'orders', 'k', 'T', jsonb_build_object('n', n), case when n between {bad[0]} and {bad[-1]} and "
              f"(n - {bad[0]}) % {bad.step} = 0 then now() + interval '1 day' else now() end from generate_series(0, {rows - 1}) n")
    started = time.monotonic()
    run = shop.drain()
    assert time.monotonic() - started < 30
    assert [r["event"]["payload"]["n"] for r in shop.events()] == [n for n in range(rows) if n not in bad]
    quarantined = [r["event"] for r in shop.quarantined()]
    assert sorted(e["envelope"]["payload"]["n"] for e in quarantined) == list(bad)
    assert {e["error"]["code"] for e in quarantined} == {"record_refused"}
    assert {e["original_partition"] for e in quarantined} == {0}
    assert len([line for line in run.lines if "relay.recovering" in line]) < 5
    assert run.count("kafka.log") < 20  # not one for each of them


# Wrong in itself


def test_a_text_payload_that_is_not_json_is_quarantined(make_shop):
    shop = loose(make_shop)
    bad = ["hello", "{", "{} {}", "", "{'a': 1}", '{"a": 01}', "[1,]", '"\\x"', "NaN"]
    rows = [{"id": "good-1", "payload": '{"a": [1.10, null]}'}]
    rows += [{"id": f"bad-{n}", "payload": p} for n, p in enumerate(bad)]
    rows += [{"id": "good-2", "payload": " {}\n"}]
    insert(shop, *rows)
    shop.drain()
    assert published(shop) == ["good-1", "good-2"]
    records = assert_quarantined(shop, *[f"bad-{n}" for n in range(len(bad))], code="payload_not_json")
    assert [r["event"]["payload"] for r in records] == bad
    assert {r["key"] for r in records} == {"k"}
    assert_stays_once(shop)


def test_bytes_that_are_no_json_are_quarantined_in_base64(make_shop):
    shop = loose(make_shop, payload="bytea")
    insert(shop, {"id": "1", "payload": '{"n": 1}'}, {"id": "2", "payload": "\\xff00fe"}, {"id": "3", "payload": '{"n": 3}'})
    shop.drain()
    assert [r["event"]["payload"] for r in shop.events()] == [{"n": 1}, {"n": 3}]
    record, = assert_quarantined(shop, "2", code="payload_not_json")
    assert base64.b64decode(record["event"]["payload_base64"]) == b"\xff\x00\xfe"


@pytest.mark.parametrize("column, code", [("type", "missing_type"), ("aggregatetype", "unroutable")])
def test_a_row_without_a_needed_value_is_quarantined(make_shop, column, code):
    shop = loose(make_shop)
    insert(shop, {"id": "1"}, {"id": "2", column: None}, {"id": "3"})
    shop.drain()
    assert published(shop) == ["1", "3"]
    record, = assert_quarantined(shop, "2", code=code)
    assert record["event"]["payload"] in ({}, "{}")
    assert_stays_once(shop)


def test_a_row_without_an_id_is_quarantined(make_shop):
    shop = loose(make_shop)
    insert(shop, {"id": "1"}, {"id": None, "payload": '{"n": 2}'}, {"id": "3"})
    shop.drain()
    assert published(shop) == ["1", "3"]
    record, = shop.quarantined()
    assert record["event"]["error"]["code"] == "missing_id"
    assert_stays_once(shop)


def test_an_unroutable_type_is_quarantined(shop):
    shop.config["relay"]["routes"] = [{"type": "Order*", "topic": shop.topic()}]
    ready(shop)
    shop.insert(1)
    bad, = shop.insert(1, type="Other")
    shop.insert(1)
    shop.drain()
    assert len(shop.events()) == 2
    record, = assert_quarantined(shop, bad, code="unroutable")
    assert "Other" in json.dumps(record["event"]) and record["key"] == "k0"
    assert_stays_once(shop)


@pytest.mark.parametrize("aggregate", ["or ders", "bücher", "a/b", "x" * 250], ids=["space", "umlaut", "slash", "long"])
def test_a_topic_that_kafka_would_not_take_is_quarantined(shop, aggregate):
    ready(shop)
    bad, = shop.insert(1, aggregate=aggregate)
    good, = shop.insert(1)
    shop.drain()
    assert published(shop) == [good]
    assert_quarantined(shop, bad, code="topic_illegal")
    assert_stays_once(shop)


def test_a_bad_row_that_is_too_large_for_its_quarantine_record_blocks_nothing(make_shop):
    shop = loose(make_shop)
    insert(shop, {"id": "1"}, {"id": "2", "type": None, "payload": json.dumps({"fill": incompressible(1_500_000)})},
           {"id": "3"})
    shop.drain()
    assert published(shop) == ["1", "3"]
    assert_quarantined(shop, "2", code="record_too_large")
    assert_stays_once(shop)


@pytest.mark.parametrize("topic", ["walferry.position.other", "__consumer_offsets"])
def test_a_row_reaches_no_topic_of_positions_or_of_kafka(shop, topic):
    shop.config["relay"]["routes"] = [{"type": "*", "topic": "${aggregate}"}]
    ready(shop)
    bad, = shop.insert(1, aggregate=topic)
    shop.drain()
    assert_quarantined(shop, bad, code="topic_illegal")
    assert_stays_once(shop)


def test_a_topic_that_collides_with_another_is_quarantined(shop):
    """Kafka takes no two names that differ in a dot and an underscore alone."""
    shop.config["relay"]["routes"] = [{"type": "*", "topic": shop.name + ".${aggregate}"}]
    ready(shop)
    shop.insert(1, aggregate="order_item")
    bad, = shop.insert(1, aggregate="order.item")
    shop.insert(1, aggregate="order_item")
    shop.drain()
    assert len(published(shop, f"{shop.name}.order_item")) == 2
    assert_quarantined(shop, bad, code="topic_illegal")
    assert_stays_once(shop)


@pytest.mark.parametrize("column, bad, good, code", [
    ("occurred_at", "yesterday", "2026-01-02 03:04:05+00", "occurred_at_invalid"),
    ("partition", "99", "1", None),
    ("partition", "one", "1", None),
    ("headers", "[1]", '{"a": "b"}', "headers_invalid"),
    ("headers", "none", None, "headers_invalid")])
def test_an_optional_column_that_makes_no_sense_is_quarantined(make_shop, column, bad, good, code):
    shop = loose(make_shop, columns=[column])
    insert(shop, {"id": "1", column: good}, {"id": "2", column: bad}, {"id": "3", column: good})
    shop.drain()
    assert published(shop) == ["1", "3"]
    assert_quarantined(shop, "2", code=code)
    assert_stays_once(shop)


def test_a_message_that_is_no_event_is_quarantined(shop):
    ready(shop)
    good = '{"id": "good", "type": "T", "aggregate": "orders", "key": "k", "payload": {}}'
    shop.psql(f"select pg_logical_emit_message(true, 'walferry', m) from (values ('{good}'), ('not json'), ('[1]'), "
              f"('{{\"id\": \"typeless\", \"aggregate\": \"orders\", \"key\": \"k\", \"payload\": {{}}}}')) v(m)")
    shop.drain()
    assert published(shop) == ["good"]
    assert len(shop.quarantined()) == 3
    assert {r["event"]["error"]["code"] for r in shop.quarantined()} == {"message_not_json", "missing_type"}
    assert_stays_once(shop)


def test_the_quarantine_may_have_another_name(shop):
    shop.config["relay"]["quarantine_topic"] = shop.quarantine_topic = f"{shop.name}.elsewhere"
    shop.config["relay"]["routes"] = [{"type": "Order*", "topic": shop.topic()}]
    ready(shop)
    bad, = shop.insert(1, type="Other")
    shop.drain()
    assert_quarantined(shop, bad)


def test_a_transaction_of_nothing_but_bad_rows_is_covered_too(make_shop):
    shop = loose(make_shop)
    insert(shop, *[{"id": str(n), "payload": "bad"} for n in range(200)])
    shop.drain()
    assert shop.event_topics() == []
    assert_quarantined(shop, *map(str, range(200)))
    assert_stays_once(shop)


# on_invalid: stop


@pytest.mark.parametrize("bad", [{"payload": "not json"}, {"type": None}, {"aggregatetype": "a b"}, {"payload": "TOO LARGE"}],
                         ids=["payload", "type", "topic", "size"])
def test_on_invalid_stop_names_the_row_and_publishes_nothing_of_it(make_shop, bad):
    if bad.get("payload") == "TOO LARGE":
        bad = {"payload": json.dumps(incompressible(2_000_000))}
    shop = loose(make_shop)
    shop.config["relay"]["on_invalid"] = "stop"
    insert(shop, {"id": "before-1"}, {"id": "before-2"})
    shop.drain()
    world = World(shop)
    insert(shop, {"id": "row-4711"} | bad, {"id": "after"})
    for _ in range(2):  # a restart does not help
        event = assert_refused(shop.run("relay"), "row-4711")
        cause = str(event)
        lsns = [lsn_number(t) for t in re.findall(r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b", cause)]
        assert any(lsn_number(world.before["confirmed_flush"]) <= lsn for lsn in lsns), f"no LSN in {cause}"
        world.assert_nothing_published()
        assert_ack_behind_position(shop)
    shop.config["relay"]["on_invalid"] = "quarantine"
    shop.drain()
    assert published(shop) == ["before-1", "before-2", "after"]
    assert_quarantined(shop, "row-4711")


def test_no_row_data_is_ever_logged(make_shop):
    shop = loose(make_shop)
    shop.config["log"] = {"level": "debug"}
    insert(shop, {"id": "1", "payload": "s3cr3t-payload"}, {"id": "2", "aggregateid": "s3cr3t-key", "type": None},
           {"id": "3", "payload": '{"s3cr3t": 1}'})
    run = shop.drain()
    assert "s3cr3t" not in "\n".join(run.lines)
    shop.config["relay"]["on_invalid"] = "stop"
    insert(shop, {"id": "4", "payload": "s3cr3t-payload"})
    run = shop.run("relay").expect_exit(3)
    assert "s3cr3t" not in "\n".join(run.lines)
