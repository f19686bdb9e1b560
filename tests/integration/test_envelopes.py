"""Each envelope on the wire, read with kcat: its members, its headers, and what becomes of payloads of every kind."""
import base64
import json
import subprocess

import pytest

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
