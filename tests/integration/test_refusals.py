"""No guessing: each doubt about slot, publication, cluster or position ends the run with exit 3,
with nothing published, and with words that name the thing and what can be done. Nothing is repaired silently either:
every instance here may create what is missing (`create: true`) and must not."""
import json
import os
import time

import pytest

from harness import system
from harness.servers import lsn_number
from harness.shop import OUTBOX_SQL
from integration_checks import (World, assert_ack_behind_position, assert_refused, position_lsn, ready, wait_acked,
                                wait_records)


def with_history(shop):
    """An instance that has published and stopped, so that there is something to compare with."""
    ready(shop)
    shop.insert(3)
    shop.drain()
    shop.assert_exactly_once()
    return shop


def refuse(shop, *names, codes=(), args=(), slot=True, strict=True, **kwargs):
    """One start that has to be refused; the world stays as it is."""
    world = World(shop, slot)
    event = assert_refused(shop.run("relay", *args, timeout=60, **kwargs), *names, codes=codes)
    world.assert_unchanged() if strict else world.assert_nothing_published()
    return event


def repeatedly(postgres, db, sql, timeout=20):
    """Until the statement succeeds: a walsender that was told to end may hold its slot for a moment."""
    def done():
        try:
            postgres.psql(sql, db)
            return True
        except Exception:
            return False
    system.wait_for(done, timeout, sql)


# The slot


def test_a_dropped_slot(shop):
    with_history(shop)
    shop.postgres.drop_slot(shop.slot)
    shop.insert(2)
    refuse(shop, shop.slot, codes=("slot_missing",), slot=False)
    assert shop.postgres.slot(shop.slot) is None, "a new slot would hide the gap"
    refuse(shop, shop.slot, args=("--until", "now"), slot=False)


def test_a_dropped_slot_is_not_made_by_init_either(shop):
    with_history(shop)
    shop.postgres.drop_slot(shop.slot)
    shop.run("init").expect_exit(3)
    assert shop.postgres.slot(shop.slot) is None


@pytest.mark.parametrize("rows_between", [0, 3])
def test_a_recreated_slot(shop, rows_between):
    with_history(shop)
    shop.postgres.drop_slot(shop.slot)
    if rows_between:
        shop.insert(rows_between)
    shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}')")
    shop.insert(1)
    refuse(shop, shop.slot, codes=("slot_advanced",))


@pytest.mark.parametrize("how", ["plugin", "two_phase", "physical"])
def test_a_slot_of_another_kind(shop, how):
    with_history(shop)
    shop.postgres.drop_slot(shop.slot)
    shop.psql({"plugin": f"select pg_create_logical_replication_slot('{shop.slot}', 'test_decoding')",
               "two_phase": f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}', false, true)",
               "physical": f"select pg_create_physical_replication_slot('{shop.slot}', true)"}[how])
    shop.insert(1)
    refuse(shop, shop.slot)


def test_an_advanced_slot(shop):
    with_history(shop)
    shop.insert(2)
    shop.psql(f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())")
    shop.insert(1)
    refuse(shop, shop.slot, codes=("slot_advanced",))
    refuse(shop, shop.slot, codes=("slot_advanced",))  # and again: it learnt nothing from the first time


def test_a_slot_advanced_by_somebody_while_running(shop):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    world = World(shop)
    relay.sigstop()
    shop.postgres.terminate_slot_user(shop.slot)
    system.wait_for(lambda: not shop.postgres.slot(shop.slot)["active"], 20, "slot released")
    shop.insert(2)  # so that nothing of them was sent
    repeatedly(shop.postgres, shop.db, f"select pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())")
    relay.sigcont()
    assert_refused(relay, shop.slot, codes=("slot_advanced",))
    world.assert_nothing_published()


def test_a_slot_dropped_while_running(shop):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    shop.postgres.drop_slot(shop.slot)
    assert_refused(relay, shop.slot, codes=("slot_missing",))
    assert shop.postgres.slot(shop.slot) is None
    shop.assert_exactly_once()


def test_an_invalidated_slot(fresh_postgres, make_shop):
    server = fresh_postgres({"max_slot_wal_keep_size": "1MB"})
    shop = with_history(make_shop(postgres=server))
    shop.insert(2)
    for _ in range(4):
        shop.psql("create table if not exists t (n int); insert into t values (1); select pg_switch_wal()")
    shop.psql("checkpoint")
    system.wait_for(lambda: server.slot(shop.slot)["wal_status"] == "lost", 20, "slot lost")
    refuse(shop, shop.slot, codes=("slot_invalidated",))


# The server


def test_a_server_without_logical_wal(fresh_postgres, make_shop):
    shop = make_shop(postgres=fresh_postgres({"wal_level": "replica"}))
    assert_refused(shop.run("relay"), "wal_level")


@pytest.mark.parametrize("libraries", ["test_decoding", '"pgoutput, test_decoding, wal2json"'], ids=["left out", "one string"])
def test_a_server_that_does_not_load_the_decoder(fresh_postgres, make_shop, libraries):
    server = fresh_postgres()
    if not server.value("select count(*) from pg_settings where name = 'output_plugin_libraries'") == "1":
        pytest.skip("this Postgres loads any output plugin")
    shop = with_history(make_shop(postgres=server))
    server.configure({"output_plugin_libraries": libraries})
    server.reload()
    system.wait_for(lambda: server.value("show output_plugin_libraries") == libraries, 10, "reload")
    shop.insert(1)
    refuse(shop, "output_plugin_libraries", shop.decoder, codes=("plugin_not_allowed",))


# The publication


def damage_publication(shop, how):
    name, table = shop.publication, "public.outbox"
    publish = "with (publish = 'insert', publish_via_partition_root = true)"
    shop.psql({
        "dropped": f"drop publication {name}",
        "recreated": f"drop publication {name}; create publication {name} for table {table} {publish}",
        "table removed": f"create table other (n int); alter publication {name} add table other; "
                         f"alter publication {name} drop table {table}",
        "table removed and added": f"alter publication {name} drop table {table}",
        "no inserts": f"alter publication {name} set (publish = 'update, delete')",
        "row filter": f"alter publication {name} set table {table} where (type <> 'x')",
        "column list": f"alter publication {name} set table {table} (id, type)",
    }[how])
    if how == "table removed and added":
        shop.insert(2)  # lost for decoding, for ever
        shop.psql(f"alter publication {name} add table {table}")


EVERY_DAMAGE = ["dropped", "recreated", "table removed", "table removed and added", "no inserts", "row filter", "column list"]


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_publication_changed_before_the_start(shop, how):
    with_history(shop)
    damage_publication(shop, how)
    shop.insert(1)
    refuse(shop, shop.publication)
    damaged = shop.query("select oid, * from pg_publication")
    refuse(shop, shop.publication, args=("--until", "now"))
    assert shop.query("select oid, * from pg_publication") == damaged, "it was repaired silently"


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_publication_changed_while_it_runs(shop, how):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    world = World(shop)
    damage_publication(shop, how)
    if how in ("dropped", "table removed"):
        shop.insert(2)  # the server sends nothing of these
    assert_refused(relay, shop.publication, timeout=30)
    world.assert_nothing_published()
    assert_refused(shop.run("relay"), shop.publication)
    world.assert_nothing_published()


@pytest.mark.decoder("pgoutput")
def test_rows_committed_while_the_publication_was_missing(shop):
    """Up to Postgres 17 the server ends the stream at the first of them, as soon as it has begun."""
    with_history(shop)
    damage_publication(shop, "dropped")
    missed = shop.insert(2)
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert', publish_via_partition_root = true)")
    for _ in range(2):
        refused = refuse(shop, shop.publication, codes=("publication_missing", "publication_changed"))
        assert " set " in refused["remedy"] and f"--confirm {shop.name}`" in refused["remedy"]
    behind = shop.postgres.value("select pg_current_wal_flush_lsn()")
    shop.run("position", "set", behind, "--confirm", shop.name).expect_exit(0)
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() - set(missed))


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("publication, codes", [
    ("for table other", ("publication_incomplete",)),
    ("for table outbox (id, type)", ("publication_incomplete", "column_missing")),
    ("for table outbox where (type = 'x')", ("publication_incomplete",)),
    ("for table outbox with (publish = 'delete')", ("publication_incomplete",))])
def test_a_publication_that_does_not_suffice_at_the_first_start(shop, publication, codes):
    shop.psql(f"create table other (n int primary key); alter table outbox drop constraint outbox_pkey;"
              f"create publication {shop.publication} {publication}")
    assert_refused(shop.run("relay"), shop.publication, codes=codes)
    assert shop.postgres.slot(shop.slot) is None and shop.position() is None


@pytest.mark.decoder("pgoutput")
def test_no_publication_and_no_leave_to_create_one(shop):
    shop.config["postgres"]["create"] = False
    assert_refused(shop.run("relay"), shop.publication, codes=("publication_missing", "slot_missing"))
    assert not shop.query("select * from pg_publication")
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert')")
    assert_refused(shop.run("relay"), shop.slot, codes=("slot_missing",))
    assert shop.postgres.slot(shop.slot) is None


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("running", [False, True], ids=["before the start", "running"])
def test_a_partitioned_outbox_no_longer_published_by_its_root(make_shop, running):
    """Rows would come under the names of partitions that no config names."""
    shop = make_shop(create_table=False)
    shop.psql("create table outbox (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text, "
              "payload jsonb) partition by list (type); create table outbox_1 partition of outbox default")
    run = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    if not running:
        assert run.terminate() == 0
    shop.psql(f"alter publication {shop.publication} set (publish_via_partition_root = false)")
    shop.insert(2)
    run = run if running else shop.start("relay")
    assert_refused(run, shop.publication, timeout=30)


@pytest.mark.decoder("pgoutput")
def test_a_column_list_that_has_all_that_is_needed_suffices(shop):
    shop.psql("alter table outbox add column secret text")
    shop.psql(f"create publication {shop.publication} for table outbox (id, aggregatetype, aggregateid, type, payload) "
              "with (publish = 'insert')")
    with_history(shop)


# The table


def test_a_missing_table(make_shop):
    shop = make_shop(create_table=False)
    assert_refused(shop.run("relay"), "public.outbox", codes=("table_missing",))
    assert shop.postgres.slot(shop.slot) is None


def test_an_unlogged_table(make_shop):
    shop = make_shop(create_table=False)
    shop.psql("create unlogged table outbox (id uuid primary key, aggregatetype text, aggregateid text, type text, "
              "payload jsonb)")
    assert_refused(shop.run("relay"), "public.outbox")


def test_a_required_column_that_the_table_never_had(shop):
    shop.config["relay"]["tables"][0]["columns"]["tenant_id"] = "tenant"
    assert_refused(shop.run("relay"), "tenant", "public.outbox", codes=("column_missing",))


@pytest.mark.parametrize("column", ["aggregateid", "payload", "tenant"])
def test_a_required_column_dropped_mid_stream(shop, column):
    shop.psql("alter table outbox add column tenant text")
    shop.config["relay"]["tables"][0]["columns"]["tenant_id"] = "tenant"
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    world = World(shop)
    before = lsn_number(shop.psql("select pg_current_wal_insert_lsn()"))
    shop.psql(f"alter table outbox drop column {column}")
    others = [c for c in ("aggregatetype", "aggregateid", "type", "payload") if c != column]
    shop.psql(f"insert into outbox ({', '.join(others)}) values ({', '.join(['$$1$$'] * len(others))})")
    assert_refused(relay, column, "public.outbox", codes=("column_missing",))
    world.assert_nothing_published()
    assert_refused(shop.run("relay"), column, "public.outbox")
    world.assert_nothing_published()
    row = shop.postgres.slot(shop.slot)
    assert lsn_number(row["confirmed_flush_lsn"]) <= max(before, position_lsn(shop))


def test_the_table_dropped_mid_stream(shop):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    shop.psql("drop table outbox")
    assert_refused(relay, "outbox", timeout=30)
    shop.create_table()  # another table of the same name
    assert_refused(shop.run("relay"), "outbox")


@pytest.mark.parametrize("running", [False, True], ids=["before the start", "running"])
def test_the_table_dropped_and_created_again(shop, running):
    run = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    if not running:
        assert run.terminate() == 0
    shop.psql(f"begin; drop table outbox; {OUTBOX_SQL.format(table='outbox')} commit")
    run = run if running else shop.start("relay")
    assert_refused(run, "public.outbox", codes=("publication_changed", "table_changed"), timeout=30)


@pytest.mark.decoder("wal2json")
def test_no_slot_and_no_leave_to_create_one(shop):
    """There is no publication to miss, and none is made."""
    shop.config["postgres"]["create"] = False
    assert_refused(shop.run("relay"), shop.slot, codes=("slot_missing",))
    assert shop.postgres.slot(shop.slot) is None
    shop.init()
    assert not shop.query("select * from pg_publication")
    shop.insert(2)
    shop.drain()
    shop.assert_exactly_once()


def test_another_decoder_than_before(shop):
    """The positions of the two are not each other's: the slot says whose it is."""
    with_history(shop)
    other = "wal2json" if shop.decoder == "pgoutput" else "pgoutput"
    shop.config["postgres"]["decoder"] = other
    shop.insert(1)
    event = refuse(shop, shop.slot, shop.decoder, other, codes=("slot_mismatch",))
    assert f"postgres.decoder: {shop.decoder}" in event["remedy"]


@pytest.mark.decoder("wal2json")
def test_a_database_that_is_not_in_utf_8(shop):
    """wal2json sends the database's bytes as they are."""
    db = shop.name + "_latin"
    shop.postgres.psql(f"create database {db} encoding 'LATIN1' template template0 locale 'C'")
    shop.config["postgres"]["conninfo"] = shop.postgres.conninfo(db)
    try:
        assert_refused(shop.run("relay"), "LATIN1", "pgoutput", codes=("server_encoding",))
        assert shop.postgres.slot(shop.slot) is None
    finally:
        shop.postgres.drop_database(db)


# The cluster and the database


def test_another_cluster_with_the_same_names(shop, fresh_postgres, make_shop):
    with_history(shop)
    other = make_shop(postgres=fresh_postgres(), name=shop.name)
    other.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert'); "
               f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}')")
    other.insert(2)
    refuse(other, codes=("cluster_changed",))
    shop.insert(1)
    shop.drain()  # the first one's position is as good as before
    shop.assert_exactly_once()


def test_another_cluster_without_a_slot(shop, fresh_postgres, make_shop):
    with_history(shop)
    other = make_shop(postgres=fresh_postgres(), name=shop.name)
    refuse(other, codes=("cluster_changed", "slot_missing"), slot=False)
    assert other.postgres.slot(shop.slot) is None


def test_the_same_name_on_two_databases_of_a_cluster(shop, make_shop):
    with_history(shop)
    other = make_shop()
    other.config["name"], other.name = shop.name, shop.name
    other.config["postgres"] |= {"slot": shop.slot, "publication": shop.publication}
    other.slot, other.publication = shop.slot, shop.publication
    other.insert(2)
    refuse(other, shop.slot)
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once()


def test_the_same_name_with_a_slot_of_its_own_while_the_first_one_runs(shop, make_shop):
    relay = shop.relay()
    shop.insert(2)
    wait_records(shop, 2)
    other = make_shop()
    other.config["name"] = shop.name  # slot and publication keep their other names
    other.insert(2)
    assert_refused(other.run("relay", timeout=60), codes=("instance_conflict", "database_changed", "slot_mismatch"))
    assert other.postgres.slot(other.slot) is None
    shop.insert(3)
    wait_records(shop, 5)
    assert relay.terminate() == 0
    shop.assert_exactly_once()


def test_another_slot_for_the_same_name_and_database(shop):
    with_history(shop)
    shop.insert(2)
    config = shop.changed(postgres={"slot": "walferry_another"})
    try:
        refuse(shop, "walferry_another", config=config)
        assert shop.postgres.slot("walferry_another") is None
    finally:
        shop.postgres.drop_slot("walferry_another")


# A disk image from the past


def take_image(server, shop, persisted):
    """(shop, restore): the disk as it is now; what comes after is lost with restore(). persisted: the slot is on it as
    Kafka has acked it; otherwise, since Postgres writes slots rarely, as it was long before. (From 17 on, an orderly
    shutdown writes them too.)"""
    with_history(shop)
    for _ in range(5 if persisted else 0):
        server.value("checkpoint")  # its record of running transactions lets the slot forget WAL, and then it is written
        shop.drain()
    server.stop("fast" if persisted else "immediate")
    taken = server.copy_data()
    server.start()
    on_disk, commit = shop.confirmed_flush(), lsn_number(shop.position()["commit_lsn"])
    assert on_disk > commit if persisted else on_disk <= commit

    def restore(mode="fast", promote=False):
        if server.running:
            server.stop(mode)
        server.restore_data(taken)
        if promote:
            (server.data / "recovery.signal").touch()
            os.chmod(server.data / "recovery.signal", 0o666)
            server.configure({"restore_command": "false"})
        server.start()
        if promote:
            system.wait_for(lambda: server.value("select pg_is_in_recovery()") == "f", 30, "promotion")
    return shop, restore


@pytest.fixture
def image(fresh_postgres, make_shop):
    server = fresh_postgres()
    return take_image(server, make_shop(postgres=server), persisted=False)


@pytest.fixture
def persisted_image(fresh_postgres, make_shop):
    server = fresh_postgres()
    return take_image(server, make_shop(postgres=server), persisted=True)


def move_wal_beyond(shop, lsn):
    shop.psql("create table if not exists filler (n int)")
    while shop.postgres.flush_lsn() <= lsn:
        shop.psql("insert into filler values (1); select pg_switch_wal()")


def test_a_rolled_back_image_whose_wal_is_behind_the_position(image):
    shop, restore = image
    shop.insert(5)
    shop.drain()
    assert len(shop.record_ids()) == 8
    restore()
    refuse(shop, codes=("server_behind", "history_rewritten"))


def test_a_rolled_back_image_under_a_running_relay(image):
    shop, restore = image
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 8)
    wait_acked(shop, shop.postgres.flush_lsn())
    world = World(shop)
    restore(mode="immediate")
    before = shop.postgres.slot(shop.slot)["confirmed_flush_lsn"]
    assert_refused(relay, codes=("server_behind", "history_rewritten"))
    world.assert_nothing_published()
    assert shop.postgres.slot(shop.slot)["confirmed_flush_lsn"] == before


@pytest.mark.parametrize("slot_as_of", ["image", "persisted_image"])
def test_a_rolled_back_image_that_has_written_another_history(slot_as_of, request, decoder):
    shop, restore = request.getfixturevalue(slot_as_of)
    shop.insert(5)
    shop.drain()
    end = position_lsn(shop)
    restore()
    shop.insert(2)  # where the five were; never published, and covered if one only looked at numbers
    move_wal_beyond(shop, end)
    shop.insert(2)
    refuse(shop, codes=("history_rewritten",))
    refuse(shop, codes=("history_rewritten",), args=("--until", "now"))


def test_a_rolled_back_image_whose_other_history_is_silent(image):
    """No transaction for us at all in the new history: the one that must come again does not."""
    shop, restore = image
    shop.insert(5)
    shop.drain()
    end = position_lsn(shop)
    restore()
    move_wal_beyond(shop, end)
    world = World(shop)
    run = shop.start("relay")
    move_wal_beyond(shop, shop.postgres.flush_lsn())
    assert_refused(run, codes=("history_rewritten",))
    world.assert_unchanged()


def test_rows_in_the_place_of_lost_idle_progress_are_not_acked_unpublished(persisted_image):
    """Only idle progress was lost with the image, and rows now stand where it was. Refusing is right, publishing them is
    right; acking them by the old position before they are published is not."""
    shop, restore = persisted_image
    move_wal_beyond(shop, shop.postgres.flush_lsn() + (32 << 20))
    shop.drain()
    end = position_lsn(shop)
    restore()
    shop.insert(2)
    rows_end = shop.postgres.flush_lsn()
    assert rows_end < end
    move_wal_beyond(shop, end)
    shop.config["kafka"]["brokers"] = shop.kafka.proxy_brokers
    shop.kafka.proxy.hold_next("produce", cut=False)  # the broker never gets what is to be published
    run = shop.start("relay")
    try:
        time.sleep(5)
        if run.running:
            assert shop.confirmed_flush() < rows_end, "acked, and not in Kafka"
            run.kill9()
            shop.kafka.proxy.heal()
            shop.drain()
            shop.assert_exactly_once()
        else:
            assert_refused(run)
    finally:
        shop.kafka.proxy.heal()


def test_a_new_timeline_that_holds_our_position_is_gone_on_with(persisted_image):
    shop, restore = persisted_image
    before = shop.outbox_ids()
    restore(promote=True)
    assert shop.postgres.value("select timeline_id from pg_control_checkpoint()") == "2" or \
        shop.psql("checkpoint; select timeline_id from pg_control_checkpoint()") == "2"
    assert shop.outbox_ids() == before
    shop.insert(3)
    shop.drain()
    shop.assert_exactly_once()
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once()


def test_a_new_timeline_that_left_our_position_behind(image):
    shop, restore = image
    shop.insert(5)
    shop.drain()
    end = position_lsn(shop)
    restore(promote=True)
    refuse(shop, codes=("timeline_diverged", "server_behind"))
    shop.insert(2)
    move_wal_beyond(shop, end)
    refuse(shop, codes=("timeline_diverged",))


def test_idle_progress_beyond_the_end_of_its_timeline_is_cut_back(persisted_image):
    shop, restore = persisted_image
    move_wal_beyond(shop, shop.postgres.flush_lsn() + (32 << 20))
    shop.drain()
    end = position_lsn(shop)
    restore(promote=True)
    shop.insert(2)
    assert shop.postgres.flush_lsn() < end
    relay = shop.relay()
    wait_records(shop, 5)
    shop.insert(1)
    wait_records(shop, 6)
    assert relay.terminate() == 0
    shop.assert_exactly_once()


# The position


def lose_position(shop, how):
    topic = f"walferry.position.{shop.name}"
    if how == "topic deleted":
        shop.kafka.delete_topic(topic)
    elif how == "tombstone":
        shop.kafka.produce(topic, None, key="current")
    else:
        shop.kafka.set_topic_config(topic, cleanup_policy="delete")
        shop.kafka.delete_records(topic)
        shop.kafka.set_topic_config(topic, cleanup_policy="compact")
    assert shop.position() is None


@pytest.mark.parametrize("how", ["topic deleted", "tombstone", "truncated"])
def test_a_slot_without_a_position(shop, how):
    with_history(shop)
    acked = shop.insert(2)
    lose_position(shop, how)
    refuse(shop, shop.slot, codes=("slot_unknown",))
    event = refuse(shop, shop.slot, args=("--until", "now"))
    assert "--adopt-slot" in event["remedy"]
    # The operator's word: go on from confirmed_flush, behind which the two rows are.
    shop.run("relay", "--until", "now", "--adopt-slot").expect_exit(0)
    assert set(acked) <= set(shop.record_ids())
    shop.assert_exactly_once()
    shop.insert(1)
    shop.drain()
    shop.assert_exactly_once()


def test_an_adopting_run_survives_a_lost_connection(shop):
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert')")
    shop.query(f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}')")
    run = shop.start("relay", "--adopt-slot")
    run.wait_streaming()
    mark = run.mark()
    shop.postgres.terminate_slot_user(shop.slot)
    run.wait_event("relay.streaming", after=mark)
    shop.insert(2)
    run.terminate()
    run.expect_exit(0)
    shop.drain()
    shop.assert_exactly_once()


def test_adopt_slot_is_rejected_when_there_is_a_position(shop):
    with_history(shop)
    shop.insert(1)
    refuse(shop, args=("--adopt-slot",), codes=("position_exists",))
    shop.drain()
    shop.assert_exactly_once()


def test_adopt_slot_with_nothing_to_adopt_starts_or_refuses_but_not_half(shop):
    run = shop.run("relay", "--until", "now", "--adopt-slot")
    if run.exit_code != 0:
        assert_refused(run, shop.slot)
        assert shop.postgres.slot(shop.slot) is None and shop.position() is None


def test_adopt_slot_takes_only_a_slot_that_fits(shop):
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert'); "
              f"select pg_create_logical_replication_slot('{shop.slot}', 'test_decoding')")
    refuse(shop, shop.slot, args=("--adopt-slot",))


def test_a_position_that_cannot_be_read(shop):
    with_history(shop)
    shop.kafka.produce(f"walferry.position.{shop.name}", '{"format": 999}', key="current")
    shop.insert(1)
    world = World(shop)
    assert_refused(shop.run("relay"))
    world.assert_unchanged()


@pytest.mark.parametrize("config", [{"partitions": 3, "cleanup_policy": "compact"},
                                    {"partitions": 1, "cleanup_policy": "delete"},
                                    {"partitions": 1, "cleanup_policy": "compact,delete"}])
def test_a_position_topic_that_is_not_one_compacted_partition_at_the_first_start(shop, config):
    topic = f"walferry.position.{shop.name}"
    shop.kafka.create_topic(topic, **config)
    shop.insert(1)
    assert_refused(shop.run("relay"), topic, codes=("position_topic_invalid",))
    assert sum(shop.kafka.end_offsets(topic).values()) == 0
    assert shop.postgres.slot(shop.slot) is None


@pytest.mark.parametrize("how", ["partitions", "delete", "compact,delete"])
def test_a_position_topic_spoiled_later(shop, how):
    with_history(shop)
    topic = f"walferry.position.{shop.name}"
    if how == "partitions":
        shop.kafka.add_partitions(topic, 3)
    else:
        shop.kafka.set_topic_config(topic, cleanup_policy=how)
    shop.insert(1)
    refuse(shop, topic, codes=("position_topic_invalid",))


def test_a_half_published_transaction_is_not_resumed_with_other_tables(make_shop):
    """The index within the transaction counts what the config counts; with another config it would point elsewhere."""
    shop = ready(make_shop(kafka_proxy=True))
    proxy = shop.kafka.proxy
    shop.insert_many(100_000)
    relay = shop.start("relay")
    for _ in range(200):
        held = proxy.hold_next("end_txn", cut=False).wait()
        position = shop.position()
        if position and not position["complete"] and position["next_index"] > 0:
            break
        held.release()
    else:
        pytest.fail("the transaction was not split")
    relay.kill9()
    proxy.heal()
    half = len(shop.record_ids())
    assert 0 < half < 100_000
    shop.psql("create table another (id text, aggregatetype text, aggregateid text, type text, payload json)")
    for change in ({"messages": ["walferry", "more"]}, {"tables": shop.config["relay"]["tables"] + [{
            "table": "public.another", "columns": {"key": "aggregateid", "aggregate": "aggregatetype"}}]}):
        run = shop.run("relay", config=shop.changed(relay=change))
        assert_refused(run)
        assert len(shop.record_ids()) == half
    shop.drain()
    shop.assert_exactly_once()


# Topics


def test_a_missing_topic_and_no_leave_to_create_it(shop):
    ready(shop)
    shop.config["kafka"]["topics"]["create"] = False
    shop.insert(1)
    for _ in range(2):
        event = refuse(shop, shop.topic(), strict=False, codes=("topic_missing",))
        assert shop.topic() in json.dumps(event)
    shop.kafka.create_topic(shop.topic(), 3)
    shop.drain()
    shop.assert_exactly_once()
    assert_ack_behind_position(shop)


def test_more_partitions_are_not_used_without_an_operators_word(shop):
    """Not a refusal: keys would move, so it warns and stays with the partitions that it knows."""
    with_history(shop)
    shop.kafka.add_partitions(shop.topic(), 9)
    shop.insert(30)
    run = shop.drain()
    assert max(r["partition"] for r in shop.events()) < 3
    shop.assert_exactly_once()
    assert any(e["level"] == "warn" and shop.topic() in json.dumps(e) for e in run.events), run.log_tail()
