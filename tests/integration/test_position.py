"""The position's history, and what an operator does with a position: `walferry position`."""
import json
import urllib.request

import pytest

from harness import system
from harness.servers import lsn_number, lsn_text
from test_refusals import move_wal_beyond, take_image
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
        return lsn_number(shop.postgres.slot(shop.slot)["restart_lsn"]) - lsn_number(held(shop)["restart_lsn"]) <= 4 << 20
    system.wait_for(kept, 30, "no more than 4 MB", interval=0.3)
    assert lsn_number(held(shop)["confirmed_flush_lsn"]) <= position_lsn(shop)
    assert relay.terminate() == 0
    shop.assert_exactly_once()


def test_the_window_is_not_given_up_for_what_the_relay_keeps_anyway(shop):
    """As long as a transaction is open both slots keep the WAL from its beginning on: moving this one would free nothing."""
    shop.config["postgres"]["replay"] = {"keep": "30d", "keep_bytes": "1MB"}
    shop.init()
    shop.psql("create table filler (t text)")
    relay, _ = live(shop, 1)
    first, began = held(shop)["confirmed_flush_lsn"], shop.position()["written_us"]
    with shop.session() as open_one:
        open_one.run("begin")
        open_one.run("insert into filler values ('first')")
        shop.psql("insert into filler select repeat(md5(i::text), 30) from generate_series(1, 3000) i")
        system.wait_for(lambda: shop.insert(1) and shop.position()["written_us"] > began + 4 * 60_000_000, 20, "4 minutes",
                        interval=0.3)
        assert held(shop)["confirmed_flush_lsn"] == first
        open_one.run("rollback")
    assert relay.terminate() == 0 and not relay.find("retain.trouble")


@pytest.mark.parametrize("how", ["missing", "another plugin", "physical"])
def test_a_held_back_slot_that_is_wrong_only_warns(shop, how):
    shop.config["postgres"] |= {"replay": {"keep": "2m"}}
    ready(shop)
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
    port = relay.wait_event("http.listening")["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        assert 'walferry_replay_slot_trouble{name="%s"} 1' % shop.name in page.read().decode()
    status = json.loads(shop.run("status", "--json").expect_exit(0).stdout)
    assert shop.slot + "_replay" in status["held_back"]["trouble"]
    assert "held-back slot" in text(shop.run("check"))
    assert relay.running and relay.terminate() == 0
    shop.assert_exactly_once()


def replay_record(shop, start, finished, key="f" * 16, **of_rows):
    """What a replay that began at start stores of itself, having got on just now."""
    run = {"id": key, "from": start, "to": start, "from_us": 0, "to_us": 0, "records": 0, "finished": finished} | of_rows
    position = shop.position() | {"commit_lsn": "0/0", "complete": True, "next_index": 0, "run": run}
    shop.kafka.produce(f"walferry.position.{shop.name}.replay", json.dumps(position), key=key)


def test_an_unfinished_replay_pins_the_held_back_slot(shop):
    shop.config["postgres"]["replay"] = {"keep": "2m"}
    shop.init()
    relay, _ = live(shop, 1)
    start = held(shop)["confirmed_flush_lsn"]

    def replay_for(minutes):
        for _ in range(minutes):
            replay_record(shop, start, finished=False)
            began = shop.position()["written_us"]
            system.wait_for(lambda: shop.insert(1) and shop.position()["written_us"] > began + 60000000, 20, "a minute",
                            interval=0.2)
    replay_for(2)  # by then it is known to the relay, which may have moved the slot once more before
    pinned = held(shop)["confirmed_flush_lsn"]
    replay_for(3)
    assert held(shop)["confirmed_flush_lsn"] == pinned, "the window passed over what the replay needs"

    def moved():
        replay_record(shop, start, finished=True)
        replay_record(shop, start, finished=False, key="e" * 16, list="00000000000000ff")  # rows, which need no slot
        shop.insert(1)
        return held(shop)["confirmed_flush_lsn"] != pinned
    system.wait_for(moved, 20, "moving on", interval=0.3)
    assert relay.terminate() == 0


# position show and history


def text(run):
    return run.stdout.decode()


def test_show_and_history_beside_a_relay(shop):
    shop.config["postgres"]["replay"] = {"keep": "10m"}
    shop.init()
    relay, written = live(shop, 2)
    shown = json.loads(shop.run("position", "show", "--json").expect_exit(0).stdout)
    assert shown["instance"] == shop.name and shown["position"]["state"] == "position"
    assert shown["slot"]["name"] == shop.slot and shown["slot"]["active"] and shown["held_back"]["exists"]
    assert lsn_number(shown["position"]["lsn"]) <= lsn_number(shown["flush_lsn"])
    words = text(shop.run("position", "show").expect_exit(0))
    assert "bytes of WAL behind the position" in words or "stand at the same place" in words
    lines = [json.loads(line) for line in text(shop.run("position", "history", "--json").expect_exit(0)).splitlines()]
    assert written <= {"at/" + line["stored"][:16] + "Z" for line in lines}
    assert [lsn_number(line["lsn"]) for line in lines] == sorted(lsn_number(line["lsn"]) for line in lines)
    assert "published up to" in text(shop.run("position", "history").expect_exit(0))
    shop.insert(1)
    assert relay.running and relay.terminate() == 0
    assert not relay.find("relay.recovering"), "looking fenced the relay"
    shop.drain()
    shop.assert_exactly_once()


# position set: each refusal is resolved by what it names


def put(shop, lsn, *expected, reason="as the test says", **kwargs):
    """Looks first, then does it; what it says has to have these in it."""
    before = shop.position()
    looked = shop.run("position", "set", str(lsn), **kwargs).expect_exit(2)
    assert shop.position() == before, "looking changed it"
    shop.run("position", "set", str(lsn), "--confirm", "another", **kwargs).expect_exit(2)
    done = shop.run("position", "set", str(lsn), "--confirm", shop.name, "--reason", reason, **kwargs).expect_exit(0)
    for words in expected:
        assert words in text(looked) and words in text(done), text(done)
    word = shop.position()["set"]
    assert "@" in word["by"] and word["role"] and word["reason"] == reason
    return done


def published(shop):
    ready(shop)
    shop.insert(3)
    shop.drain()
    return shop


def confirmed(shop):
    return shop.postgres.slot(shop.slot)["confirmed_flush_lsn"]


def refused(shop, code):
    event = shop.run("relay").expect_refused(code)
    assert "walferry position" in event["remedy"], event
    return event


@pytest.mark.parametrize("retained", [False, True], ids=["no slot held back", "held back"])
def test_an_advanced_slot_is_resolved(shop, retained):
    if retained:
        shop.config["postgres"]["replay"] = {}
        shop.init()
    published(shop)
    kept = shop.outbox_ids()
    shop.insert(2)
    shop.psql(f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())")
    kept |= set(shop.insert(1))
    refused(shop, "slot_advanced")
    put(shop, confirmed(shop), "Skipped: 2 events" if retained else "cannot be counted, nor published by the relay",
        "Repeated: 0 events")
    shop.drain()
    shop.assert_exactly_once(kept)
    assert shop.position()["set"]["reason"] == "as the test says", "later commits keep it"
    lines = text(shop.run("position", "history", "--json").expect_exit(0)).splitlines()
    assert any((json.loads(line)["set"] or {}).get("reason") == "as the test says" for line in lines)


def test_half_a_transaction_that_the_server_lacks_covers_nothing_of_what_it_has(shop):
    """As after a restored image: all that it committed since has lower LSNs than what Kafka has a part of."""
    published(shop)
    position = shop.position()
    shop.insert(5)
    end = shop.postgres.flush_lsn()
    half = position | {"commit_lsn": lsn_text(end + (1 << 30)), "complete": False, "next_index": 5}
    shop.kafka.produce(f"walferry.position.{shop.name}", json.dumps(half), key="current")
    refused(shop, "server_behind")
    put(shop, lsn_text(end), "the server's WAL ends at", "Skipped: 5 events")


def test_what_is_repeated_and_skipped_is_counted(shop):
    ready(shop)
    first = shop.insert(4)
    shop.run("relay", failpoint="publisher.after_commit=kill@1")
    shop.wait_markers()
    assert len(shop.record_ids()) == 4, "published, and not acknowledged"
    put(shop, confirmed(shop), "Repeated: 4 events", "Skipped: 0 events")
    skipped = shop.insert(2)
    middle = shop.psql("select pg_current_wal_lsn()")
    last = shop.insert(1)
    put(shop, middle, "Skipped: 6 events", "Repeated: 0 events")
    put(shop, shop.position()["floor"], "Skipped: 0 events")
    shop.drain()
    assert sorted(shop.record_ids()) == sorted(first + last) and not set(skipped) & set(shop.record_ids())


def test_a_position_that_moved_since_it_was_looked_at_is_not_set(shop):
    published(shop)
    position, pause = shop.position(), shop.dir / "pause"
    run = shop.start("position", "set", confirmed(shop), "--confirm", shop.name,
                     failpoint=f"relay.after_producer_init=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    moved = position | {"idle_end_lsn": lsn_text(lsn_number(position["end_lsn"]) + 64)}
    shop.kafka.produce(f"walferry.position.{shop.name}", json.dumps(moved), key="current")
    pause.unlink()
    run.expect_exit(1, 20)
    assert "since it was looked at" in run.find("position.failed")["error"]
    assert shop.position() == moved


def test_a_slot_that_moved_since_it_was_looked_at_is_not_counted_by(shop):
    published(shop)
    pause = shop.dir / "pause"
    run = shop.start("position", "set", confirmed(shop), failpoint=f"gap.before_copy=pause:{pause}")
    system.wait_for(pause.exists, 30, "the pause")
    before = shop.confirmed_flush()
    shop.insert(3)
    shop.drain()
    assert shop.confirmed_flush() > before
    pause.unlink()
    run.expect_exit(2, 20)
    assert "cannot be counted: slot" in text(run) and "does not have the transaction" not in text(run)


def test_a_lost_position_is_resolved(shop):
    published(shop)
    shop.kafka.delete_topic(f"walferry.position.{shop.name}")
    more = shop.insert(2)
    refused(shop, "slot_unknown")
    looked = shop.run("position", "set", confirmed(shop)).expect_exit(2)
    assert "Stored is no position" in text(looked) and shop.position() is None
    shop.run("position", "set", confirmed(shop), "--confirm", shop.name).expect_exit(0)
    shop.drain()
    shop.assert_exactly_once()
    assert set(more) <= set(shop.record_ids())


def test_a_recreated_publication_or_table_is_resolved(shop):
    published(shop)
    if shop.decoder == "pgoutput":
        shop.psql(f"drop publication {shop.publication}; create publication {shop.publication} for table outbox "
                  "with (publish = 'insert', publish_via_partition_root = true)")
    else:
        shop.psql("create table other as table outbox; drop table outbox")
        shop.create_table()
        shop.psql("insert into other select * from other where false")
    shop.insert(2)
    refused(shop, "publication_changed" if shop.decoder == "pgoutput" else "table_changed")
    put(shop, confirmed(shop), "Skipped: 0 events", "Repeated: 0 events")
    shop.drain()
    assert shop.outbox_ids() <= set(shop.record_ids()) and len(shop.record_ids()) == 5


def test_a_missing_slot_is_resolved(shop):
    published(shop)
    shop.postgres.drop_slot(shop.slot)
    lost = shop.insert(2)
    refused(shop, "slot_missing")
    shop.run("position", "set", "0/1", "--confirm", shop.name).expect_exit(3)
    put(shop, "new", f"Slot {shop.slot} does not exist")
    shop.init()
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() - set(lost))


def test_a_missing_slot_is_made_of_the_held_back_one(shop):
    """Nothing is lost, so nobody has to decide."""
    shop.config["postgres"]["replay"] = {}
    shop.init()
    published(shop)
    shop.insert(2)
    shop.postgres.drop_slot(shop.slot)
    shop.insert(1)
    assert "walferry init" in shop.run("relay").expect_refused("slot_missing")["remedy"]
    made = shop.init()
    assert f"ok  slot {shop.slot} made of the held-back one" in text(made)
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once()


def test_another_cluster_is_resolved(shop, fresh_postgres, make_shop):
    published(shop)
    other = make_shop(postgres=fresh_postgres(), name=shop.name)
    other.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert'); "
               f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}')")
    more = other.insert(2)
    refused(other, "cluster_changed")
    put(other, confirmed(other), "of another origin", "Skipped: 0 events")
    other.drain()
    assert set(more) <= set(other.record_ids()) and len(other.record_ids()) == 5


@pytest.mark.parametrize("silent", [True, False], ids=["server_behind", "history_rewritten"])
def test_a_restored_image_is_resolved(fresh_postgres, make_shop, silent):
    """The database lost events that Kafka has: they stay, and what is committed now follows."""
    server = fresh_postgres()
    shop, restore = take_image(server, make_shop(postgres=server), persisted=False)
    there = shop.position()["end_lsn"]
    gone = shop.insert(5)
    shop.drain()
    end = position_lsn(shop)
    restore()
    if not silent:
        shop.insert(2)
        move_wal_beyond(shop, end)
    shop.insert(2)
    event = shop.run("relay").expect_refused()
    assert "walferry position" in event["remedy"]
    assert event["code"] == ("server_behind" if silent else "history_rewritten")
    if silent:
        assert "a start is refused (server_behind)" in text(shop.run("position", "show").expect_exit(0))
    put(shop, there, "Kafka has events that this database does not have", "Skipped: 3 events")
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() | set(gone))


@pytest.mark.decoder("pgoutput")
def test_rows_that_cannot_be_decoded_are_passed_over(shop):
    """Committed while there was no publication, they end every stream that has to pass them."""
    published(shop)
    shop.psql(f"drop publication {shop.publication}")
    lost = shop.insert(2)
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert', "
              "publish_via_partition_root = true)")
    behind = shop.psql("select pg_current_wal_lsn()")
    shop.insert(1)
    put(shop, behind)
    assert lsn_number(confirmed(shop)) >= lsn_number(behind)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() - set(lost))


def test_setting_survives_a_kill(shop):
    """Killed behind the store, the position is ahead of its slot: an ordinary one."""
    published(shop)
    skipped = shop.insert(2)
    behind = shop.psql("select pg_current_wal_lsn()")
    for moment, stored in (("before", False), ("after", True)):
        run = shop.run("position", "set", behind, "--confirm", shop.name, failpoint=f"reposition.{moment}_store=kill")
        assert run.exit_code == -9 and ("set" in shop.position()) == stored
    assert lsn_number(confirmed(shop)) < lsn_number(behind)
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() - set(skipped))


def test_bounds_and_a_running_instance(shop):
    published(shop)
    beyond = shop.run("position", "set", "FF/0", "--confirm", shop.name).expect_exit(2)
    assert "beyond the end" in beyond.log_tail()
    before = shop.run("position", "set", "0/10", "--confirm", shop.name).expect_exit(2)
    assert "walferry replay" in before.log_tail()
    relay = shop.relay()
    stored = shop.position()
    held_by = shop.run("position", "set", shop.psql("select pg_current_wal_lsn()"), "--confirm", shop.name).expect_exit(4)
    assert held_by.find("position.fenced", code="slot_held")
    assert shop.position().get("set") == stored.get("set") and relay.running
    shop.insert(2)
    wait_records(shop, 5)
    assert relay.terminate() == 0
    shop.assert_exactly_once()
