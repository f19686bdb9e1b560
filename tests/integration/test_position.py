"""The position's history, and what an operator does with a position: `walferry position`."""
import json

import pytest

from harness import system
from harness.servers import lsn_number
from integration_checks import position_lsn, ready, wait_records

FAST = "clock=x60"  # a minute of the history is a second


def minutes(shop):
    """The history as it stands in Kafka: key to position, tombstoned keys left out."""
    kept = {}
    for record in shop.kafka.consume(f"walferry.position.{shop.name}"):
        if record["key"].startswith("at/"):
            kept[record["key"]] = json.loads(record["payload"]) if record["payload"] else None
    return {key: value for key, value in kept.items() if value is not None}


def live(shop, count, failpoint=FAST):
    """A relay that publishes until so many more minutes of the history were written; which they are."""
    before, written = set(minutes(shop)), set()
    relay = shop.relay(failpoint=failpoint)

    def enough():
        shop.insert(1)
        written.update(set(minutes(shop)) - before)
        return len(written) >= count
    system.wait_for(enough, 60, f"{count} minutes", interval=0.2)
    return relay, written


def test_history_is_kept_for_its_window_across_restarts(shop):
    shop.config["postgres"]["replay"] = {"keep": "3m"}
    ready(shop, failpoint=FAST)
    relay, first = live(shop, 3)
    relay.kill9()
    relay, second = live(shop, 5)
    kept = minutes(shop)
    assert relay.terminate() == 0
    assert not first & set(kept), "minutes of the run before are behind the window, and still there"
    assert 3 <= len(kept) <= 5 and set(kept) <= second
    positions = [kept[key] for key in sorted(kept)]
    assert [p["written_us"] for p in positions] == sorted(p["written_us"] for p in positions)
    for key, position in kept.items():
        assert key[3:19] == system_minute(position["written_us"]) and position["state"] == "position"
    shop.drain()
    shop.assert_exactly_once()


def system_minute(us):
    import datetime
    return datetime.datetime.fromtimestamp(us // 1000000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M")


# The held-back slot


def held(shop):
    return shop.postgres.slot(shop.slot + "_replay")


def test_the_held_back_slot_follows_the_window(shop):
    shop.config["postgres"]["replay"] = {"keep": "2m"}
    shop.init()
    first = lsn_number(held(shop)["confirmed_flush_lsn"])
    assert held(shop)["plugin"] == shop.decoder and first == shop.confirmed_flush()
    relay, _ = live(shop, 2)
    shop.insert(1)
    behind = position_lsn(shop)
    system.wait_for(lambda: lsn_number(held(shop)["confirmed_flush_lsn"]) >= behind or not shop.insert(1), 30, "move",
                    interval=0.3)
    acked = shop.confirmed_flush()
    assert lsn_number(held(shop)["confirmed_flush_lsn"]) < acked, "it does not stand where the relay did a while ago"
    assert relay.terminate() == 0
    assert not relay.find("retain.trouble")
    shop.drain()
    shop.assert_exactly_once()
    dropped = shop.run("drop", "--confirm", shop.name).expect_exit(0)
    assert f"ok  slot {shop.slot}_replay dropped".encode() in dropped.stdout and held(shop) is None


def test_the_held_back_slot_keeps_no_more_than_it_may(shop):
    """The window is long, and the WAL too much for it: what is kept follows the limit."""
    shop.config["postgres"]["replay"] = {"keep": "30d", "keep_bytes": "4MB"}
    shop.config["postgres"]["create"] = True
    relay = shop.relay(failpoint=FAST)
    system.wait_for(lambda: held(shop), 20, "the slot is made by the relay")
    for n in range(3):
        shop.insert_many(400, payload_bytes=8000)
        shop.psql("checkpoint")
    wait_records(shop, 1200)

    def kept():
        shop.insert(1)
        shop.psql("select pg_log_standby_snapshot()" if shop.postgres.value("show server_version_num") >= "160000"
                  else "checkpoint")
        return int(shop.postgres.value("select pg_current_wal_lsn() - restart_lsn from pg_replication_slots "
                                       f"where slot_name = '{shop.slot}_replay'")) <= 4 << 20
    system.wait_for(kept, 30, "no more than 4 MB", interval=0.3)
    assert lsn_number(held(shop)["confirmed_flush_lsn"]) <= position_lsn(shop)
    assert relay.terminate() == 0
    shop.assert_exactly_once()


@pytest.mark.parametrize("how", ["missing", "another plugin", "physical"])
def test_a_held_back_slot_that_is_wrong_only_warns(shop, how):
    shop.config["postgres"] |= {"replay": {"keep": "2m"}}
    ready(shop)
    system.wait_for(lambda: True)
    if held(shop):
        shop.postgres.drop_slot(shop.slot + "_replay")
    shop.psql({"missing": "select 1",
               "another plugin": f"select pg_create_logical_replication_slot('{shop.slot}_replay', 'test_decoding')",
               "physical": f"select pg_create_physical_replication_slot('{shop.slot}_replay')"}[how])
    shop.config["postgres"]["create"] = False
    shop.config["http"] = {"listen": "127.0.0.1:0"}
    relay = shop.relay(failpoint=FAST)
    shop.insert(3)
    wait_records(shop, 3)
    event = relay.wait_event("retain.trouble")
    assert shop.slot + "_replay" in event["error"] and event["remedy"]
    assert relay.running and relay.terminate() == 0
    shop.assert_exactly_once()
