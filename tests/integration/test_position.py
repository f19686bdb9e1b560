"""The position's history, and what an operator does with a position: `walferry position`."""
import json

import pytest

from harness import system
from integration_checks import ready, wait_records

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
