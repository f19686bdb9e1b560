"""relay --snapshot: the rows that stood in the tables when the slot was made, then what is streamed: no gap, no repeat."""
import json
import re
import signal
import threading
import time
import urllib.request

import pytest

from harness import system
from integration_checks import wait_records

LISTS = "select relname from pg_class where relnamespace = to_regnamespace('walferry') and relname like 'snapshot%' and relkind = 'r'"


def assert_whole(shop, run=None, wanted=None):
    """Every row that ever was is one record; the work list is gone, and the position says that it is through."""
    if run is not None:
        assert run.terminate() == 0
    shop.drain()
    shop.assert_exactly_once(wanted)
    assert shop.psql(LISTS) == ""
    assert shop.position()["snapshot"]["state"] == "done"
    assert shop.position()["format"] == 1


def marks(shop):
    """By id, whether the record is from the snapshot."""
    return {e["headers"]["id"]: e["headers"].get("wf_snapshot") for e in shop.events()}


def snapshot(shop, *args, **kwargs):
    return shop.start("relay", "--snapshot", *args, **kwargs)


def expect_killed(run, name):
    run.expect_exit(-signal.SIGKILL, 30)
    assert run.find("failpoint.hit", name=name), run.log_tail()


class Writing:
    """Rows inserted, by several sessions, until it ends; a part of them rolled back."""

    def __init__(self, shop, sessions=3):
        self.shop, self.stop, self.ids = shop, threading.Event(), []
        self.threads = [threading.Thread(target=self._write) for _ in range(sessions)]

    def _write(self):
        while not self.stop.is_set():
            self.ids += self.shop.insert(3)
            self.shop.insert(1, rollback=True)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_rows_from_before_the_slot_come_first_and_marked(shop):
    before = shop.insert(25)
    run = shop.relay("--snapshot")
    after = shop.insert(5)
    wait_records(shop, 30)
    found = marks(shop)
    assert all(found[i] == "true" for i in before) and all(found[i] is None for i in after)
    rows = [e for e in shop.events() if e["headers"].get("wf_snapshot")]
    assert len({e["headers"]["wf_lsn"] for e in rows}) == 1 and not any("wf_tx" in e["headers"] for e in rows)
    assert run.find("relay.snapshot", published=25, rows=25)
    assert run.find("relay.snapshot_done", rows=25)
    assert_whole(shop, run)
    again = shop.relay("--snapshot")  # as a unit that keeps the option
    assert again.find("relay.snapshot_done", reason=lambda r: r is not None)
    assert_whole(shop, again)


def test_writers_commit_all_the_while(shop):
    shop.insert_many(5000)
    with Writing(shop) as writing:
        time.sleep(0.3)
        run = snapshot(shop)
        run.wait_event("relay.snapshot_taken")
        run.wait_streaming()
        time.sleep(0.3)
    wait_records(shop, 5000 + len(writing.ids), 60)
    assert run.find("relay.snapshot_taken", rows=lambda n: n >= 5000)
    assert_whole(shop, run)


FILLING = ["relay.after_intent", "relay.after_slot_created", "relay.after_work_list"]
PUBLISHING = ["relay.after_first_position", "publisher.after_produce", "publisher.after_commit",
              "relay.before_work_list_dropped", "relay.after_work_list_dropped"]


def test_killed_at_each_step_in_turn(shop):
    """Nothing is published twice, nothing of the first rows is missed, and a start without the option goes on."""
    wanted = shop.insert(10)
    shop.insert_many(25000)  # more than one Kafka transaction
    for name in FILLING:
        expect_killed(snapshot(shop, failpoint=f"{name}=kill"), name)
        wanted += shop.insert(2)
        assert shop.event_topics() == []
    for name, hit in [*[(p, 1) for p in PUBLISHING[:1]], ("publisher.after_produce", 1), ("publisher.after_commit", 1),
                      ("publisher.after_commit", 1), *[(p, 1) for p in PUBLISHING[3:]]]:
        run = shop.start("relay", failpoint=f"{name}=kill@{hit}")
        expect_killed(run, name)
        shop.insert(2)
    assert_whole(shop)


def test_rows_deleted_and_updated_meanwhile_come_as_they_were(shop):
    ids = shop.insert(20, payload={"v": 1})
    pause = shop.dir / "pause"
    run = snapshot(shop, failpoint=f"relay.after_first_position=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    shop.psql("delete from outbox where ctid in (select ctid from outbox limit 10)")
    shop.psql("update outbox set payload = '{\"v\": 2}'")
    pause.unlink()
    run.wait_streaming()
    wait_records(shop, 20)
    assert [e["event"]["payload"] for e in shop.events()] == [{"v": 1}] * 20
    assert_whole(shop, run, ids)


COLUMNS = {"b": ("bytea", "'\\x00ff10'"), "n": ("numeric", "1.500"), "nan": ("double precision", "'NaN'"),
           "f": ("double precision", "0.1::float8 + 0.2"), "r": ("real", "1.1"), "t": ("timestamptz", "'2026-01-02 03:04:05.678+02'"),
           "d": ("date", "'2026-02-03'"), "i": ("interval", "'1 day 2 hours'"), "flag": ("boolean", "true"),
           "c": ("char(5)", "'ab'"), "ip": ("inet", "'10.0.0.1'"), "a": ("int[]", "'{1,NULL,3}'"), "j": ("json", "'{\"a\" :1}'"),
           "jb": ("jsonb", "'{\"b\":  1.50}'"), "nothing": ("text", "null"), "q": ("text", "E'tab\\tquote\"\\\\ ü'"),
           "rt": ("regclass", "'public.outbox'"), "m": ("money", "12.34"), "e": ("mood", "'fine'"), "w": ("word", "'dom'")}


def test_values_of_all_types_are_those_of_the_stream(shop):
    """The same row both ways; every column is a header, and the payload of another type each time."""
    shop.psql("create type mood as enum ('fine'); create domain word as text")
    for name, (type, _) in COLUMNS.items():
        shop.psql(f"alter table outbox add column x_{name} {type}")
    kinds = ["jsonb", "json", "text", "bytea"]
    for kind in kinds:
        shop.psql(f"create table outbox_{kind} (like outbox including all); "
                  f"alter table outbox_{kind} alter payload type {kind} using null")
    headers = [{"column": f"x_{name}", "name": f"x_{name}"} for name in COLUMNS
               if not (name == "nan" and shop.decoder == "wal2json")]  # which sends none
    shop.config["relay"]["tables"] = [{"table": f"public.outbox_{kind}", "headers": headers} for kind in kinds]
    values = ", ".join(value for _, value in COLUMNS.values())
    names = ", ".join(f"x_{name}" for name in COLUMNS)

    def insert(key):
        for kind in kinds:
            payload = {"bytea": "'\\x7b2261223a317d'"}.get(kind, "'{\"z\": 1.0,  \"a\": [null]}'")
            shop.psql(f"insert into outbox_{kind} (aggregatetype, aggregateid, type, payload, {names}) "
                      f"values ('{kind}', '{key}', 'T', {payload}, {values})")
    insert("snapshot")
    run = shop.relay("--snapshot")
    insert("stream")
    wait_records(shop, 2 * len(kinds))
    for kind in kinds:
        records = {e["key"]: e for e in shop.events(kind)}
        one, other = records["snapshot"], records["stream"]
        for record in (one, other):
            for changing in ("id", "wf_lsn", "wf_tx", "wf_snapshot"):
                record["headers"].pop(changing, None)
            for changing in ("id", "occurred_at", "metadata"):
                record["event"].pop(changing, None)
        assert one["headers"] == other["headers"] and len(one["headers"]) > 20
        assert one["event"] == other["event"]
    assert run.terminate() == 0


def test_a_partitioned_outbox_and_a_second_table(make_shop):
    shop = make_shop(create_table=False)
    shop.psql("""create table outbox (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text,
                                      payload jsonb, occurred_at timestamptz default now(), primary key (id, occurred_at))
                 partition by range (occurred_at);
                 create table outbox_old partition of outbox for values from (minvalue) to ('2026-01-01');
                 create table outbox_new partition of outbox for values from ('2026-01-01') to (maxvalue)""")
    shop.create_table("public.second")
    shop.config["relay"]["tables"].append({"table": "public.second"})
    shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload, occurred_at) select 'orders', 'k', 'T', "
              "jsonb_build_object('n', n), '2026-01-01'::timestamptz + (100 - n) * interval '1 h' - interval '50 h' "
              "from generate_series(1, 100) n")
    shop.insert(10, table="second")
    run = shop.relay("--snapshot")
    shop.insert(5)
    shop.insert(5, table="second")
    wait_records(shop, 120)
    assert run.terminate() == 0
    numbers = [e["event"]["payload"]["n"] for e in shop.events() if e["key"] == "k"]
    assert numbers == list(range(100, 0, -1))  # in the order of occurred_at
    shop.drain()
    shop.assert_exactly_once(shop.outbox_ids() | shop.outbox_ids("second"))
    assert shop.psql(LISTS) == ""


REWRITTEN = "alter table outbox alter payload type json"
REPLACED = """create table copied as select * from outbox; alter table outbox detach partition outbox_old;
              alter table outbox attach partition copied for values from (minvalue) to ('2040-01-01')"""


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("how", [REWRITTEN, REPLACED], ids=["rewritten", "replaced"])
def test_a_table_that_is_rewritten_before_it_is_read_is_not_taken_for_empty(make_shop, how):
    """Its rows, as they are then, are no longer those that the snapshot shows; nor are they streamed."""
    shop = make_shop(create_table=how == REWRITTEN)
    if how == REPLACED:
        shop.psql("""create table outbox (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text,
                                          payload jsonb, occurred_at timestamptz default now()) partition by range (occurred_at);
                     create table outbox_old partition of outbox for values from (minvalue) to ('2040-01-01')""")
    ids = shop.insert(10)
    pause = shop.dir / "pause"
    run = snapshot(shop, failpoint=f"relay.after_slot_created=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    shop.psql(how)
    pause.unlink()
    wait_records(shop, len(ids))
    assert_whole(shop, run, ids)


def test_rows_that_cannot_be_published_are_quarantined_as_those_of_the_stream(shop):
    shop.config["relay"]["tables"] = [{"table": "public.outbox", "columns": {"key": "aggregateid"}}]
    shop.psql("alter table outbox add column topic text, alter aggregateid drop not null; "
              "insert into outbox (aggregatetype, aggregateid, type) values ('orders', null, 'T')")
    wanted = shop.insert(5)
    shop.insert(1, payload={"fill": "x" * 2000000})  # the broker refuses it
    run = shop.relay("--snapshot")
    wait_records(shop, 5)
    assert run.terminate() == 0
    shop.wait_markers()
    refused = shop.quarantined()
    assert sorted(r["headers"]["wf_error_code"] for r in refused) == ["missing_key", "record_too_large"]
    assert all(r["headers"]["wf_snapshot"] == "true" and "wf_tx" not in r["headers"] for r in refused)
    assert sorted(shop.record_ids()) == sorted(wanted)
    assert shop.psql(LISTS) == ""


@pytest.mark.decoder("pgoutput")
def test_a_row_that_the_server_cannot_print_is_named(shop):
    """As one of more than 500 MB; here by a type whose output function fails in the same way."""
    shop.psql("create type mute; create function mute_in(cstring) returns mute language internal immutable strict as 'textin'; "
              "create function mute_out(mute) returns cstring language internal immutable strict as 'tsvector_update_trigger_byid'; "
              "create type mute (input = mute_in, output = mute_out, like = text); alter table outbox add column m mute")
    ids = shop.insert(3)
    shop.psql(f"update outbox set m = 'x' where id = '{ids[1]}'")
    refusal = snapshot(shop).expect_refused("row_undecodable")
    table = shop.psql(LISTS)
    ordinal = shop.psql(f"select walferry_ordinal from walferry.{table} where id = '{ids[1]}'")
    assert f"row {ordinal} " in refusal["error"] and f"walferry.{table} WHERE walferry_ordinal = {ordinal}" in refusal["remedy"]
    shop.psql(f"update walferry.{table} set m = null where walferry_ordinal = {ordinal}")
    assert_whole(shop, wanted=ids)


def test_an_empty_outbox_needs_no_more_than_its_slot(shop):
    run = shop.relay("--snapshot")
    ids = shop.insert(3)
    wait_records(shop, 3)
    assert_whole(shop, run, ids)


def get(run, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{run.wait_event('http.listening')['port']}{path}", timeout=10) as answer:
        return answer.read().decode()


def test_it_says_how_far_it_is_and_counts_as_ready(shop):
    shop.config["http"] = {"listen": "127.0.0.1:0"}
    shop.insert_many(12000)
    pause = shop.dir / "pause"
    run = snapshot(shop, failpoint=f"relay.before_work_list_dropped=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    assert json.loads(get(run, "/readyz"))["reason"] == "snapshot"
    assert json.loads(get(run, "/status"))["snapshot"] == {"state": "open", "published": 12000, "rows": 12000}
    metrics = get(run, "/metrics")
    for name in ("rows", "published_rows"):
        assert re.search(rf"^walferry_snapshot_{name}\{{.*}} 12000$", metrics, re.M), metrics
    told = json.loads(shop.run("status", "--json").expect_exit(0).stdout)["position"]
    assert told["snapshot"] == {"state": "open", "published": 12000, "rows": 12000}
    assert "open, 12000 of 12000 rows published" in shop.run("status").expect_exit(0).stdout.decode()
    pause.unlink()
    run.wait_streaming()
    assert_whole(shop, run)


# Who else makes slots


def test_a_standby_waits_while_the_snapshot_is_taken_and_goes_on_with_it(shop):
    shop.insert_many(12000)
    pause = shop.dir / "pause"
    first = snapshot(shop, failpoint=f"relay.after_work_list=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    second = shop.start("relay")  # without the option
    second.wait_event("relay.standby")
    first.kill9()
    second.wait_streaming(60)
    wait_records(shop, 12000, 60)
    assert_whole(shop, second)


@pytest.mark.parametrize("moment", ["relay.after_work_list", "relay.after_first_position", "publisher.after_commit"])
def test_a_zombie_does_not_touch_the_snapshot_of_its_successor(shop, moment):
    """A stands still and loses its slot; B makes one of its own, or goes on with A's list and drops it; then A goes on."""
    shop.insert(20)
    pause = shop.dir / "pause"
    a = snapshot(shop, failpoint=f"{moment}=pause:{pause}{'@3' if moment.startswith('publisher') else ''}")
    system.wait_for(pause.exists, 30, "a pause")
    shop.postgres.terminate_slot_user(shop.slot)
    b = snapshot(shop)
    b.wait_streaming(60)
    pause.unlink()
    system.wait_for(lambda: not a.running or a.find("relay.standby"), 30, "A has noticed")
    assert a.exit_code in (None, 4), a.log_tail()
    shop.insert(5)
    wait_records(shop, 25)
    a.kill9()
    assert_whole(shop, b)


@pytest.mark.decoder("pgoutput")
def test_the_rows_are_those_of_the_slot_that_is_streamed(shop):
    """A stands still with its snapshot; B drops A's slot, makes another and dies; A streams that one."""
    ids = shop.insert(5)
    pause = shop.dir / "pause"
    a = snapshot(shop, failpoint=f"relay.after_slot_created=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    ids += shop.insert(3)  # behind A's snapshot, before B's slot
    expect_killed(snapshot(shop, failpoint="relay.after_slot_created=kill"), "relay.after_slot_created")
    pause.unlink()
    wait_records(shop, len(ids))
    assert_whole(shop, a, ids)


def test_a_fast_shutdown_of_postgres_does_not_wait_for_a_snapshot_that_kafka_does_not_take(shop):
    shop.insert_many(40_000)
    run = snapshot(shop)
    run.wait_event("position.committed", records=lambda n: n > 0)
    shop.kafka.sigstop()
    began = time.monotonic()
    shop.postgres.stop("fast", timeout=60)
    took = time.monotonic() - began
    shop.postgres.start()
    shop.kafka.sigcont()
    assert took < 10, f"{took:.1f} s"
    run.wait_streaming(60)
    assert_whole(shop, run)


@pytest.mark.decoder("pgoutput")
def test_settings_of_the_database_do_not_end_it(shop):
    """Time limits, for the session that keeps the snapshot too, and a database that is read-only by default."""
    ids = shop.insert(5)
    shop.psql(f"create publication {shop.publication} for table outbox with (publish = 'insert', publish_via_partition_root)")
    pause = shop.dir / "pause"
    holder = shop.session()
    for setting in ("statement_timeout = '1s'", "idle_in_transaction_session_timeout = '1s'", "default_transaction_read_only = on"):
        shop.psql(f"set default_transaction_read_only = off; alter database \"{shop.db}\" set {setting}")
    run = snapshot(shop, failpoint=f"relay.after_slot_created=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    holder.run("begin")
    holder.run("lock table outbox in access exclusive mode")
    pause.unlink()
    time.sleep(1.5)
    holder.run("commit")
    wait_records(shop, 5)
    assert not run.find("relay.recovering"), run.log_tail()
    shop.psql(f"set default_transaction_read_only = off; alter database \"{shop.db}\" reset all")
    assert_whole(shop, run, ids)


@pytest.mark.decoder("pgoutput")
def test_the_schema_may_be_made_by_another_meanwhile(shop):
    ids = shop.insert(3)
    pause = shop.dir / "pause"
    run = snapshot(shop, failpoint=f"relay.after_slot_created=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    shop.psql("create schema walferry")
    pause.unlink()
    wait_records(shop, 3)
    assert_whole(shop, run, ids)


@pytest.mark.decoder("pgoutput")
def test_a_work_list_that_somebody_reads_is_dropped_later(shop):
    """As pg_dump does for as long as it runs."""
    ids = shop.insert(3)
    pause = shop.dir / "pause"
    run = snapshot(shop, failpoint=f"relay.before_work_list_dropped=pause:{pause}")
    system.wait_for(pause.exists, 30, "a pause")
    reader = shop.session()
    reader.run(f"begin; lock table walferry.{shop.psql(LISTS)} in access share mode")
    pause.unlink()
    run.wait_streaming()
    assert run.find("relay.work_list_left", error=lambda e: "55P03" in e)
    again = shop.start("relay")
    run.kill9()
    again.wait_streaming(60)
    assert again.find("relay.work_list_left")
    reader.run("commit")
    assert again.terminate() == 0
    assert_whole(shop, shop.relay(), ids)


@pytest.mark.decoder("pgoutput")
def test_what_a_zombie_leaves_of_a_work_list_goes_with_the_next_start(shop):
    ids = shop.insert(3)
    run = shop.relay("--snapshot")
    wait_records(shop, 3)
    assert run.terminate() == 0
    for name in ("snapshot_1_0", "snapshot_ffffffffff_0"):  # of before the position, and of a slot behind it
        shop.psql(f"create table walferry.{name} (); comment on table walferry.{name} is 'work list of walferry, slot {shop.slot}'")
    run = shop.relay()
    assert run.find("relay.work_list_dropped", tables=1)
    assert shop.psql(LISTS) == "snapshot_ffffffffff_0"
    shop.psql("drop table walferry.snapshot_ffffffffff_0")
    assert_whole(shop, run, ids)


def test_a_slot_that_was_made_without_it_is_refused(shop):
    shop.insert(3)
    shop.init()
    refusal = snapshot(shop).expect_refused("snapshot_too_late")
    assert "without --snapshot" in refusal["remedy"]
    assert shop.run("init", "--snapshot").exit_code == 3
    shop.drain()
    assert shop.record_ids() == []
    # as the remedy has it
    shop.run("drop", "--confirm", shop.name).expect_exit(0)
    shop.init("--snapshot")
    assert shop.postgres.slot(shop.slot) is None
    assert_whole(shop, shop.relay("--snapshot"))


@pytest.mark.decoder("pgoutput")
def test_init_leaves_the_held_back_slot_to_the_relay_too(shop):
    ids = shop.insert(3)
    shop.config["postgres"]["replay"] = {"slot": shop.slot + "_held", "keep": "24h", "keep_bytes": "1GB"}
    said = shop.run("init", "--snapshot").expect_exit(0).stdout.decode()
    assert f"--  slot {shop.slot}_held" in said and "ok  topic " in said
    run = shop.relay("--snapshot")
    wait_records(shop, 3)
    system.wait_for(lambda: shop.postgres.slot(shop.slot + "_held"), 30, "the held-back slot")
    assert_whole(shop, run, ids)


@pytest.mark.decoder("pgoutput")
def test_an_outbox_with_the_work_lists_own_column_has_to_do_without(shop):
    shop.psql("alter table outbox add column walferry_ordinal int")
    failure = snapshot(shop).expect_exit(2).find("relay.failed")
    assert "walferry_ordinal" in failure["error"] and "rename" in failure["remedy"]
    assert shop.postgres.slot(shop.slot) is None
    assert shop.run("init", "--snapshot").exit_code == 2
    run = shop.relay()  # without it, nothing is owed
    shop.insert(1)
    wait_records(shop, 1)
    assert run.terminate() == 0


def test_a_standby_that_could_never_take_its_snapshot_says_so_at_once(shop):
    leader = shop.relay()
    assert "without --snapshot" in snapshot(shop).expect_refused("snapshot_too_late")["remedy"]
    assert leader.terminate() == 0


def test_a_work_list_that_is_lost_is_refused(shop):
    shop.insert_many(12000)
    run = snapshot(shop, failpoint="publisher.after_commit=kill@2")
    expect_killed(run, "publisher.after_commit")
    table = shop.psql(LISTS).strip()
    shop.psql(f"alter table walferry.{table} rename to away")
    refusal = shop.start("relay").expect_refused("snapshot_lost")
    assert table.rsplit("_", 1)[0] in refusal["remedy"]
    shop.psql(f"alter table walferry.away rename to {table}; create table kept as select * from walferry.{table} "
              f"where walferry_ordinal = 11990; delete from walferry.{table} where walferry_ordinal = 11990")
    shop.start("relay").expect_refused("snapshot_lost")
    shop.psql(f"insert into walferry.{table} select * from kept; "
              f"update walferry.{table} set walferry_ordinal = 99999 where walferry_ordinal = 11990")
    refusal = shop.start("relay").expect_refused("snapshot_lost")
    assert "11990" in refusal["error"] and table in refusal["error"] and "--snapshot" in refusal["remedy"]
    shop.psql(f"update walferry.{table} set walferry_ordinal = 11990 where walferry_ordinal = 99999")
    assert_whole(shop)


def test_a_position_that_was_set_keeps_the_option_from_taking_another(shop):
    shop.insert_many(12000)
    expect_killed(snapshot(shop, failpoint="publisher.after_commit=kill@3"), "publisher.after_commit")
    shop.run("position", "set", "new", "--confirm", shop.name, "--reason", "too early").expect_exit(2)
    shop.drain()
    shop.postgres.drop_slot(shop.slot)
    shop.run("position", "set", "new", "--confirm", shop.name, "--reason", "the slot was lost").expect_exit(0)
    run = shop.relay("--snapshot")
    shop.insert(2)
    wait_records(shop, 12002)
    assert_whole(shop, run)


def test_no_snapshot_is_taken_of_what_was_published_by_a_slot_that_is_lost(shop):
    run = shop.relay()
    ids = shop.insert(4)
    wait_records(shop, 4)
    assert run.terminate() == 0
    shop.postgres.drop_slot(shop.slot)
    shop.run("position", "set", "new", "--confirm", shop.name, "--reason", "the slot was lost").expect_exit(0)
    run = shop.relay("--snapshot")
    assert run.find("relay.snapshot_done", reason=lambda r: r is not None)
    ids += shop.insert(2)
    wait_records(shop, 6)
    assert_whole(shop, run, ids)


def test_a_position_is_not_set_while_a_snapshot_is_owed(shop):
    ids = shop.insert(7)
    expect_killed(snapshot(shop, failpoint="relay.after_slot_created=kill"), "relay.after_slot_created")
    at = shop.postgres.slot(shop.slot)["confirmed_flush_lsn"]
    refusal = shop.run("position", "set", at, "--confirm", shop.name, "--reason", "in haste").expect_exit(2)
    assert "--snapshot" in refusal.find("position.failed")["remedy"]
    assert_whole(shop, wanted=ids)


def test_drop_takes_the_work_list_too(shop):
    shop.insert(5)
    expect_killed(snapshot(shop, failpoint="relay.after_first_position=kill"), "relay.after_first_position")
    assert shop.psql(LISTS) != ""
    shop.run("drop", "--confirm", shop.name).expect_exit(0)
    assert shop.psql(LISTS) == ""


def test_a_role_with_the_printed_rights_can_take_it(shop):
    """And one without them leaves no slot behind."""
    shop.config["postgres"]["conninfo"] = shop.config["postgres"]["conninfo"].replace("user=postgres", "user=" + shop.name)
    shop.config["postgres"]["create"] = False
    shop.init("--admin", shop.postgres.conninfo(shop.db), "--snapshot")
    shop.insert(4)
    shop.psql(f"revoke create on schema walferry from {shop.name}")
    run = snapshot(shop).expect_exit(2)
    assert "--snapshot" in run.find("relay.failed")["remedy"]
    assert shop.postgres.slot(shop.slot) is None
    shop.psql(f"grant create on schema walferry to {shop.name}; alter table outbox enable row level security")
    run = snapshot(shop).expect_exit(2)
    assert "row-level security" in run.find("relay.failed")["error"]
    shop.psql("alter table outbox disable row level security")
    assert_whole(shop, shop.relay("--snapshot"))
    shop.run("drop", "--confirm", shop.name)
    shop.psql(f"drop owned by {shop.name}; drop role {shop.name}")


@pytest.mark.decoder("pgoutput")
def test_a_list_of_another_role_is_named_with_its_owner(shop):
    shop.insert(2)
    expect_killed(snapshot(shop, failpoint="relay.after_work_list=kill"), "relay.after_work_list")
    shop.psql(f"create role {shop.name} login replication; grant create on database \"{shop.db}\" to {shop.name}; "
              f"grant usage, create on schema walferry to {shop.name}; grant select on outbox to {shop.name}")
    table, conninfo = shop.psql(LISTS), shop.config["postgres"]["conninfo"]
    shop.config["postgres"]["conninfo"] = conninfo.replace("user=postgres", "user=" + shop.name)
    failure = snapshot(shop).expect_exit(2).find("relay.failed")
    assert f"walferry.{table} belongs to postgres" in failure["error"] and f"DROP TABLE walferry.{table}" in failure["remedy"]
    shop.psql(f"drop table walferry.{table}")
    assert_whole(shop, shop.relay("--snapshot"))
    shop.run("drop", "--confirm", shop.name)
    shop.psql(f"drop owned by {shop.name}; drop role {shop.name}")


@pytest.mark.parametrize("arguments", [["--dry-run", "3"], ["--sink", "stdout"], ["--adopt-slot"]])
@pytest.mark.decoder("pgoutput")
def test_what_does_not_go_with_it(shop, arguments):
    shop.start("relay", "--snapshot", *arguments).expect_exit(2)
