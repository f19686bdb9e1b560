"""A partitioned outbox, whose partitions come and go while the relay runs: every row under the root's name, whichever
decoder tells of it. pgoutput does that by itself; for wal2json the catalogs are asked."""
import re
import threading
import time

import pytest

from integration_checks import assert_refused, ready, wait_records

COLUMNS = "id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text, payload jsonb"


@pytest.fixture
def shop(make_shop):
    """public.outbox by type, with a partition for A and one for what has no other."""
    shop = make_shop(create_table=False)
    shop.psql(f"create table outbox ({COLUMNS}) partition by list (type); "
              "create table outbox_a partition of outbox for values in ('A'); "
              "create table outbox_rest partition of outbox default")
    return shop


def insert(shop, *types, table="outbox"):
    """A row of each type; their ids."""
    return shop.psql(f"insert into {table} (aggregatetype, aggregateid, type, payload) values "
                     + ", ".join(f"('orders', 'k', '{t}', '{{}}')" for t in types) + " returning id").split()


def origins(shop):
    return {r["event"]["source"] for r in shop.events()}


def test_rows_of_every_partition_come_as_those_of_the_root(shop):
    relay = shop.relay()
    ids = insert(shop, "A", "B", "C", "A") + insert(shop, "A", table="outbox_a")
    wait_records(shop, 5)
    assert relay.terminate() == 0
    shop.assert_exactly_once(ids)
    assert origins(shop) == {f"{shop.name}.public.outbox"}


def test_a_partition_with_a_column_as_that_of_a_work_list_is_published(shop):
    shop.psql("alter table outbox add column walferry_ordinal int")
    relay = shop.relay()
    shop.psql("create table outbox_m partition of outbox for values in ('M')")
    wanted = insert(shop, "M", "A")
    wait_records(shop, 2)
    assert relay.terminate() == 0
    shop.assert_exactly_once(wanted)


def test_partitions_made_attached_detached_and_dropped_while_it_runs(shop):
    relay = shop.relay()
    wanted = insert(shop, "A")
    wait_records(shop, 1)
    shop.psql("create table outbox_m partition of outbox for values in ('M')")
    wanted += insert(shop, "M", "A")
    shop.psql(f"create schema other; create table other.days ({COLUMNS}) partition by list (aggregateid); "
              "create table other.day partition of other.days default; "
              "alter table outbox attach partition other.days for values in ('N')")
    wanted += insert(shop, "N", "M")
    wait_records(shop, 5)
    shop.psql(f"create table outbox_z ({COLUMNS}); alter table outbox attach partition outbox_z for values in ('Z')")
    wanted += insert(shop, "Z")
    wait_records(shop, 6)
    shop.psql("alter table outbox detach partition outbox_z; drop table outbox_z")
    shop.psql("begin; create table outbox_y partition of outbox for values in ('Y')")
    wanted += insert(shop, "A")
    wait_records(shop, len(wanted))
    assert relay.terminate() == 0
    shop.drain()
    shop.assert_exactly_once(wanted)
    assert origins(shop) == {f"{shop.name}.public.outbox"}


def test_a_partition_known_to_the_relay_may_be_dropped_before_its_rows_are_read(shop):
    """The drop waits in the WAL behind the rows, and the relay saw the partition when it started."""
    relay = shop.relay()
    shop.kafka.sigstop()
    try:
        wanted = insert(shop, *["A"] * 20)
        shop.psql("drop table outbox_a")
    finally:
        shop.kafka.sigcont()
    wait_records(shop, 20)
    assert relay.terminate() == 0
    shop.assert_exactly_once(wanted)


def test_a_table_that_only_looks_like_a_partition_is_passed_over_until_it_is_one(shop):
    shop.psql(f"create table archive ({COLUMNS}); create table unlike (id uuid, type text)")
    relay = shop.relay()
    shop.psql("insert into unlike values (gen_random_uuid(), 'A')")
    for _ in range(3):
        insert(shop, "S", table="archive")
    wanted = insert(shop, "A")
    wait_records(shop, 1)
    if shop.decoder == "wal2json":
        assert relay.count("relay.table_passed_over", table="archive") == 1
    shop.psql("alter table outbox attach partition archive for values in ('S')")
    wanted += insert(shop, "S", "A")
    wait_records(shop, 3)
    assert relay.terminate() == 0
    shop.assert_exactly_once(wanted)


@pytest.mark.parametrize("how", ["attached", "made"])
def test_a_partition_of_the_transaction_that_waits_for_a_synchronous_standby(shop, how):
    """Its commit is streamed, but nobody else sees it yet: the catalogs do not tell of the partition."""
    ddl = "create table outbox_z partition of outbox for values in ('Z')"
    if how == "attached":
        shop.psql(f"create table outbox_z ({COLUMNS})")
        ddl = "alter table outbox attach partition outbox_z for values in ('Z')"
    relay = shop.relay()
    wanted = insert(shop, "A")
    wait_records(shop, 1)
    shop.psql("alter system set synchronous_standby_names = 'nobody'")
    shop.psql("select pg_reload_conf()")
    row = "insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'Z', '{}')"
    commit = threading.Thread(target=shop.psql, args=(f"begin; {ddl}; {row}; commit",))
    try:
        commit.start()
        if shop.decoder == "wal2json":
            relay.wait_event("relay.recovering", timeout=30)
        else:
            time.sleep(1)
    finally:
        shop.psql("alter system reset synchronous_standby_names")
        shop.psql("select pg_reload_conf()")
        commit.join(30)
    wait_records(shop, 2)
    assert relay.terminate() == 0
    shop.assert_exactly_once()
    assert set(wanted) < shop.outbox_ids()


def test_a_preview_prints_rows_of_partitions_too(shop):
    ready(shop)
    ids = insert(shop, "A", "B")
    run = shop.run("relay", "--sink", "stdout", "--until", "now").expect_exit(0)
    assert [id for id in ids if id in run.stdout.decode()] == ids
    shop.drain()
    shop.assert_exactly_once(ids)


@pytest.mark.decoder("wal2json")
def test_rows_of_a_look_alike_that_is_gone_are_not_lost_silently(shop):
    ready(shop)
    shop.psql("create table outbox_x partition of outbox for values in ('X')")
    wanted = insert(shop, "X", "X")
    shop.psql("alter table outbox detach partition outbox_x; drop table outbox_x")
    wanted += insert(shop, "A")
    acked = shop.confirmed_flush()
    event = assert_refused(shop.run("relay"), "public.outbox_x", "public.outbox", codes=("partition_unknown",))
    assert shop.record_ids() == [] and shop.confirmed_flush() == acked
    # As the remedy has it; were it no partition, its rows would be passed over.
    statement, = re.findall(r"CREATE TABLE [^;]* PARTITION OF [^;]*", event["remedy"])
    shop.psql(f"begin; {re.search('CREATE TABLE [^;]*LIKE[^;]*', event['remedy'])[0]}; rollback")
    shop.psql(statement.replace("...", "in ('X')"))
    shop.drain()
    shop.assert_exactly_once(wanted)


@pytest.mark.decoder("wal2json")
def test_a_required_column_dropped_from_a_partitioned_outbox(shop):
    """A partition without it is still known as one."""
    relay = shop.relay()
    insert(shop, "A")
    wait_records(shop, 1)
    shop.psql("alter table outbox drop column aggregateid")
    shop.psql("insert into outbox (aggregatetype, type, payload) values ('orders', 'A', '{}')")
    assert_refused(relay, "public.outbox", "aggregateid", codes=("column_missing",), timeout=30)


def test_a_huge_transaction_over_partitions_goes_on_where_it_was_killed(shop):
    ready(shop)
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) select 'orders', 'k' || n % 10, "
              "case when n % 3 = 0 then 'A' else 'B' end, jsonb_build_object('fill', repeat('x', 500)) "
              "from generate_series(1, 20000) n")
    run = shop.start("relay", failpoint="publisher.after_commit=kill@2")
    run.wait(60)
    position = shop.position()
    assert not position["complete"] and position["next_index"] > 0
    shop.drain()
    shop.assert_exactly_once()
