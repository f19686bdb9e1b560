"""Another server takes over: a promoted standby that has the slot, one that lacks what is in Kafka, a restored backup.

The failover slots of Postgres 17 are tried with a server of Maven Central, which has no wal2json: hence pgoutput alone
where a pair is used."""
import json
import re
import threading
import time

import pytest

from harness import system
from harness.servers import lsn_number
from integration_checks import assert_refused, ready, said, wait_acked, wait_records

VERSION = 17


@pytest.fixture
def pair(fresh_postgres, make_shop):
    """pair(settings): (shop, primary, standby). The standby has the shop's slot, and the relay's config asks for that."""
    standbys = []

    def make(**settings):
        primary = fresh_postgres(settings, version=VERSION)
        standby = primary.standby("standby1", {"synchronized_standby_slots": ""})
        standbys.append(standby)
        primary.start()
        standby.start()
        shop = make_shop(postgres=primary)
        shop.config["postgres"]["failover"] = True
        return ready(shop), primary, standby

    yield make
    for standby in standbys:
        standby.destroy()


def wait_synced(shop, primary, standby):
    """Until the standby has the slot and would keep it."""
    def synced():
        primary.value("select pg_log_standby_snapshot()")  # what a busy primary writes every 15 s by itself
        row = standby.slot(shop.slot)
        return row and row["synced"] and not row["temporary"]
    system.wait_for(synced, 60, "the slot on the standby", interval=0.3)


def wait_replayed(primary, standby):
    end = primary.flush_lsn()
    system.wait_for(lambda: lsn_number(standby.value("select pg_last_wal_replay_lsn()")) >= end, 30, "replay")


def at(shop, server):
    """The shop's config, with another server in it."""
    return shop.changed(postgres={"conninfo": server.conninfo(shop.db)})


def move(shop, server):
    """From now on the shop's database is there."""
    shop.postgres = server
    shop.config["postgres"]["conninfo"] = server.conninfo(shop.db)


@pytest.mark.decoder("pgoutput")
def test_a_promotion_while_writers_write_neither_loses_nor_repeats(pair):
    shop, primary, standby = pair(synchronized_standby_slots="standby1")
    assert primary.slot(shop.slot)["failover"]
    first = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    wait_synced(shop, primary, standby)
    assert "nothing is published that standby1 lacks" in shop.run("check").stdout.decode()
    assert "this standby synchronises slots" in shop.run("check", config=at(shop, standby)).stdout.decode()
    second = shop.start("relay", config=at(shop, standby))
    waiting = second.wait_event("relay.recovering", code="server_is_standby")
    assert shop.slot in waiting["error"] and "target_session_attrs" in waiting["remedy"]

    stop = threading.Event()

    def write():
        while not stop.is_set():
            try:
                shop.insert(7)
            except Exception:  # noqa: BLE001 - the server goes while it writes
                time.sleep(0.05)
    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        time.sleep(1.5)
        primary.kill9()
        assert first.terminate() == 0
        standby.promote()
        move(shop, standby)
        second.wait_streaming(60)
        time.sleep(1)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    count = len(shop.outbox_ids())
    assert count > 40
    wait_records(shop, count)
    assert second.terminate() == 0
    shop.drain()
    shop.assert_exactly_once()
    assert shop.position()["timeline"] == 2


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("create", [True, False])
def test_the_held_back_slot_stays_behind_and_another_is_made(pair, create):
    """Only the relay's slot comes along. That the window begins anew is said, and what of it is left can be replayed."""
    shop, primary, standby = pair()
    shop.config["postgres"] |= {"replay": {"keep": "24h"}, "create": create}
    shop.init()
    relay = shop.relay()
    shop.insert(3)
    wait_records(shop, 3)
    wait_acked(shop, primary.flush_lsn())
    wait_synced(shop, primary, standby)
    wait_replayed(primary, standby)
    assert primary.slot(shop.slot + "_replay") and not standby.slot(shop.slot + "_replay")
    assert relay.terminate() == 0
    primary.kill9()
    standby.promote()
    move(shop, standby)

    relay = shop.relay()
    if create:
        relay.wait_event("retain.slot_created", slot=shop.slot + "_replay")
    else:
        told = relay.wait_event("retain.trouble", code="slot_missing")
        assert shop.slot + "_replay" in told["error"] and "walferry init" in told["remedy"]
        assert "trouble" in shop.run("status").stdout.decode()
        assert f"ok  slot {shop.slot}_replay" in shop.init().stdout.decode()
    made = standby.slot(shop.slot + "_replay")["confirmed_flush_lsn"]
    shop.insert(2)
    wait_records(shop, 5)
    assert relay.terminate() == 0
    refused = shop.run("replay", "--from", "1d").expect_exit(3).find("replay.refused")
    assert refused["code"] == "replay_too_old", refused
    assert "2 " in shop.run("replay", "--from", made, "--dry-run").expect_exit(0).stdout.decode()
    shop.run("replay", "--from", made).expect_exit(0)
    assert len([r for r in shop.events() if "wf_replay" in r["headers"]]) == 2
    shown = shop.run("position", "show").expect_exit(0).stdout.decode()
    assert made in shown and "trouble" not in shown, shown


@pytest.mark.decoder("pgoutput")
def test_events_that_the_promoted_server_lacks_are_named(pair):
    shop, primary, standby = pair()
    relay = shop.relay()
    kept = shop.insert(6)
    wait_records(shop, 6)
    wait_acked(shop, primary.flush_lsn())
    wait_synced(shop, primary, standby)
    wait_replayed(primary, standby)
    standby.stop()  # the replication is cut, and the old primary goes on
    shop.insert(3, aggregate="invoices", type="InvoiceSent")
    shop.insert_many(4000)  # more than one look back finds, and more than are logged
    lost = shop.outbox_ids() - set(kept)
    wait_records(shop, 4009)
    shop.kafka.produce(shop.topic(), "not ours", headers={"id": "x"})
    shop.kafka.produce(shop.topic(), "another's", headers={"id": "y", "wf_lsn": "7F/0", "source": "other.public.outbox"})
    shop.kafka.produce(shop.topic(), "a replay", headers={"id": "z", "wf_lsn": "7F/0", "wf_replay": "1"})
    assert relay.terminate() == 0
    primary.kill9()
    standby.start()
    standby.promote()
    move(shop, standby)
    assert shop.outbox_ids() == set(kept)

    run = shop.start("relay")
    refused = assert_refused(run, "Kafka has at least 4003 events", "--lost", codes=("timeline_diverged",))
    named = [e for e in run.events if e["event"] == "relay.lost_event"]
    assert len({e["id"] for e in named} & lost) == len(named) == 100
    records = {r["headers"]["id"]: r for topic in shop.event_topics() for r in shop.events(topic=topic)}
    for event in named:
        record = records[event["id"]]
        assert (event["topic"], int(event["partition"]), int(event["offset"]), event["type"], event["lsn"]) == (
            record["topic"], record["partition"], record["offset"], record["headers"]["type"], record["headers"]["wf_lsn"])
    listed = shop.run("status", "--lost", "--json").expect_exit(0)
    found = [json.loads(line) for line in listed.stdout.decode().splitlines()]
    assert sorted(e["id"] for e in found) == sorted(lost)
    told = shop.run("status", "--lost").expect_exit(0).stdout.decode()
    assert "# 4003 events" in told and "# 1 more may be" in told
    assert "timeline 1 at" in shop.run("check").expect_exit(3).stdout.decode()

    # What never happened is undone in the consumers; then the relay goes on behind the point where the histories part.
    switch = re.search(r"left timeline 1 at (\S+?),", refused["error"])[1]
    assert f"set {switch} " in refused["remedy"]
    new = shop.insert(5)
    shop.run("position", "set", switch, "--confirm", shop.name).expect_exit(0)
    shop.drain()
    shop.assert_exactly_once({*kept, *lost, *new, "x", "y", "z"})
    assert "# none" in shop.run("status", "--lost").expect_exit(0).stdout.decode()


@pytest.mark.decoder("pgoutput")
def test_an_existing_slot_is_made_a_failover_slot(fresh_postgres, make_shop):
    server = fresh_postgres(version=VERSION)
    shop = ready(make_shop(postgres=server))
    assert not server.slot(shop.slot)["failover"]
    holder = shop.relay()
    shop.config["postgres"]["failover"] = True
    successor = shop.start("relay")
    successor.wait_event("relay.standby")
    assert not server.slot(shop.slot)["failover"], "the server changes no slot that is in use"
    holder.kill9()
    successor.wait_streaming(30)
    assert server.slot(shop.slot)["failover"] and successor.count("relay.failover_enabled") == 1
    shop.insert(3)
    wait_records(shop, 3)
    assert successor.terminate() == 0
    shop.drain()
    shop.assert_exactly_once()
    checked = said(shop.run("check").stdout.decode())
    assert "synchronized_standby_slots" in checked


def test_a_server_without_failover_slots_is_refused(shop):
    shop.config["postgres"]["failover"] = True
    assert_refused(shop.start("relay"), "postgres.failover", codes=("failover_unsupported",))
    assert "failover_unsupported" in shop.run("check", "--json").stdout.decode()
    assert shop.postgres.slot(shop.slot) is None


def make_slot_on(standby, shop):
    """A slot of the standby's own: that waits for what a busy primary writes every 15 s by itself."""
    made = threading.Thread(target=standby.psql, args=(
        f"select pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')", shop.db))
    made.start()
    while made.is_alive():
        shop.postgres.value("select pg_log_standby_snapshot()")
        made.join(0.3)


@pytest.mark.decoder("pgoutput")
def test_a_standbys_own_slot_goes_on_over_its_promotion(fresh_postgres, make_shop):
    primary = fresh_postgres(version=VERSION)
    standby = primary.standby("standby1", {"synchronized_standby_slots": ""})
    try:
        primary.start()
        standby.start()
        shop = make_shop(postgres=primary)
        shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert', "
                  "publish_via_partition_root = true)")
        wait_replayed(primary, standby)
        make_slot_on(standby, shop)
        assert_refused(shop.start("relay", config=shop.changed(postgres={
            "conninfo": standby.conninfo(shop.db), "failover": True})), shop.slot, codes=("failover_unsupported",))
        assert_refused(shop.start("relay", config=shop.changed(
            postgres={"conninfo": standby.conninfo(shop.db)}, relay={"after_publish": "delete"})),
            "is a standby", codes=("after_publish_denied",))
        relay = shop.start("relay", "--adopt-slot", config=at(shop, standby))
        relay.wait_streaming(30)
        shop.insert(3)
        wait_records(shop, 3)
        assert not relay.find("relay.recovering")
        standby.promote()
        primary.kill9()
        move(shop, standby)
        shop.insert(4)
        wait_records(shop, 7)
        assert shop.position()["timeline"] == 2
        assert relay.terminate() == 0
        shop.drain()
        shop.assert_exactly_once()
    finally:
        standby.destroy()
