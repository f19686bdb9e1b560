"""What becomes of rows once they are published: marked or deleted, each exactly if its event is in Kafka, never ahead of the
position, caught up after any crash; and the slot is never ahead of what is done."""
import threading
import time

import pytest

from harness import system
from harness.servers import lsn_number
from integration_checks import assert_refused, position_lsn, ready, wait_records
from test_http import get_json, metrics, served
from test_refusals import image, move_wal_beyond, refuse  # noqa: F401: image is a fixture

MODES = ["mark", "delete"]
COLUMNS = "aggregatetype text not null, aggregateid text not null, type text not null, payload jsonb"


def configure(shop, mode, **relay):
    shop.config["relay"]["after_publish"] = mode
    shop.config["relay"].update(relay)
    return shop


def tidied_shop(shop, mode):
    """An instance that streams, with a column for the mark whatever the mode, so that a wrong one would show."""
    shop.psql("alter table outbox add column published_at timestamptz")
    return ready(configure(shop, mode))


@pytest.fixture(params=MODES)
def tidied(shop, request):
    return tidied_shop(shop, request.param)


def mode_of(shop):
    return shop.config["relay"]["after_publish"]


def left(shop, table="outbox"):
    """The rows that are still to be marked or deleted."""
    return set(shop.psql(f"select id from {table} where published_at is null").split())


def wait_left(shop, wanted=frozenset(), timeout=30):
    system.wait_for(lambda: left(shop) == set(wanted), timeout, "all but the given rows marked or deleted")


def assert_tidied(shop, wanted, kept=frozenset()):
    """Every row published once, and those and no others marked or gone."""
    shop.assert_exactly_once(wanted)
    assert left(shop) == set(kept)
    there = shop.outbox_ids()
    assert there == (set(wanted) | set(kept) if mode_of(shop) == "mark" else set(kept))


class Watch:
    """Small transactions from one writer, and a look from outside in turn: is every row that the server is told as done
    tidied, and every tidied one published and covered by the position?"""

    def __init__(self, shop):
        self.shop, self.ends, self.problems, self.looks = shop, {}, [], 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                for count in (1, 3, 40):
                    ids = self.shop.insert(count)
                    end = lsn_number(self.shop.psql("select pg_current_wal_insert_lsn()"))
                    self.ends |= dict.fromkeys(ids, end)
                self.look()
            except Exception as e:  # noqa: BLE001: shown by the test
                self.problems.append(repr(e))
                return

    def look(self):
        acked, waiting = self.shop.confirmed_flush(), left(self.shop)
        ahead = [i for i in waiting if self.ends[i] <= acked]
        done = set(self.ends) - left(self.shop)
        covered, published = position_lsn(self.shop), set(self.shop.record_ids("read_uncommitted"))
        self.looks += 1
        if ahead:
            self.problems.append(f"acknowledged and not tidied: {ahead[:3]}")
        if done - published:
            self.problems.append(f"tidied and not published: {list(done - published)[:3]}")
        if any(self.ends[i] - covered > (1 << 20) for i in done):
            self.problems.append("tidied far ahead of the position")

    def end(self):
        self._stop.set()
        self._thread.join(60)
        assert self.problems == [] and self.looks > 0
        return set(self.ends)


def test_rows_are_tidied_and_the_drain_waits_for_it(tidied):
    ids = tidied.insert(3) + tidied.insert(2)
    tidied.insert(2, rollback=True)
    tidied.drain()
    assert_tidied(tidied, ids)
    before = tidied.psql("select max(published_at) from outbox")
    tidied.drain()  # what tidying wrote to the WAL is no event, and nothing that has to be tidied
    assert_tidied(tidied, ids)
    assert tidied.psql("select max(published_at) from outbox") == before


def test_killed_between_position_and_tidying_and_in_it(tidied):
    """Each start dies at its moment; what it achieved before adds up, nothing is published twice and nothing is acked that
    was not tidied."""
    watch = Watch(tidied)
    for name in ["publisher.after_commit=kill@2", "publisher.after_ack=kill@2", "tidy.before_statement=kill@2",
                 "tidy.after_statement=kill@2", "publisher.after_position=kill@3", "tidy.before_statement=kill"]:
        run = tidied.start("relay", failpoint=name)
        run.expect_exit(-9, 30)
        assert run.find("failpoint.hit", name=name.split("=")[0]), run.log_tail()
    run = tidied.relay()
    ids = watch.end()
    wait_left(tidied)
    assert run.terminate() == 0
    tidied.drain()
    assert_tidied(tidied, ids)


def test_a_stop_leaves_nothing_behind(tidied):
    run = tidied.relay()
    ids = tidied.insert(2000)
    wait_records(tidied, 1)
    assert run.terminate() == 0
    published = set(tidied.record_ids())
    assert left(tidied) == set(ids) - published
    tidied.drain()
    assert_tidied(tidied, ids)


def test_a_crash_of_the_server_under_load(fresh_postgres, make_shop):
    server = fresh_postgres()
    shop = tidied_shop(make_shop(postgres=server), "delete")
    run = shop.relay()
    ids = shop.insert(50)
    wait_left(shop)
    server.kill9()
    server.start()  # the slot is older now than what was acknowledged
    ids += shop.insert(50)
    wait_left(shop, timeout=60)
    assert run.terminate() == 0
    shop.drain()
    assert_tidied(shop, ids)


@pytest.mark.parametrize("mode", MODES)
def test_a_wide_transaction_of_two_tables_split_and_killed(shop, mode):
    """Larger than a Kafka transaction, so that the position ends within it; the other table stays as it is."""
    shop.psql(f"create table other (id bigint generated always as identity primary key, {COLUMNS})")
    shop.config["relay"]["tables"].append({"table": "public.other", "after_publish": "keep"})
    tidied = tidied_shop(shop, mode)
    tidied.psql("begin; insert into outbox (aggregatetype, aggregateid, type, payload) select 'orders', 'k' || n % 10, "
                "'T', jsonb_build_object('fill', repeat('x', 400)) from generate_series(1, 60000) n; "
                "insert into other (aggregatetype, aggregateid, type, payload) select 'orders', 'k', 'T', '{}' "
                "from generate_series(1, 100); commit")
    wanted = set(tidied.psql("select id::text from outbox union all select id::text from other").split())
    run = tidied.start("relay", failpoint="publisher.after_commit=kill@2")
    run.expect_exit(-9, 60)
    assert not tidied.position()["complete"]
    run = tidied.start("relay", failpoint="tidy.after_statement=kill@2")
    run.expect_exit(-9, 60)
    assert 0 < len(left(tidied)) <= 60000
    tidied.drain()
    tidied.assert_exactly_once(wanted)
    assert left(tidied) == set()
    assert tidied.psql("select count(*) from other") == "100"
    assert tidied.psql("select count(*) from outbox") == ("60000" if mode_of(tidied) == "mark" else "0")


@pytest.mark.decoder("pgoutput")
def test_a_lock_holds_back_the_slot_and_nothing_else(tidied):
    ids = tidied.insert(3)
    with tidied.session() as other:
        other.run("begin; lock table outbox in share mode")
        run = tidied.start("relay", config=served(tidied))
        run.wait_event("tidy.failed", error=lambda e: "lock" in e, timeout=20)
        end = tidied.postgres.flush_lsn()
        wait_records(tidied, 3)
        status, page = get_json(run, "/readyz")
        assert status == 200 and "after_publish" in page["error"], page
        found = metrics(run, tidied.name)
        assert found["walferry_tidy_failing"] == 1 and found["walferry_tidy_backlog_rows"] == 3
        assert tidied.confirmed_flush() < end and left(tidied) == set(ids)
        began = time.monotonic()
        assert run.terminate() == 0
        assert time.monotonic() - began < 10
        assert left(tidied) == set(ids)
        run = tidied.relay()
        other.run("commit")
    wait_left(tidied)
    assert run.terminate() == 0
    assert_tidied(tidied, ids)


@pytest.mark.decoder("pgoutput")
def test_a_lost_connection_is_not_passed_over_by_what_needs_no_marking(shop, tmp_path):
    """It breaks while a batch without such rows is being published: that batch must not be acknowledged past those that
    were dropped."""
    shop.psql(f"create table other (id bigint generated always as identity primary key, {COLUMNS})")
    shop.config["relay"]["tables"].append({"table": "public.other", "after_publish": "keep"})
    tidied_shop(shop, "mark")
    tidying, publishing = tmp_path / "tidying", tmp_path / "publishing"
    run = shop.start("relay", failpoint=f"tidy.before_statement=pause:{tidying},publisher.after_commit=pause:{publishing}@2")
    run.wait_event("relay.streaming")
    ids = shop.insert(1)
    system.wait_for(tidying.exists, 20, "the row is about to be marked")
    other = shop.psql("insert into other (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{}') "
                      "returning id")
    system.wait_for(publishing.exists, 20, "the other table's row is committed")
    assert shop.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%enable_seqscan = off' "
                     "and pid <> pg_backend_pid()") == "t"
    tidying.unlink()
    time.sleep(0.5)
    publishing.unlink()
    run.wait_event("relay.recovering", timeout=20)
    wait_left(shop)
    assert run.terminate() == 0
    shop.assert_exactly_once(ids + [other])


@pytest.mark.decoder("pgoutput")
def test_a_limit_on_idle_sessions_does_not_end_it(shop):
    tidied_shop(shop, "mark")
    shop.psql(f'alter database "{shop.db}" set idle_session_timeout = 300')
    run = shop.relay()
    shop.insert(1)
    wait_left(shop)
    time.sleep(1)
    shop.insert(1)
    wait_left(shop)
    assert not run.find("relay.recovering")
    assert run.terminate() == 0


@pytest.mark.decoder("pgoutput")
def test_a_full_backlog_makes_publishing_wait_and_is_told(shop):
    tidied_shop(shop, "delete")
    shop.insert_many(100_000)
    ids = shop.outbox_ids()
    with shop.session() as other:
        other.run("begin; lock table outbox in share mode")
        run = shop.start("relay", config=served(shop))
        page = system.wait_for(lambda: (p := get_json(run, "/readyz"))[0] == 503 and p[1]["reason"] ==
                               "after_publish_stuck" and p[1], 30, "not ready")
        assert "after_publish" in page["error"]
        published = len(shop.record_ids())
        assert 0 < published < 100_000
        other.run("commit")
    wait_left(shop, timeout=60)
    assert run.terminate() == 0
    assert_tidied(shop, ids)


def test_rows_of_a_table_that_inherits_from_it_stay(shop):
    """They are not published, and may have the same ids."""
    shop.psql(f"create table events (id bigint generated always as identity primary key, {COLUMNS}); "
              "create table archive () inherits (events)")
    shop.config["relay"]["tables"] = [{"table": "public.events", "after_publish": "delete"}]
    shop.drain()
    shop.psql("insert into archive (id, aggregatetype, aggregateid, type, payload) values (1, 'orders', 'k', 'T', '{}')")
    shop.psql("insert into events (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{}')")
    shop.drain()
    shop.assert_exactly_once(["1"])
    assert shop.psql("select tableoid::regclass, id from events") == "archive|1"


def test_what_went_to_quarantine_stays(tidied):
    """Also after a crash, when the rows come again. One is larger than its topic takes: nowhere else is its payload."""
    tidied.kafka.create_topic(tidied.topic("small"), max_message_bytes="10000")
    good = tidied.insert(2) + tidied.insert(1, aggregate="small")
    bad = tidied.insert(1, aggregate="no such topic!")
    bad += tidied.insert(1, aggregate="small", payload={"fill": "x" * 20000})
    run = tidied.start("relay", failpoint="publisher.after_commit=kill")
    run.expect_exit(-9, 30)
    assert left(tidied) == set(good + bad)
    tidied.drain()
    assert len(tidied.quarantined()) == 2
    assert_tidied(tidied, good, kept=bad)


@pytest.mark.parametrize("mode", MODES)
def test_the_rows_of_a_snapshot(shop, mode):
    """No server sends them again: killed where some are published and not done, the next start does them from the list. What
    carries a mark already is none of them; what went to the quarantine stays."""
    shop.psql("alter table outbox add column published_at timestamptz")
    configure(shop, mode)
    shop.insert_many(12_000)
    wanted = shop.outbox_ids()
    bad = shop.insert(1, aggregate="no such topic!")
    if mode == "mark":
        shop.psql("update outbox set published_at = now() where id in ('%s')" % "','".join(shop.insert(2)))
    for name in ["tidy.before_statement=kill", "publisher.after_commit=kill", "tidy.before_statement=kill@3",
                 "relay.before_work_list_dropped=kill"]:
        run = shop.start("relay", "--snapshot", failpoint=name)
        run.expect_exit(-9, 60)
        assert run.find("failpoint.hit", name=name.split("=")[0]), run.log_tail()
        assert len(left(shop)) > 1 or "list" in name
    assert left(shop) == set(bad)
    ids = shop.insert(3)
    shop.drain()
    shop.assert_exactly_once(wanted | set(ids))
    assert left(shop) == set(bad)
    assert shop.psql("select count(*) from outbox") == ("12006" if mode == "mark" else "1")


@pytest.mark.parametrize("type,default", [("bigint", "generated always as identity"),
                                          ("text", "default 'a \"b\\c'',{} ' || gen_random_uuid()"),
                                          ("character(40)", "default gen_random_uuid()")])
def test_ids_of_any_type_and_names_that_need_quotes(make_shop, type, default):
    shop = make_shop(create_table=False)
    shop.psql(f'create schema "My Shop"; create table "My Shop"."Out box" ("The Id" {type} {default}, {COLUMNS}, '
              'done timestamp) partition by list (aggregateid); create index on "My Shop"."Out box" ("The Id"); '
              'create table "My Shop".a partition of "My Shop"."Out box" for values in (\'a\'); '
              'create table "My Shop".b partition of "My Shop"."Out box" default')
    shop.config["relay"]["tables"] = [{"table": 'My Shop.Out box', "after_publish": "mark",
                                       "columns": {"id": "The Id", "published_at": "done"}}]
    shop.drain()
    shop.psql('insert into "My Shop"."Out box" (aggregatetype, aggregateid, type, payload) '
              "select 'orders', k, 'T', '{}' from unnest(array['a', 'b', 'c']) k")
    shop.drain()
    assert len(shop.record_ids()) == 3
    assert shop.psql('select count(*), count(done) from "My Shop"."Out box"') == "3|3"


def test_what_position_set_has_passed_over_stays(tidied):
    """Also where the slot is behind it again, as after a crash of the server: it is covered, and was never published."""
    passed = tidied.insert(3)
    tidied.run("position", "set", tidied.psql("select pg_current_wal_lsn()"), "--confirm", tidied.name,
               failpoint="reposition.after_store=kill")
    ids = tidied.insert(2)
    run = tidied.start("relay", failpoint="tidy.before_statement=kill")
    run.expect_exit(-9, 30)
    ids += tidied.insert(1)
    tidied.drain()
    assert_tidied(tidied, ids, kept=passed)


def test_what_a_new_slot_has_passed_over_stays(shop):
    """Also where that one is lost too, and made anew of the held-back one, which is older."""
    shop.config["postgres"]["replay"] = {}
    tidied_shop(shop, "delete").init()
    ids = shop.insert(2)
    shop.drain()
    passed = shop.insert(3)
    shop.postgres.drop_slot(shop.slot)
    shop.run("position", "set", "new", "--confirm", shop.name).expect_exit(0)
    shop.run("relay", "--until", "now").expect_exit(0)
    ids += shop.insert(2)
    run = shop.start("relay", failpoint="tidy.before_statement=kill")
    run.expect_exit(-9, 30)
    shop.postgres.drop_slot(shop.slot)
    shop.init()
    ids += shop.insert(1)
    shop.drain()
    assert_tidied(shop, ids, kept=passed)


def test_the_id_changes_its_type_meanwhile(tidied):
    pause = tidied.dir / "pause"
    ids = tidied.insert(2)
    run = tidied.start("relay", failpoint=f"tidy.before_statement=pause:{pause}")
    system.wait_for(pause.exists, 30, "a statement that is about to be sent")
    tidied.psql("alter table outbox alter id drop identity if exists, alter id drop default, alter id type text")
    pause.unlink()
    run.wait_event("tidy.failed")
    wait_left(tidied)
    assert run.terminate() == 0
    assert_tidied(tidied, ids)


def test_the_id_becomes_wider_meanwhile(shop):
    shop.psql(f"create table small (id integer generated always as identity primary key, {COLUMNS})")
    shop.config["relay"]["tables"] = [{"table": "public.small", "after_publish": "delete"}]
    run = ready(shop).relay()
    add = "insert into small (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{}') returning id"
    for id in ("1", "3000000000"):
        assert shop.psql(add) == id
        system.wait_for(lambda: shop.psql("select count(*) from small") == "0", 40, "the row deleted")
        shop.psql("alter table small alter id type bigint; alter table small alter id restart with 3000000000")
    assert run.terminate() == 0


def test_rows_from_before_their_table_was_configured_stay(tidied):
    """They were passed over, and stand before the position. The slot is still behind them when the table is named."""
    tidied.psql(f"create table other (id bigint generated always as identity primary key, {COLUMNS}, "
                "published_at timestamptz)")
    for publication in tidied.psql("select pubname from pg_publication").split():
        tidied.psql(f'alter publication "{publication}" add table other')
    add = "insert into other (aggregatetype, aggregateid, type, payload) values ('orders', 'k', 'T', '{}') returning id"
    passed = tidied.psql(add)
    ids = tidied.insert(2)
    run = tidied.start("relay", failpoint="tidy.before_statement=kill")
    run.expect_exit(-9, 30)
    tidied.config["relay"]["tables"].append({"table": "public.other"})
    for name in ["tidy.before_statement=kill", None]:  # the position knows the table then
        new = tidied.psql(add)
        ids.append(new)
        run = tidied.start("relay", "--until", "now", failpoint=name)
        run.expect_exit(-9 if name else 0, 30)
    tidied.assert_exactly_once(ids)
    assert left(tidied) == set()
    assert left(tidied, "other") == {passed}


def test_a_database_that_was_rolled_back_loses_no_row(image):  # noqa: F811
    """Its new rows stand where published ones stood, and were never published: they must not be deleted as covered. There
    are enough of them for a statement that does not wait for more."""
    shop, restore = image
    configure(shop, "delete")
    shop.insert_many(30000)
    shop.drain()
    end = position_lsn(shop)
    restore()
    shop.insert_many(10000)
    assert shop.postgres.flush_lsn() < end
    there = shop.outbox_ids()
    move_wal_beyond(shop, end)
    refuse(shop, codes=("history_rewritten",))
    assert shop.outbox_ids() == there


@pytest.mark.parametrize("mode,missing,grant", [
    ("mark", "published_at", None), ("mark", "UPDATE", "update (published_at)"), ("delete", "DELETE", "delete")])
@pytest.mark.decoder("pgoutput")
def test_a_missing_column_or_right_is_a_refusal(shop, mode, missing, grant):
    role = f"relay_{shop.name}"
    ready(shop)
    shop.postgres.psql(f'create role "{role}" login replication')
    try:
        if grant:
            shop.psql("alter table outbox add column published_at timestamptz")
        shop.psql(f'grant select on outbox to "{role}"')
        shop.config["postgres"]["conninfo"] = shop.postgres.conninfo(shop.db, role)
        configure(shop, mode)
        event = assert_refused(shop.start("relay"), missing, "outbox", codes=("after_publish_denied",))
        assert "after_publish_denied" in shop.run("check").stdout.decode()
        if grant:
            assert f"GRANT SELECT, {grant.replace('published_at', chr(34) + 'published_at' + chr(34)).upper()}".lower() \
                in event["remedy"].lower()
            shop.psql(event["remedy"].removeprefix("as its owner: "))
        else:
            init = shop.run("init").expect_exit(3)
            assert init.refusal_of("init")["remedy"] == event["remedy"]
            shop.psql(event["remedy"])
            shop.psql(f'grant update (published_at) on outbox to "{role}"')
        ids = shop.insert(2)
        shop.drain()
        assert_tidied(shop, ids)
        assert shop.run("check").exit_code == 0
    finally:
        shop.postgres.drop_database(shop.db)
        shop.postgres.psql(f'drop role "{role}"')
