"""docs/events/replay-runbook.md: each case is brought about on real servers, and its commands are typed as they stand."""
import subprocess

import pytest

from harness import system
from harness.postgres import bindir
from harness.servers import lsn_number
from harness.session import Session
from integration_checks import wait_acked, wait_records
from test_failover import move, pair, wait_replayed, wait_synced  # noqa: F401 - pair is a fixture

RUNBOOK = "docs/events/replay-runbook.md"


def case(shop, heading):
    return Session(RUNBOOK, heading, shop)


@pytest.fixture
def kept(shop):
    return keep(shop)


def keep(shop):
    timed(shop)
    shop.config["postgres"]["replay"] = {"keep": "24h"}
    shop.init()
    return shop


def timed(shop):
    shop.psql("alter table outbox add occurred_at timestamptz not null default clock_timestamp()")


def test_every_case_is_tried():
    headings = [line[3:] for line in (system.ROOT / RUNBOOK).read_text().splitlines() if line.startswith("## ")]
    tried = (system.ROOT / "tests" / "integration" / "test_replay_runbook.py").read_text()
    assert headings and [heading for heading in headings if f'"{heading}"' not in tried] == []


def test_a_consumer_lost_its_data(kept):
    kept.insert(2)
    kept.drain()
    then = kept.psql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    kept.insert(3)
    kept.insert(2, aggregate="payments", type="PaymentReceived")
    kept.drain()
    book = case(kept, "A consumer lost its data")
    book.meaning["2026-11-22T08:10:00Z"] = then
    book.run(0)
    heads = kept.kafka.consume_format(kept.topic(), "%h")
    book.meaning["0/1926D30"] = max((head.split("wf_lsn=")[1].split(",")[0] for head in heads), key=lsn_number)
    for block in range(1, 7):
        book.run(block)
    assert len(kept.record_ids()) == 12 and set(kept.record_ids()) == kept.outbox_ids()


def test_a_topic_was_lost(kept):
    kept.insert(5)
    kept.insert(2, aggregate="payments", type="PaymentReceived")
    kept.drain()
    before = {r["headers"]["id"]: (r["partition"], r["key"], r["payload"]) for r in kept.events()}
    kept.kafka.delete_topic(kept.topic())
    system.wait_for(lambda: kept.topic() not in kept.kafka.topics(), 15, "the topic gone")
    book = case(kept, "A topic was lost")
    for block in range(3):
        book.run(block)
    assert {r["headers"]["id"]: (r["partition"], r["key"], r["payload"]) for r in kept.events()} == before
    kept.insert(1)
    kept.drain()
    kept.assert_exactly_once()


def test_kafka_lost_the_position(kept):
    kept.insert(5)
    kept.drain()
    kept.kafka.delete_topic("walferry.position." + kept.name)
    system.wait_for(lambda: "walferry.position." + kept.name not in kept.kafka.topics(), 15, "the topic gone")
    kept.insert(2)
    book = case(kept, "Kafka lost the position")
    for block in range(5):
        book.run(block)
    kept.assert_exactly_once()
    assert kept.position()["set"]["reason"] == "the position topic was lost"


def test_the_slot_was_lost(make_shop):
    shop = keep(make_shop())
    shop.insert(5)
    shop.drain()
    shop.insert(2)
    shop.postgres.drop_slot(shop.slot)
    book = case(shop, "The slot was lost")
    for block in range(3):
        book.run(block)
    shop.assert_exactly_once()

    bare = make_shop()
    timed(bare)
    bare.init()
    bare.insert(5)
    bare.drain()
    bare.insert(2)
    bare.postgres.drop_slot(bare.slot)
    book = case(bare, "The slot was lost")
    book.meaning["2026-11-22T08:30:00Z"] = "2026-01-01T00:00:00Z"
    for block in (0, 3, 4, 5):
        book.run(block)
    assert len(bare.record_ids()) == 7
    assert sorted(bare.psql("select payload from outbox").split("\n")[-2:]) == sorted(
        bare.psql("select payload from outbox").split("\n")[5:7])


@pytest.mark.decoder("pgoutput")
def test_the_publication_was_taken_away(shop):
    shop.init()
    shop.insert(5)
    shop.drain()
    shop.psql(f"drop publication {shop.publication}")
    shop.insert(2)
    book = case(shop, "The publication was taken away")
    for block in range(3):
        book.run(block)
    assert len(shop.record_ids()) == 7
    payloads = shop.psql("select payload from outbox").split("\n")
    assert sorted(payloads[-2:]) == sorted(payloads[5:7])


def test_the_database_was_restored_from_a_backup(fresh_postgres, make_shop):
    server = fresh_postgres()
    shop = make_shop(postgres=server)
    shop.init()
    shop.insert(3)
    shop.drain()
    server.stop()
    image = server.copy_data()
    server.start()
    shop.insert(2)
    shop.drain()
    lost = set(shop.record_ids())
    server.stop()
    server.restore_data(image)
    server.start()
    lost -= shop.outbox_ids()
    book = case(shop, "The database was restored from a backup")
    book.run(0)
    listed, = book.run(1)
    assert len(lost) == 2 and all(id in listed for id in lost)
    book.run(2)
    shop.insert(4)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() | lost)


@pytest.mark.decoder("pgoutput")
def test_a_standby_was_promoted(pair):  # noqa: F811
    shop, primary, standby = pair()
    relay = shop.relay()
    shop.insert(3)
    wait_records(shop, 3)
    wait_acked(shop, primary.flush_lsn())
    wait_synced(shop, primary, standby)
    wait_replayed(primary, standby)
    standby.stop()
    lost = set(shop.insert(2))
    wait_records(shop, 5)
    assert relay.terminate() == 0
    primary.kill9()
    standby.start()
    standby.promote()
    move(shop, standby)
    book = case(shop, "A standby was promoted")
    listed = book.run(0)[-1]
    assert all(id in listed for id in lost)
    book.run(1)
    shop.insert(4)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() | lost)


def test_moving_to_another_kafka_cluster(kept, fresh_kafka):
    kept.insert(5)
    book = case(kept, "Moving to another Kafka cluster")
    book.run(0)
    kept.assert_exactly_once()
    before = set(kept.record_ids())
    new = fresh_kafka()
    kept.kafka = new
    kept.config["kafka"]["brokers"] = book.env["KAFKA_BROKERS"] = new.brokers
    kept.insert(2)  # written while nobody reads
    book.run(1)
    kept.insert(1)
    kept.drain()
    kept.assert_exactly_once(kept.outbox_ids() - before)


@pytest.mark.decoder("pgoutput")
def test_moving_to_a_new_major_version_of_postgres(shop, fresh_postgres):
    shop.init()
    shop.insert(5)
    book = case(shop, "Moving to a new major version of Postgres")
    book.run(0)
    new = fresh_postgres(version=18)
    new.psql(f'create database "{shop.name}"')
    dumped = subprocess.run([bindir() / "pg_dump", "--no-owner", "--no-publications", shop.postgres.conninfo(shop.db)],
                            stdout=subprocess.PIPE, text=True, check=True)
    new.psql(dumped.stdout, shop.db)
    move(shop, new)
    book.env["PGPORT"] = str(new.port)
    book.run(1)
    shop.insert(3)
    shop.drain()
    book.run(2)
    shop.assert_exactly_once()
