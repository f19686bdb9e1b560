"""What a refusal tells to do is typed as it stands, and then the relay goes on. What each means for the events is
test_refusals.py's, test_position.py's and the runbook's matter."""
import argparse
import json
import os
import re
import shlex
import subprocess
import time

import pytest

from harness import system, walferry
from harness.servers import lsn_text
from integration_checks import ready, wait_records
from test_refusals import damage_publication, image, move_wal_beyond, with_history  # noqa: F401 - image is a fixture

pytestmark = pytest.mark.decoder("pgoutput")


def refused(run, code):
    """The event of a command that was refused so, once it points to the page too."""
    run.expect_exit(3)
    event = next(e for e in run.events if e["event"].endswith(".refused"))
    assert event["code"] == code and event["page"] == f"walferry explain {code}", event
    typed(None, event["page"])
    return event


def typed(shop, command, code=0):
    """On a terminal: with the walferry that is tested, Kafka's brokers, and whatever folder one is in."""
    path = os.path.dirname(os.path.abspath(walferry.binary())) + ":" + os.environ["PATH"]
    done = subprocess.run(["bash", "-c", command], cwd="/", env=os.environ | {"PATH": path}, timeout=120, text=True,
                          capture_output=True)
    assert done.returncode == code, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(event):
    return re.findall(r"`(walferry [^`]*)`", event["remedy"])


def the(event, words):
    """The first command of the remedy that has these words."""
    return next(c for c in commands(event) if words in c)


def goes_on(shop):
    ids = set(shop.insert(2))
    shop.drain()
    assert ids <= set(shop.record_ids())


def keep(shop):
    shop.config["postgres"]["replay"] = {"keep": "24h"}
    shop.init()
    return shop


@pytest.mark.parametrize("held_back", [True, False])
def test_slot_missing(shop, held_back):
    with_history(keep(shop) if held_back else shop)
    shop.postgres.drop_slot(shop.slot)
    event = refused(shop.run(), "slot_missing")
    if not held_back:
        refused(shop.run("init"), "slot_missing")
        typed(shop, the(event, "set new"))
    typed(shop, the(event, "init"))
    goes_on(shop)


def test_slot_unknown_and_position_missing(shop):
    with_history(keep(shop))
    shop.kafka.delete_topic("walferry.position." + shop.name)
    system.wait_for(lambda: "walferry.position." + shop.name not in shop.kafka.topics(), 15, "the topic gone")
    event = refused(shop.run("replay", "--from", "1d"), "position_missing")
    typed(shop, the(event, "relay"), code=3)
    typed(shop, the(refused(shop.run(), "slot_unknown"), "position"))
    goes_on(shop)
    shop.run("replay", "--from", shop.position()["commit_lsn"], "--dry-run").expect_exit(0)


def test_slot_advanced(shop):
    with_history(shop)
    shop.insert(1)
    shop.psql(f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_flush_lsn())")
    typed(shop, the(refused(shop.run(), "slot_advanced"), "set"))
    goes_on(shop)


@pytest.mark.parametrize("held_back", [True, False])
def test_slot_invalidated(fresh_postgres, make_shop, held_back):
    server = fresh_postgres({"max_slot_wal_keep_size": "1MB"})
    shop = make_shop(postgres=server)
    with_history(keep(shop) if held_back else shop)
    for _ in range(4):
        shop.psql("create table if not exists t (n int); insert into t values (1); select pg_switch_wal()")
    shop.psql("checkpoint")
    system.wait_for(lambda: server.slot(shop.slot)["wal_status"] == "lost", 20, "slot lost")
    event = refused(shop.run(), "slot_invalidated")
    shop.psql(re.search(r"SELECT pg_drop_replication_slot\('\w+'\)", event["remedy"])[0])
    if held_back:  # it is lost too: that is told, and how it goes on without
        again = refused(shop.run("init"), "slot_missing")
        assert commands(again)[-1] == commands(event)[2], (again, event)
    typed(shop, the(event, "set new"))
    typed(shop, commands(event)[2])
    goes_on(shop)


def test_server_behind(image):  # noqa: F811
    shop, restore = image
    shop.insert(5)
    shop.drain()
    restore()
    event = refused(shop.run(), "server_behind")
    lost = typed(shop, re.search(r"`(walferry status [^`]*)`", event["error"])[1])
    assert "# 5 events" in lost
    typed(shop, the(event, "set"))
    goes_on(shop)


def test_timeline_diverged(image):  # noqa: F811
    shop, restore = image
    shop.insert(5)
    shop.drain()
    restore(promote=True)
    shop.insert(2)
    move_wal_beyond(shop, shop.postgres.flush_lsn() + (32 << 20))
    typed(shop, the(refused(shop.run(), "timeline_diverged"), "set"))
    goes_on(shop)


def test_history_rewritten(image):  # noqa: F811
    shop, restore = image
    shop.insert(5)
    shop.drain()
    end = shop.postgres.flush_lsn()
    restore()
    shop.insert(2)
    move_wal_beyond(shop, end)
    event = refused(shop.run("relay", "--until", "now"), "history_rewritten")
    typed(shop, the(event, "set").replace("LSN", slot_at(typed(shop, the(event, "show")))))
    goes_on(shop)


@pytest.mark.parametrize("by", ["init", "hand"])
def test_publication_changed(shop, by):
    """Rows of the time without a publication are not sent; up to Postgres 17 the server does not even pass them over."""
    with_history(shop)
    damage_publication(shop, "dropped")
    event = refused(shop.run(), "publication_missing")
    missed = set(shop.insert(2))
    if by == "init":
        typed(shop, the(event, "init"))
    else:
        shop.psql(f"create publication {shop.publication} for table outbox "
                  "with (publish = 'insert', publish_via_partition_root = true)")
    # whether the server ends the stream first, or the relay has compared the publications
    for _ in range(2):
        again = shop.run("relay", "--until", "now")
        if again.exit_code == 3:
            typed(shop, the(again.refusal, "set"))
    assert again.exit_code == 0 or again.refusal["code"] == "publication_missing"
    goes_on(shop)
    shop.assert_exactly_once(shop.outbox_ids() - missed)


def test_publication_missing_while_it_streams(shop):
    """The server gets to the time without only once the relay streams: it is told from where to go on all the same."""
    with_history(shop)
    with shop.relay() as relay:
        shop.psql(f"begin; drop publication {shop.publication}; insert into outbox (aggregatetype, aggregateid, type, payload) "
                  f"values ('orders', 'k', 'Lost', '{{}}'); create publication {shop.publication} for table outbox "
                  "with (publish = 'insert', publish_via_partition_root = true); commit")
        relay.expect_exit(3, 30)
        typed(shop, the(relay.refusal, "set"))
    goes_on(shop)


def test_publication_incomplete(shop):
    shop.psql(f"create publication {shop.publication} for table outbox where (type <> 'x') with (publish_via_partition_root)")
    event = refused(shop.run(), "publication_incomplete")
    shop.psql(re.search(r"ALTER PUBLICATION .*", event["remedy"])[0])
    shop.drain()  # makes the slot
    goes_on(shop)


def test_snapshot_lost(shop):
    ids = set(shop.insert(4))
    shop.run("init", "--snapshot").expect_exit(0)
    shop.run("relay", "--snapshot", failpoint="relay.after_work_list=kill")
    shop.run("relay", "--snapshot", failpoint="publisher.after_commit=kill@2")
    shop.psql("select format('drop table %s', oid::regclass) from pg_class where relname like 'snapshot\\_%' and relkind = 'r' \\gexec")
    event = refused(shop.run(), "snapshot_lost")
    for command in commands(event):
        typed(shop, command + (" --until now" if " relay " in command else ""))
    goes_on(shop)
    assert ids <= set(shop.record_ids())


def test_snapshot_too_late(shop):
    ids = set(shop.insert(3))
    shop.init()
    event = refused(shop.run("relay", "--snapshot"), "snapshot_too_late")
    for command in commands(event):
        typed(shop, command + (" --until now" if " relay " in command else ""))
    goes_on(shop)
    assert ids <= set(shop.record_ids())


def test_the_slot_of_a_half_published_snapshot(shop):
    ids = set(shop.insert(4))
    shop.run("init", "--snapshot").expect_exit(0)
    shop.run("relay", "--snapshot", failpoint="relay.after_work_list=kill")
    shop.run("relay", "--snapshot", failpoint="publisher.after_commit=kill@2")
    shop.postgres.drop_slot(shop.slot)
    event = refused(shop.run(), "slot_missing")
    for command in commands(event)[1:]:  # the first is for a held-back slot
        typed(shop, command + (" --until now" if " relay " in command else ""))
    goes_on(shop)
    assert ids <= set(shop.record_ids())


def test_replay_too_old(shop):
    with_history(keep(shop))
    shop.psql(f"select pg_replication_slot_advance('{shop.slot}_replay', '{lsn_text(shop.confirmed_flush())}')")
    shop.insert(2)
    shop.drain()
    event = refused(shop.run("replay", "--from", "0/1"), "replay_too_old")
    typed(shop, the(event, "replay"))
    assert len(shop.record_ids()) == 7


def with_kafkas_tools(shop, event):
    """The command of the remedy that is one of Kafka's scripts. (What kafka-topics.sh calls is not in Maven's jars: done by hand.)"""
    command = re.search(r"kafka-\w+\.sh [^;)]*", event["remedy"])[0].replace("$KAFKA_BROKERS", shop.kafka.brokers)
    script, *arguments = shlex.split(command)
    if script == "kafka-configs.sh":
        shop.kafka.tool("kafka.admin.ConfigCommand", *arguments)
        return
    options = argparse.ArgumentParser(exit_on_error=False)
    for flag in ("--create", "--alter"):
        options.add_argument(flag, action="store_true")
    for option in ("--bootstrap-server", "--topic", "--partitions"):
        options.add_argument(option)
    asked = options.parse_args(arguments)
    if asked.create:
        shop.kafka.create_topic(asked.topic)
    else:
        shop.kafka.add_partitions(asked.topic, int(asked.partitions))


def test_topics_that_are_not_as_they_have_to_be(shop):
    with_history(shop)
    shop.kafka.set_topic_config(f"walferry.position.{shop.name}", cleanup_policy="delete")
    with_kafkas_tools(shop, refused(shop.run(), "position_topic_invalid"))
    goes_on(shop)
    shop.kafka.delete_topic(shop.topic())
    shop.kafka.create_topic(shop.topic(), 1)
    shop.insert(1)
    with_kafkas_tools(shop, refused(shop.run(), "partitions_shrunk"))
    goes_on(shop)
    shop.config["kafka"]["topics"]["create"] = False
    shop.insert(1, aggregate="payments")
    with_kafkas_tools(shop, refused(shop.run(), "topic_missing"))
    goes_on(shop)


def slot_at(shown):
    """Where `position show` says that the slot stands."""
    return re.search(r"^slot .* at (\S+),", shown, re.M)[1]


def test_position_unreadable(shop):
    with_history(keep(shop))
    for key in ("current", time.strftime("at/%Y-%m-%dT%H:%MZ", time.gmtime())):  # as a newer version leaves them
        shop.kafka.produce(f"walferry.position.{shop.name}", '{"format": 999}', key=key)
    event = refused(shop.run(), "position_unreadable")
    shown = typed(shop, the(event, "show"))
    assert "position_unreadable" in shown
    assert json.loads(shop.run("position", "show", "--json").expect_exit(0).stdout)["position"]["state"] == "unreadable"
    typed(shop, the(event, "set").replace("LSN", slot_at(shown)))
    goes_on(shop)
    typed(shop, the(event, "show"))
    shop.run("position", "history").expect_exit(0)


@pytest.mark.parametrize("how", ["another slot", "another cluster", "another plugin"])
def test_what_the_position_does_not_fit(shop, fresh_postgres, make_shop, how):
    with_history(shop)
    if how == "another slot":
        shop.postgres.drop_slot(shop.slot)
        shop.config["postgres"]["slot"] = shop.slot = shop.slot + "_b"
        shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')")
        event = refused(shop.run(), "instance_conflict")
    elif how == "another cluster":
        shop = make_shop(postgres=fresh_postgres(), name=shop.name)
        shop.config["postgres"]["create"] = True
        event = refused(shop.run(), "cluster_changed")
    else:
        shop.postgres.drop_slot(shop.slot)
        shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', 'test_decoding')")
        event = refused(shop.run(), "slot_mismatch")
        shop.psql(re.search(r"SELECT pg_drop_replication_slot\('\w+'\)", event["remedy"])[0])
        event = refused(shop.run(), "slot_missing")
    for command in commands(event)[-2 if "set new" in event["remedy"] else -1:]:
        typed(shop, command)
    goes_on(shop)


def test_drop_is_done_once_nobody_is_at_work(shop):
    ready(shop)
    relay = shop.relay()
    shop.insert(1)
    wait_records(shop, 1)
    event = refused(shop.run("drop", "--confirm", shop.name), "slot_active")
    assert relay.terminate() == 0
    typed(shop, the(event, "drop"))
    assert shop.postgres.slot(shop.slot) is None
