"""Where a record goes: topic, partition, published type; and how the topics are made."""
import json

from integration_checks import partition_of, ready

ROUTED_TABLE = """
create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text, type text,
  payload jsonb, version text, topic text, partition int)
"""


def routed(make_shop, **relay):
    shop = make_shop(create_table=False)
    shop.psql(ROUTED_TABLE)
    shop.config["relay"] |= relay
    return shop


def insert(shop, count, aggregate="orders", type="T", key="k", version=None, topic=None, partition=None):
    def quoted(value):
        return "null" if value is None else f"'{value}'"
    shop.psql(f"insert into outbox (aggregatetype, aggregateid, type, payload, version, topic, partition) "
              f"select '{aggregate}', '{key}', '{type}', jsonb_build_object('n', n), {quoted(version)}, {quoted(topic)}, "
              f"{quoted(partition)} from generate_series(1, {count}) n")


def per_partition(records):
    """{partition: [n, ...]}"""
    found = {}
    for record in records:
        found.setdefault(record["partition"], []).append(record["event"]["payload"]["n"])
    return found


# Partitions


def test_a_round_robin_route_spreads_one_key_evenly(make_shop):
    shop = routed(make_shop)
    spread = f"{shop.name}.spread"
    shop.config["relay"]["routes"] = [{"type": "Spread*", "topic": spread, "partition": "round_robin"},
                                      {"type": "*", "topic": shop.name + ".${aggregate}.events.v1", "partition": "key"}]
    ready(shop)
    insert(shop, 30, type="SpreadOut")
    insert(shop, 30)
    shop.drain()
    assert per_partition(shop.events(topic=spread)) == {p: list(range(p + 1, 31, 3)) for p in range(3)}
    assert per_partition(shop.events()) == {partition_of("k", 3): list(range(1, 31))}
    shop.assert_exactly_once()


def test_a_partition_of_the_row_beats_round_robin(make_shop):
    shop = routed(make_shop)
    shop.config["relay"]["routes"] = [{"type": "*", "topic": shop.topic(), "partition": "round_robin"}]
    ready(shop)
    insert(shop, 4, partition=1)
    insert(shop, 3)
    shop.drain()
    assert {p: len(n) for p, n in per_partition(shop.events()).items()} == {0: 1, 1: 5, 2: 1}


def test_partitions_that_are_added_take_no_record(make_shop):
    """Keys would move; that takes an operator's word. Round-robin keeps to the same count."""
    shop = routed(make_shop)
    spread = f"{shop.name}.spread"
    shop.config["relay"]["routes"] = [{"type": "Spread", "topic": spread, "partition": "round_robin"},
                                      {"type": "*", "topic": shop.topic()}]
    shop.config["kafka"]["topics"]["partitions"] = 2
    ready(shop)
    insert(shop, 10)
    insert(shop, 10, type="Spread")
    shop.drain()
    for topic in (spread, shop.topic()):
        shop.kafka.add_partitions(topic, 6)
    for n in range(8):
        insert(shop, 1, key=f"k{n}")
    insert(shop, 10, type="Spread")
    run = shop.drain()
    assert {p: len(n) for p, n in per_partition(shop.events(topic=spread)).items()} == {0: 10, 1: 10}
    assert {r["partition"] for r in shop.events()} == {0, 1}
    assert all(r["partition"] == partition_of(r["key"], 2) for r in shop.events())
    assert sorted(e["topic"] for e in map(json.loads, run.lines) if e["event"] == "kafka.partitions_grew") == \
        sorted([spread, shop.topic()])
    shop.assert_exactly_once()


def test_topic_and_partition_of_a_row(make_shop):
    shop = routed(make_shop)
    shop.config["relay"]["routes"] = [{"type": "Known", "topic": shop.topic()}]
    ready(shop)
    own = f"{shop.name}.own"
    insert(shop, 1, type="Unknown", topic=own, partition=2)  # no route is needed
    insert(shop, 1, type="Known", topic=own)
    insert(shop, 1, type="Known", partition=0)
    insert(shop, 1, type="Known", partition=3)
    insert(shop, 1, type="Known", partition=-1)
    insert(shop, 1, type="Known", topic="")
    shop.drain()
    assert sorted(r["partition"] for r in shop.events(topic=own)) == sorted([2, partition_of("k", 3)])
    assert [r["partition"] for r in shop.events()] == [0]
    codes = [r["event"]["error"]["code"] for r in shop.quarantined()]
    assert sorted(codes) == ["partition_invalid", "partition_invalid", "topic_illegal"]


# Types


def test_types_may_be_published_with_their_version(make_shop):
    shop = routed(make_shop, type_format="versioned")
    shop.config["relay"]["routes"] = [{"type": "*.v9", "topic": f"{shop.name}.nobody"},
                                      {"type": "*.*", "topic": shop.name + ".${type}"}, {"type": "*", "topic": shop.topic()}]
    ready(shop)
    insert(shop, 1, type="order.created", version="9")  # routes and ${type} see the type as it is written
    insert(shop, 1, type="Plain")
    insert(shop, 1, type="Ready.v2", version="2")
    shop.drain()
    created, = shop.events(topic=f"{shop.name}.order.created")
    assert created["event"]["type"] == created["headers"]["type"] == "order.created.v9"
    assert created["event"]["version"] == 9
    assert [r["headers"]["type"] for r in shop.events()] == ["Plain"]
    assert [r["event"]["type"] for r in shop.events(topic=f"{shop.name}.Ready.v2")] == ["Ready.v2"]


# How topics are made


def test_init_and_relay_make_topics_as_the_config_says(make_shop):
    shop = routed(make_shop)
    known, made = f"{shop.name}.fleet.rentals", f"{shop.name}.fleet.orders"
    shop.config["relay"]["routes"] = [{"type": "Rental", "topic": known}, {"type": "Fleet", "topic": shop.name + ".fleet.${aggregate}"},
                                      {"type": "*", "topic": shop.topic()}]
    shop.config["kafka"]["topics"] |= {
        "retention_ms": 86400000, "min_insync_replicas": 1,
        "overrides": [{"topic": known, "partitions": 1, "cleanup": "compact"},
                      {"topic": f"{shop.name}.fleet.*", "partitions": 5, "retention_ms": -1, "cleanup": "compact,delete"},
                      {"topic": "*.quarantine", "cleanup": "compact"}]}
    printed = shop.init("--print").stdout.decode()
    assert f"-- {known}, 1, 1, cleanup.policy=compact, retention.ms=86400000, min.insync.replicas=1\n" in printed
    assert not [t for t in shop.kafka.topics() if shop.name in t]
    shop.init()
    insert(shop, 1, type="Fleet")
    insert(shop, 1)
    shop.drain()
    topics = shop.kafka.topics()
    wanted = {known: (1, "compact", "86400000"), made: (5, "compact,delete", "-1"), shop.topic(): (3, "delete", "86400000"),
              shop.quarantine_topic: (3, "delete", "86400000")}
    for topic, (partitions, cleanup, retention) in wanted.items():
        config = shop.kafka.topic_config(topic)
        assert (topic, topics[topic], config["cleanup.policy"], config["retention.ms"], config["min.insync.replicas"]) == \
            (topic, partitions, cleanup, retention, "1")
    assert shop.kafka.topic_config(f"walferry.position.{shop.name}")["cleanup.policy"] == "compact"


def test_a_topic_that_exists_is_left_as_it_is(make_shop):
    shop = routed(make_shop)
    shop.kafka.create_topic(shop.topic(), 2, retention_ms="3600000")
    shop.config["relay"]["routes"] = [{"type": "*", "topic": shop.topic()}]
    shop.config["kafka"]["topics"] |= {"partitions": 5, "retention_ms": 1000000}
    shop.init()
    insert(shop, 6)
    shop.drain()
    assert shop.kafka.topics()[shop.topic()] == 2
    assert shop.kafka.topic_config(shop.topic())["retention.ms"] == "3600000"
    shop.assert_exactly_once()
