"""An outbox in partitions by day: made by init, filled by walferry.emit, and a partition that is dropped only once all its rows
are published, whoever is late."""
import pytest

from harness.postgres import SqlError
from integration_checks import wait_acked, wait_records


@pytest.fixture
def days(make_shop):
    """public.outbox as init makes it, with a partition of long ago that the tests may drop."""
    shop = make_shop(create_table=False)
    shop.config["relay"]["tables"] = [{"table": "public.outbox", "partition_by": "day"}]
    shop.init()
    old_day(shop, "2020-02-01")
    return shop


def old_day(shop, day):
    name = "outbox_" + day.replace("-", "")
    shop.psql(f"create table {name} (like outbox including all); alter table outbox attach partition {name} "
              f"for values from ('{day} 00:00+00') to ('{day} 00:00+00'::timestamptz + interval '1 day')")
    return name


def emit(shop, at=None):
    if at is None:
        return shop.psql("select walferry.emit('orders', 'T', 'k', '{}')")
    return shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) "
                     f"values ('orders', 'k', 'T', '{{}}', '{at}') returning id")


def retain(shop, keep="1 day", **kwargs):
    """{partition: outcome}"""
    rows = shop.query(f"select * from walferry.outbox_retain('public.outbox', '{keep}')", **kwargs)
    return {row["partition"]: row["outcome"] for row in rows}


def partitions(shop):
    return set(shop.psql("select inhrelid::regclass from pg_inherits where inhparent = 'outbox'::regclass").split())


def test_rows_of_any_day_are_published_under_the_roots_name(days):
    today = days.psql("select 'outbox_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")
    assert len(partitions(days)) == 10 and {today, "outbox_default"} <= partitions(days)
    ids = [emit(days), emit(days, "2020-02-01 12:00+00"), emit(days, "2019-01-01"), emit(days, "2035-01-01")]
    days.drain()
    days.assert_exactly_once(ids)
    assert {r["event"]["source"] for r in days.events()} == {f"{days.name}.public.outbox"}
    assert days.psql("select tableoid::regclass from outbox order by occurred_at").split() == [
        "outbox_default", "outbox_20200201", today, "outbox_default"]
    check = days.run("check").stdout.decode()
    assert "made ahead" in check
    assert days.psql("select walferry.outbox_partitions('outbox', 8)").startswith("public.outbox_")
    assert len(partitions(days)) == 11
    assert days.psql("select count(*) from walferry.outbox_partitions('outbox', 8)") == "0"
    days.init()


def test_a_partition_goes_only_when_the_slot_has_passed_it(days):
    days.drain()
    ids = [emit(days, "2020-02-01 12:00+00"), emit(days)]
    before = partitions(days)
    assert retain(days)["outbox_20200201"].startswith("noted")
    assert retain(days)["outbox_20200201"].startswith("kept: slot")
    assert partitions(days) == before
    days.drain()
    assert retain(days) == {"outbox_20200201": "dropped"}
    assert partitions(days) == before - {"outbox_20200201"}
    days.drain()
    days.assert_exactly_once(ids)
    assert retain(days) == {}


@pytest.mark.decoder("pgoutput")
def test_a_row_that_comes_late_keeps_its_partition(days):
    """Committed behind the note, by a transaction that began before it; and seen again only once that one is over."""
    relay = days.relay()
    with days.session() as writer:
        writer.run("begin; select pg_current_xact_id()")
        retain(days)
        wait_acked(days, days.postgres.flush_lsn())
        writer.run("savepoint s; insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) "
                   "values ('orders', 'k', 'T', '{}', '2020-02-01')")
        assert retain(days)["outbox_20200201"] == "kept: in use"
        writer.run("commit")
    wait_records(days, 1)
    wait_acked(days, days.postgres.flush_lsn())
    assert retain(days)["outbox_20200201"].startswith("noted")
    wait_acked(days, days.postgres.flush_lsn())
    assert relay.terminate() == 0
    days.drain()
    assert retain(days)["outbox_20200201"] == "dropped"
    days.assert_exactly_once([r["headers"]["id"] for r in days.events()])


@pytest.mark.decoder("pgoutput")
def test_what_is_refused(days):
    emit(days, "2020-02-01")
    days.drain()
    for slot in ["gone", "another"]:
        with pytest.raises(SqlError, match="nothing is dropped"):
            days.psql(f"select walferry.outbox_retain('outbox', '1 day', '{slot}')")
    with pytest.raises(SqlError, match="READ COMMITTED"):
        days.psql("begin isolation level repeatable read; select walferry.outbox_retain('outbox', '1 day')")
    days.psql("create table plain (id int)")
    with pytest.raises(SqlError, match="not partitioned"):
        days.psql("select walferry.outbox_partitions('plain')")
    assert retain(days, keep="100 years") == {}
    # A day whose rows are in the default partition stays there; the other days are made all the same.
    days.psql("insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) "
              "values ('orders', 'k', 'T', '{}', date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' + "
              "interval '9 days')")
    assert len(days.psql("select walferry.outbox_partitions('outbox', 10)").split()) == 2
    assert "outbox_20200201" in partitions(days)


@pytest.mark.decoder("pgoutput")
def test_a_day_that_cannot_be_dropped_keeps_no_other(days):
    old_day(days, "2020-02-02")
    for day in ("2020-02-01", "2020-02-02"):
        emit(days, f"{day} 12:00+00")
    retain(days)
    days.drain()
    days.psql("create view reported as select * from outbox_20200201")
    assert retain(days) == {"outbox_20200201": "kept: cannot drop table outbox_20200201 because other objects depend on it",
                            "outbox_20200202": "dropped"}
    days.psql("drop view reported")
    assert retain(days) == {"outbox_20200201": "dropped"}


@pytest.mark.decoder("pgoutput")
def test_days_are_dropped_behind_the_look_at_all_of_them(days):
    """Whoever writes to the outbox waits for the drops, and not for a look at another day."""
    old_day(days, "2020-02-02")
    for day in ("2020-02-01", "2020-02-02"):
        emit(days, f"{day} 12:00+00")
    retain(days)
    days.drain()
    with days.session() as reader:  # of the second day: it cannot be dropped, and only that one waits
        reader.run("begin; select count(*) from outbox_20200202")
        assert retain(days) == {"outbox_20200201": "dropped", "outbox_20200202": "kept: in use"}
    assert retain(days) == {"outbox_20200202": "dropped"}
