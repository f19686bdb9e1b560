"""`walferry drop`: takes away what keeps an instance's place, and only when nobody is at work. Looked at with psql and kcat."""
import subprocess

import pytest

from harness import system
from integration_checks import ready, wait_records

KEPT = "select count(*)::int as rows from outbox"


def drop(shop, *args, confirm=None, **kwargs):
    return shop.run("drop", "--confirm", confirm or shop.name, *args, **kwargs)


def refused(run, code, *names):
    run.expect_exit(3)
    event = run.find("drop.refused", code=code)
    assert event and event["remedy"], run.log_tail()
    for name in names:
        assert str(name) in event["error"] + " " + event["remedy"], f"{name} is not named in {event}"
    assert run.stdout == b""
    return event


def parts(shop):
    """Which of the three are there."""
    publications = shop.query(f"select 1 from pg_publication where pubname = '{shop.publication}'")
    return {"slot": shop.postgres.slot(shop.slot) is not None, "publication": bool(publications),
            "position": f"walferry.position.{shop.name}" in shop.kafka.topics()}


NONE = {"slot": False, "publication": False, "position": False}


def everything(shop):
    return {"slot": True, "publication": shop.decoder == "pgoutput", "position": True}


@pytest.fixture
def gone(shop):
    """An instance that has published and was stopped."""
    ready(shop)
    shop.insert(3)
    shop.drain()
    return shop


# What goes and what stays


def test_slot_publication_and_position_go_and_all_that_holds_events_stays(make_shop):
    shop = make_shop(create_table=False)
    shop.init()
    ids = shop.insert(3)
    shop.drain()
    topics = set(shop.kafka.topics())
    run = drop(shop).expect_exit(0)
    assert parts(shop) == NONE
    assert topics - set(shop.kafka.topics()) == {f"walferry.position.{shop.name}"}
    assert shop.query(KEPT) == [{"rows": 3}] and sorted(shop.record_ids()) == sorted(ids)
    assert shop.psql("select count(*) from pg_proc where pronamespace = 'walferry'::regnamespace") == "2"
    out = run.stdout.decode()
    publication = f"ok  publication {shop.publication} dropped" if shop.decoder == "pgoutput" else "reads none"
    for line in (f"ok  slot {shop.slot} dropped", publication,
                 f"ok  topic walferry.position.{shop.name} deleted", "kept: table public.outbox", "kept: functions",
                 shop.quarantine_topic):
        assert line in out


def test_a_second_run_says_that_nothing_is_there(gone):
    drop(gone).expect_exit(0)
    again = drop(gone).expect_exit(0)
    assert again.stdout.decode().count("(is not there)") == (3 if gone.decoder == "pgoutput" else 2)
    assert parts(gone) == NONE


def test_an_instance_of_that_name_can_be_started_anew(gone):
    old = gone.record_ids()
    drop(gone).expect_exit(0)
    gone.insert(2)  # without a slot: never published
    gone.init()
    relay = gone.relay()
    new = gone.insert(3)
    wait_records(gone, 6)
    assert relay.terminate() == 0
    assert sorted(gone.record_ids()) == sorted(old + new)


@pytest.mark.parametrize("missing", ["slot", "publication", "position"])
def test_a_run_that_was_interrupted_is_finished_by_the_next(gone, missing):
    if missing == "slot":
        gone.postgres.drop_slot(gone.slot)
    elif missing == "publication":
        gone.psql(f"drop publication if exists {gone.publication}")
    else:
        gone.kafka.delete_topic(f"walferry.position.{gone.name}")
    run = drop(gone).expect_exit(0)
    assert parts(gone) == NONE
    absent = 0 if missing == "publication" and gone.decoder == "wal2json" else 1
    assert run.stdout.decode().count("(is not there)") == absent


@pytest.mark.parametrize("moment", ["relay.after_intent", "relay.after_slot_created", "relay.after_first_position"])
def test_an_instance_that_was_never_finished_can_be_dropped(shop, moment):
    assert shop.run("init", failpoint=f"{moment}=kill").exit_code == -9
    drop(shop).expect_exit(0)
    assert parts(shop) == NONE
    ready(shop)


def test_an_open_transaction_of_a_killed_instance_does_not_hold_it_up(gone):
    relay = gone.start("relay", failpoint="publisher.after_position=kill")
    relay.wait_streaming()
    gone.insert(2)
    assert relay.wait() == -9
    drop(gone, timeout=25).expect_exit(0)
    assert parts(gone) == NONE
    assert len(gone.record_ids()) == 3, "what it had not committed is aborted"


def test_another_name_than_the_configs_is_exit_2(gone):
    run = drop(gone, confirm="somebody").expect_exit(2)
    event = run.find("drop.failed")
    assert "somebody" in event["error"] and gone.name in event["error"]
    assert parts(gone) == everything(gone) and run.stdout == b""


# Somebody is at work


def test_a_running_instance_is_not_dropped(gone):
    relay = gone.relay()
    backend = relay.wait_streaming()["backend"]
    refused(drop(gone), "slot_active", gone.slot, backend, f"walferry/{gone.name}")
    assert parts(gone) == everything(gone) and relay.running and not relay.find("relay.recovering")
    gone.insert(1)
    wait_records(gone, 4)
    assert relay.terminate() == 0
    drop(gone).expect_exit(0)  # at once: its backends may still be about to end
    assert parts(gone) == NONE


def test_a_slot_that_somebody_else_reads_is_not_dropped(gone, tmp_path):
    bindir = gone.postgres.value("select setting from pg_config where name = 'BINDIR'")
    options = ["-o", "proto_version=1", "-o", f"publication_names={gone.publication}"] if gone.decoder == "pgoutput" else []
    reader = system.spawn([f"{bindir}/pg_recvlogical", "-d", gone.postgres.conninfo(gone.db) + " application_name=snoop",
                           "-S", gone.slot, "--start", "-f", str(tmp_path / "out"), *options],
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        system.wait_for(lambda: gone.postgres.slot(gone.slot)["active_pid"], 15, "the slot is held")
        refused(drop(gone), "slot_active", gone.slot, gone.postgres.slot(gone.slot)["active_pid"], "snoop")
        assert parts(gone) == everything(gone)
    finally:
        reader.kill()
        reader.wait()
        system.forget(reader)


def test_a_session_of_the_instance_that_waits_is_enough(gone):
    """A standby that would make slot and position again, here between two attempts: it has only its SQL connection."""
    with gone.postgres.session(gone.db) as standby:
        standby.run(f"set application_name = 'walferry/{gone.name}'")
        pid = standby.run("select pg_backend_pid()")
        refused(drop(gone), "instance_active", pid, gone.name)
        assert parts(gone) == everything(gone)
    drop(gone).expect_exit(0)


# What is not this instance's


@pytest.mark.parametrize("how", ["plugin", "physical"])
def test_a_slot_of_another_kind_stays(gone, how):
    gone.postgres.drop_slot(gone.slot)
    made = {"plugin": f"pg_create_logical_replication_slot('{gone.slot}', 'test_decoding')",
            "physical": f"pg_create_physical_replication_slot('{gone.slot}')"}[how]
    gone.psql(f"select {made}")
    refused(drop(gone), "slot_mismatch", gone.slot)
    assert parts(gone) == everything(gone)
    gone.postgres.drop_slot(gone.slot)


def test_a_slot_of_another_database_stays(gone, make_shop):
    other = make_shop()
    config = gone.changed(postgres={"conninfo": gone.postgres.conninfo(other.db)})
    refused(drop(gone, config=config), "slot_mismatch", gone.slot, gone.db)
    assert parts(gone) == everything(gone)


def test_a_position_of_another_database_stays(gone, make_shop):
    """The config has the right brokers and the wrong database, which even has a slot of its own."""
    other = ready(make_shop())
    config = gone.changed(postgres={"conninfo": gone.postgres.conninfo(other.db), "slot": other.slot,
                                    "publication": other.publication})
    refused(drop(gone, config=config), "instance_conflict", f"walferry.position.{gone.name}")
    assert parts(gone) == everything(gone) and parts(other) == everything(other)


def test_a_position_of_another_cluster_stays(gone, fresh_postgres, make_shop):
    elsewhere = make_shop(postgres=fresh_postgres(), name=gone.name)
    refused(drop(elsewhere), "cluster_changed", f"walferry.position.{gone.name}")
    assert parts(gone) == everything(gone)


@pytest.mark.decoder("pgoutput")
def test_without_its_rights_the_publication_stays_and_who_can_drop_it_is_named(gone):
    role = f"r_{gone.name}"
    gone.psql(f"create role {role} login replication")
    config = gone.changed(postgres={"conninfo": gone.postgres.conninfo(gone.db, user=role)})
    try:
        run = drop(gone, config=config).expect_exit(2)
        event = run.find("drop.failed")
        assert gone.publication in event["error"] and "postgres" in event["error"]
        assert parts(gone) == {**NONE, "publication": True}
        sql = event["remedy"].partition(": ")[2]
        gone.psql(sql)
        drop(gone, config=config).expect_exit(0)
        assert parts(gone) == NONE
    finally:
        gone.psql(f"drop role {role}")


# Servers that are away


def test_without_kafka_the_slot_goes_and_the_rest_is_finished_later(gone):
    nobody, = system.free_ports(1)
    run = drop(gone, config=gone.changed(kafka={"brokers": f"127.0.0.1:{nobody}"}), timeout=40).expect_exit(1)
    event = run.find("drop.failed")
    assert f"walferry.position.{gone.name} remains" in event["error"] and "again" in event["remedy"]
    assert parts(gone) == {**NONE, "position": True}
    assert b"remains" in run.stdout
    gone.run("relay", timeout=60).expect_exit(3)  # the position keeps it from being made anew
    drop(gone).expect_exit(0)
    assert parts(gone) == NONE


def test_without_postgres_nothing_is_removed(gone):
    nobody, = system.free_ports(1)
    config = gone.changed(postgres={"conninfo": gone.postgres.conninfo(gone.db, port=nobody)})
    assert drop(gone, config=config, timeout=40).expect_exit(1).stdout == b""
    assert parts(gone) == everything(gone)
