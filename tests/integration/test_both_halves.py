"""From the outbox of a database to a handler of the same database, through a real broker: each layout of the relay, and
what Debezium writes (test_debezium.py), are the same event to a handler."""
import pytest

from harness.inbox import HANDLERS_SQL

WIDE = """
drop table outbox;
create table outbox (
  id text primary key, aggregatetype text not null, aggregateid text not null, type text not null, payload jsonb,
  occurred_at timestamptz, version int, correlation_id text, causation_id text, trace_id text, traceparent text,
  tenant_id text, actor_id text, actor_type text);
create table app.events (n bigint generated always as identity, e jsonb, settings text[]);
create or replace function app.on_event(e jsonb) returns void language sql as $$
  insert into app.events (e, settings) values (e, array[current_setting('walferry.correlation_id'),
    current_setting('walferry.causation_id'), current_setting('walferry.trace_id'), current_setting('walferry.tenant_id')])
$$;
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ROW = f"""insert into outbox values ('e1', 'orders', 'o1', 'OrderPlaced', '{{"total": 0.10, "lines": [1e2, "\\u00e4"]}}',
  '2026-11-21T10:00:00.5Z', 3, 'c1', 'x1', '{TRACE}', '{PARENT}', 't1', 'a1', 'user');"""


def with_inbox(shop):
    shop.psql(HANDLERS_SQL)
    shop.psql(WIDE)
    shop.config["inbox"] = {"group": shop.name, "topics": [shop.topic()],
                            "handlers": [{"type": "Order*", "call": "app.on_event"}]}
    return shop


def handled(shop):
    shop.run("inbox", "--until-end").expect_exit(0)
    return shop.query("select e, settings from app.events order by n")


@pytest.mark.parametrize("layout", ["standard", "contract", "actor", "cloudevents", "payload"])
def test_each_layout_is_the_same_event(make_shop, layout):
    shop = with_inbox(make_shop())
    shop.config["relay"]["envelope"] = layout
    shop.init()
    shop.psql(ROW)
    shop.drain()
    row, = handled(shop)
    event = row["e"]
    assert (event["id"], event["type"], event["metadata"]["partition_key"]) == ("e1", "OrderPlaced", "o1")
    assert event["payload"] == {"total": 0.10, "lines": [100, "ä"]}
    assert shop.psql("select e->'payload'->>'total' from app.events") == "0.10", "numbers keep their digits"
    assert event["occurred_at"].startswith("2026-11-21T10:00:00.5")
    assert row["settings"] == ["c1", "e1", TRACE, "t1"]
