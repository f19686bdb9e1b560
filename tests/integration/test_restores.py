"""A database that was put back: point-in-time recovery, base backups without slots, pg_resetwal. In each case the relay has
to notice, and to say what Kafka has that the database does not have any more."""
import os
import subprocess

import pytest

from harness import system
from integration_checks import World, assert_refused, ready


@pytest.fixture
def restorable(fresh_postgres, make_shop):
    """(shop, restore): restore(lsn=None, slots=False) puts the server back to a base backup, and with its WAL to that LSN or
    to all there is, on a new timeline. Base backups have no slots; a disk snapshot has."""
    server = fresh_postgres()
    shop = ready(make_shop(postgres=server))
    shop.insert(3)
    shop.drain()
    server.stop("fast")
    backup = server.copy_data()
    server.start()

    def restore(lsn=None, slots=False):
        server.stop("fast")
        archive = server.dir / "archive"
        subprocess.run(["cp", "-a", str(server.data / "pg_wal"), str(archive)], check=True)
        server.restore_data(backup)
        if not slots:
            subprocess.run(["find", str(server.data / "pg_replslot"), "-mindepth", "1", "-delete"], check=True)
        server.configure({"restore_command": f"cp {archive}/%f %p", "recovery_target_action": "promote",
                          **({"recovery_target_lsn": lsn} if lsn else {})})
        (server.data / "recovery.signal").touch()
        os.chmod(server.data / "recovery.signal", 0o666)
        server.start()
        system.wait_for(lambda: server.value("select pg_is_in_recovery()") == "f", 30, "promotion")
    return shop, restore


def lost_ids(run):
    return sorted(e["id"] for e in run.events if e["event"] == "relay.lost_event")


@pytest.mark.parametrize("slots", [False, True], ids=["base backup", "disk snapshot"])
def test_a_point_in_time_before_the_position(restorable, slots):
    shop, restore = restorable
    shop.insert(2)
    target = shop.postgres.value("select pg_current_wal_insert_lsn()")
    lost = shop.insert(4)
    shop.drain()
    restore(target, slots=slots)
    assert len(shop.outbox_ids()) == 5
    world = World(shop, slot=False)
    run = shop.start("relay")
    assert_refused(run, "4 events", codes=("timeline_diverged",))
    assert lost_ids(run) == sorted(lost)
    world.assert_unchanged()
    assert "# 4 events" in shop.run("status", "--lost").expect_exit(0).stdout.decode()


def test_all_was_recovered_but_the_slot(restorable):
    shop, restore = restorable
    shop.insert(4)
    shop.drain()
    restore()
    shop.insert(2)
    run = shop.start("relay")
    assert_refused(run, "promoted or restored", codes=("slot_missing",))
    assert lost_ids(run) == []
    assert "# none" in shop.run("status", "--lost").expect_exit(0).stdout.decode()
    assert shop.postgres.slot(shop.slot) is None


def reset_wal(server, *options):
    subprocess.run(system.shell_library(
        "postgres", f"postgres_as_user '{server.program('pg_resetwal')}' {' '.join(options)} -D '{server.data}'"),
        check=True, capture_output=True)


@pytest.mark.parametrize("running", [False, True], ids=["before the start", "running"])
def test_pg_resetwal(restorable, running):
    """The server has thrown its WAL away, what the slot was to send with it."""
    shop, _ = restorable
    server = shop.postgres
    if not server.program("pg_resetwal").exists():
        pytest.skip("servers of Maven Central come without pg_resetwal")
    relay = shop.relay() if running else None
    shop.insert(2)
    server.stop("immediate")
    reset_wal(server, "-f")
    server.start()
    if relay is None:
        relay = shop.start("relay")
    assert_refused(relay, "pg_resetwal", codes=("slot_invalidated",))
    assert_refused(shop.start("relay", "--until", "now"), "pg_resetwal", codes=("slot_invalidated",))
