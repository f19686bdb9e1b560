"""Each envelope on the wire, read with kcat: its members, its headers, and what becomes of payloads of every kind."""
import base64
import json
import subprocess

import jsonschema
import pytest

from harness.system import ROOT
from integration_checks import ready

DEBEZIUM_TABLE = """
create table outbox (
  id uuid not null, aggregatetype character varying(255) not null, aggregateid character varying(255) not null,
  type character varying(255) not null, payload {payload})
"""


def with_envelope(make_shop, envelope, table=DEBEZIUM_TABLE, payload="jsonb"):
    shop = make_shop(create_table=False)
    shop.psql(table.format(payload=payload))
    shop.config["relay"]["envelope"] = envelope
    return ready(shop)


def insert_payloads(shop, *payloads):
    """One transaction of a row for each payload (None: NULL), with ids ending in 0, 1, ..."""
    quoted = ("null" if p is None else "$q$" + p + "$q$" for p in payloads)
    rows = ", ".join(f"('6b3f1c1e-4f2a-4c3e-9d3a-00000000000{n}', 'orders', 'order-7', 'OrderPlaced', {p})"
                     for n, p in enumerate(quoted))
    shop.psql(f"insert into outbox (id, aggregatetype, aggregateid, type, payload) values {rows}")


def raw_values(shop, topic):
    """The values' exact bytes, each with its length before it; a tombstone has length -1."""
    done = subprocess.run(["kcat", "-b", shop.kafka.brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-u",
                           "-X", "isolation.level=read_committed", "-f", "%R%s"], capture_output=True, timeout=60, check=True)
    found, rest = [], done.stdout
    while rest:
        length = int.from_bytes(rest[:4], "big", signed=True)
        found.append(None if length < 0 else rest[4:4 + length])
        rest = rest[4 + max(length, 0):]
    return found


# payload: nothing around it


def test_payload_on_debeziums_table_is_what_its_event_router_sends(make_shop):
    shop = with_envelope(make_shop, "payload")
    shop.config["relay"]["routes"] = [{"type": "*", "topic": f"{shop.name}.outbox.event.${{aggregate}}"}]
    insert_payloads(shop, '{"total":  42.50}', None, "null")
    shop.drain()
    topic = f"{shop.name}.outbox.event.orders"
    records = shop.events(topic=topic)
    assert [r["key"] for r in records] == ["order-7"] * 3
    assert [r["headers"]["id"][-1] for r in records] == ["0", "1", "2"]
    assert raw_values(shop, topic) == [b'{"total": 42.50}', None, b"null"], "as jsonb prints it; NULL is a tombstone"
    assert records[0]["headers"]["content-type"] == "application/json"
    assert "content-type" not in records[1]["headers"]
    assert not shop.quarantined()


@pytest.mark.parametrize("column, payloads, values", [
    ("text", ["no {JSON", "", ' {"a":  1e400} '], [b"no {JSON", b"", b' {"a":  1e400} ']),
    ("bytea", ["\\x00ff7b", "\\x"], [b"\x00\xff{", b""])])
def test_payload_leaves_texts_and_bytes_unchecked(make_shop, column, payloads, values):
    shop = with_envelope(make_shop, "payload", payload=column)
    insert_payloads(shop, *payloads)
    shop.drain()
    assert raw_values(shop, shop.topic()) == values
    assert all("content-type" not in r["headers"] for r in shop.events())
    assert not shop.quarantined()


def test_tombstones_go_to_a_compacted_topic(make_shop):
    shop = with_envelope(make_shop, "payload")
    shop.kafka.create_topic(shop.topic(), 1, cleanup_policy="compact")
    insert_payloads(shop, "{}", None)
    shop.drain()
    assert [r["payload"] for r in shop.events()] == ["{}", None]


# The JSON envelopes


WIDE_TABLE = """
create table outbox (
  id text, aggregatetype text, aggregateid text, type text, payload {payload}, occurred_at timestamptz, version text,
  source text, correlation_id text, causation_id text, trace_id text, traceparent text, tenant_id text, actor_id text,
  actor_type text, content_type text)
"""
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
FULL_ROW = {"id": "e-1", "aggregatetype": "orders", "aggregateid": "order-7", "type": "order.created",
            "payload": '{"total": 42.50}', "occurred_at": "2026-01-02 03:04:05.678+02", "version": "3", "source": "till 7",
            "correlation_id": "corr", "causation_id": "caus", "traceparent": TRACEPARENT, "tenant_id": "acme",
            "actor_id": "u1", "actor_type": "user"}
TIME = "2026-01-02T01:04:05.678000Z"
ACTOR = {"id": "u1", "type": "user"}
HEADERS = {"id": "e-1", "type": "order.created", "source": "till 7", "correlation_id": "corr", "causation_id": "caus",
           "trace_id": TRACE_ID, "traceparent": TRACEPARENT, "tenant_id": "acme"}
FULL = {
    "standard": {"id": "e-1", "type": "order.created", "version": 3, "occurred_at": TIME, "source": "till 7",
                 "correlation_id": "corr", "causation_id": "caus", "trace_id": TRACE_ID, "actor": ACTOR,
                 "payload": {"total": 42.5}, "metadata": {"partition_key": "order-7", "tenant_id": "acme"}},
    "contract": {"id": "e-1", "type": "order.created", "version": 3, "ts": TIME, "traceId": TRACE_ID,
                 "payload": {"total": 42.5}},
    "actor": {"id": "e-1", "type": "order.created", "version": 3, "source": "till 7", "timestamp": TIME,
              "correlation_id": "corr", "causation_id": "caus", "actor": ACTOR, "payload": {"total": 42.5}},
    "cloudevents": {"specversion": "1.0", "id": "e-1", "source": "till%207", "type": "order.created", "subject": "order-7",
                    "time": TIME, "eventversion": "3", "correlationid": "corr", "causationid": "caus", "traceid": TRACE_ID,
                    "traceparent": TRACEPARENT, "tenantid": "acme", "actorid": "u1", "actortype": "user",
                    "partitionkey": "order-7", "datacontenttype": "application/json", "data": {"total": 42.5}},
}
# Of a row that has nothing but the five columns, and a NULL payload.
LEAST = {
    "standard": ["id", "type", "occurred_at", "source", "payload", "metadata"],
    "contract": ["id", "type", "ts", "payload"],
    "actor": ["id", "type", "source", "timestamp", "payload"],
    "cloudevents": ["specversion", "id", "source", "type", "subject", "time", "partitionkey"],
}


def insert(shop, *rows):
    """One transaction of rows: dicts of columns."""
    sql = "begin;"
    for row in rows:
        quoted = ", ".join("null" if v is None else "$q$" + v + "$q$" for v in row.values())
        sql += f"insert into outbox ({', '.join(row)}) values ({quoted});"
    shop.psql(sql + "commit;")


@pytest.mark.parametrize("envelope", FULL)
def test_every_field_has_its_place_and_absent_ones_are_left_out(make_shop, envelope):
    shop = with_envelope(make_shop, envelope, WIDE_TABLE, "text")
    least = {name: FULL_ROW[name] for name in ("aggregatetype", "aggregateid", "type")}
    insert(shop, FULL_ROW, least | {"id": "e-2"}, least | {"id": "e-3", "payload": '{"a":  [1.10, 1e400]}'})
    shop.drain()
    full, empty, verbatim = shop.events()
    assert full["event"] == FULL[envelope]
    assert list(full["event"]) == list(FULL[envelope]), "the members' order"
    assert HEADERS.items() <= full["headers"].items()
    assert full["key"] == "order-7" and full["ts"] == 1767315845678
    assert list(empty["event"]) == LEAST[envelope]
    assert empty["event"].get("payload") is None
    assert '{"a":  [1.10, 1e400]}' in verbatim["payload"], "byte for byte as it was written"
    content_type = ("application/cloudevents+json; charset=UTF-8" if envelope == "cloudevents" else "application/json")
    assert {r["headers"]["content-type"] for r in shop.events()} == {content_type}


@pytest.mark.parametrize("envelope", ["standard", "contract", "actor", "cloudevents", "payload"])
def test_what_is_wrong_with_a_row_is_quarantined_in_every_envelope(make_shop, envelope):
    """Without an envelope no payload is wrong; a CloudEvent can hold any text that is said to be of another type."""
    shop = make_shop(create_table=False)
    shop.psql("create table outbox (id text, aggregatetype text, aggregateid text, type text, payload text, "
              "occurred_at text, partition text, headers text, topic text)")
    shop.config["relay"]["envelope"] = envelope
    ready(shop)
    good = {"aggregatetype": "orders", "aggregateid": "k", "type": "T", "payload": "{}"}
    bad = [({"payload": "{no JSON"}, "payload_not_json"), ({"id": None}, "missing_id"), ({"id": ""}, "missing_id"),
           ({"type": None}, "missing_type"), ({"aggregateid": None}, "missing_key"), ({"aggregatetype": None}, "unroutable"),
           ({"topic": "a b"}, "topic_illegal"), ({"topic": "__x"}, "topic_illegal"),
           ({"occurred_at": "soon"}, "occurred_at_invalid"), ({"partition": "x"}, "partition_invalid"),
           ({"partition": "3"}, "partition_invalid"), ({"headers": "[]"}, "headers_invalid"),
           ({"headers": '{"wf_lsn": "0/1"}'}, "headers_invalid")]
    rows = [good | {"id": "good-1"}]
    rows += [good | {"id": f"bad-{n}"} | change for n, (change, _) in enumerate(bad)]
    insert(shop, *rows, good | {"id": "good-2", "partition": "2"})
    run = shop.drain()
    wanted = [code for _, code in bad]
    published = ["good-1", "good-2"]
    if envelope == "payload":
        wanted = wanted[1:]
        published = ["bad-0", "good-1", "good-2"]
    assert sorted(r["headers"]["id"] for r in shop.events()) == published
    assert sorted(r["event"]["error"]["code"] for r in shop.quarantined()) == sorted(wanted)
    for record in shop.quarantined():
        assert record["headers"]["wf_error_code"] == record["event"]["error"]["code"]
        assert record["headers"]["wf_origin"] == "public.outbox"
    beyond, = (r for r in shop.quarantined() if r["event"]["id"] == "bad-10")
    assert beyond["event"]["original_partition"] == 3 and beyond["event"]["original_topic"] == shop.topic()
    value = beyond["event"]["payload" if envelope == "payload" else "envelope"]
    assert value == {} if envelope == "payload" else value["id"] == "bad-10"
    logged = [json.loads(line) for line in run.lines if '"relay.quarantined"' in line]
    firsts = [e["code"] for e in logged if "more" not in e]
    assert sorted(firsts) == sorted(set(wanted)), "each cause is named once"
    assert sum(e["more"] for e in logged if "more" in e) == len(wanted) - len(firsts), "and the others are counted"


# CloudEvents


def cloudevents_validator():
    schema = json.loads((ROOT / "tests" / "fixtures" / "cloudevents-1.0.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


@pytest.mark.parametrize("change", [
    {"specversion": "0.3"}, {"id": ""}, {"id": None}, {"source": ""}, {"source": "a b"}, {"source": "1:b"}, {"source": "a#b#c"},
    {"source": "100%"}, {"type": None}, {"type": ""}, {"subject": ""}, {"time": "2026-01-02 01:04:05Z"}, {"datacontenttype": ""},
    {"tenant_id": "a"}, {"TenantId": "a"}, {"tenantid": {}}, {"data_base64": "e30="}, {"data": None, "data_base64": "e30"}],
    ids=str)
def test_the_schema_refuses_what_is_no_cloudevent(change):
    """None takes a member away. Without this, a schema that lets everything pass would go unnoticed."""
    event = {k: v for k, v in (FULL["cloudevents"] | change).items() if v is not None}
    assert cloudevents_validator().is_valid(FULL["cloudevents"])
    assert not cloudevents_validator().is_valid(event)


@pytest.mark.parametrize("column", ["jsonb", "text", "bytea"])
def test_cloudevents_are_valid_whatever_the_row_holds(make_shop, column):
    shop = with_envelope(make_shop, "cloudevents", WIDE_TABLE, column)
    least = {"aggregatetype": "orders", "aggregateid": "k", "type": "T"}
    rows = [FULL_ROW, least, least | {"aggregateid": ""}, FULL_ROW | {"content_type": "application/vnd.shop+json"}]
    rows += [least | {"payload": p} for p in ("{}", "[]", '"text"', "1.5", "null", "true")]
    rows += [least | {"source": s} for s in ("", "https://shop.example/tills?n=7#a", "urn:till:7", "Käse & Brot <1>", "a:b c",
                                             "7:b", "100 %", "[x]", "a#b#c", '"\\', "\t")]
    rows += [least | {"payload": '"x"', "tenant_id": "", "version": "", "correlation_id": "", "traceparent": "none"}]
    if column != "jsonb":
        rows += [least | {"payload": "12", "content_type": "text/plain"}]
    if column == "text":
        rows += [least | {"payload": "<a b=\"c\"/>", "content_type": "application/xml"}]
    if column == "bytea":
        rows += [least | {"payload": "\\xff00"}, least | {"payload": "\\x"}]
    insert(shop, *[row | {"id": f"e-{n}"} for n, row in enumerate(rows)])
    shop.drain()
    assert not shop.quarantined()
    events = {r["headers"]["id"]: r["event"] for r in shop.events()}
    assert len(events) == len(rows)
    for id, event in events.items():
        assert (id, [e.message for e in cloudevents_validator().iter_errors(event)]) == (id, [])
        assert event["id"] == id and event["type"] in ("T", "order.created")
    assert events["e-3"]["datacontenttype"] == "application/vnd.shop+json"
    assert [events[f"e-{n}"]["data"] for n in range(4, 10)] == [{}, [], "text", 1.5, None, True]
    assert "subject" not in events["e-2"] and "data" not in events["e-1"]
    rest = [events[f"e-{n}"] for n in range(22, len(rows))]
    if column == "text":
        assert [e["data"] for e in rest] == ["12", '<a b="c"/>']
    if column == "bytea":
        assert [base64.b64decode(e["data_base64"]) for e in rest] == [b"12", b"\xff\x00", b""]
        assert [e["datacontenttype"] for e in rest] == ["text/plain"] + 2 * ["application/octet-stream"]


# Trace and correlation ids, from the session to the headers


def headers_of(shop, id):
    record, = (r for r in shop.events() if r["headers"]["id"] == id.strip())
    return {k: v for k, v in record["headers"].items() if k in ("trace_id", "traceparent", "correlation_id", "causation_id",
                                                                  "tenant_id")}


def test_emit_carries_on_what_the_session_says(make_shop):
    """walferry.* settings are what the inbox sets around a handler."""
    shop = make_shop(create_table=False)
    shop.init()
    other = TRACEPARENT.replace("4bf9", "ffff")
    session = "".join(f"set walferry.{name} = '{value}';" for name, value in
                      [("traceparent", TRACEPARENT), ("correlation_id", "corr"), ("causation_id", "caus"), ("tenant_id", "acme")])
    carried = {"traceparent": TRACEPARENT, "trace_id": TRACE_ID, "correlation_id": "corr", "causation_id": "caus",
               "tenant_id": "acme"}
    cases = [("", {}, carried),
             ("set walferry.trace_id = 'from-session';", {}, carried | {"trace_id": "from-session"}),
             ("set walferry.trace_id = 'from-session';", {"traceparent": other},
              carried | {"traceparent": other, "trace_id": TRACE_ID.replace("4bf9", "ffff")}),
             ("", {"trace_id": "mine", "correlation_id": "mine"},
              {k: v for k, v in (carried | {"trace_id": "mine", "correlation_id": "mine"}).items() if k != "traceparent"}),
             ("", {"traceparent": "00-nonsense"}, {k: v for k, v in carried.items() if not k.startswith("trace")})]
    wanted = {}
    for function in ("emit", "emit_message"):
        for settings, arguments, headers in cases:
            named = "".join(f", {name} => '{value}'" for name, value in arguments.items())
            id = shop.psql(f"{session}{settings} select walferry.{function}('orders', 'T', 'k', '{{}}'{named})").split()[-1]
            wanted[id] = headers
    id = shop.psql("select walferry.emit('orders', 'T', 'k', '{}')")
    wanted[id] = {}
    run = shop.drain()
    assert {id: headers_of(shop, id) for id in wanted} == wanted
    assert not shop.quarantined()
    dropped = [json.loads(line) for line in run.lines if "relay.traceparent_dropped" in line]
    assert sorted(e["origin"] for e in dropped) == ["public.outbox", "walferry"]
    assert "nonsense" not in "\n".join(run.lines)
