"""`walferry init`: everything that the relay needs, made once, by someone who may, or printed for someone who will."""
import json
import os
import signal

import pytest

from harness import system
from harness.servers import SqlError
from integration_checks import ready, wait_records

OBJECTS = """
select 'table ' || c.oid::regclass || ' ' || c.relkind::text || ' ' || coalesce(c.relacl::text, '') as what from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
union all select 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
  where connamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
union all select 'function ' || oid::regprocedure || ' ' || coalesce(proacl::text, '') from pg_proc
  where pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
union all select 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') from pg_namespace where nspname !~ '^pg_'
union all select concat('publication ', oid, pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate,
  pubviaroot) from pg_publication
union all select 'published ' || oid || prrelid::regclass from pg_publication_rel
union all select 'slot ' || slot_name || plugin || restart_lsn from pg_replication_slots where database = current_database()
union all select 'role ' || rolname from pg_roles
"""


def state(shop):
    """All that init could make or change, in Postgres and in Kafka."""
    topics = {t: n for t, n in shop.kafka.topics().items() if shop.name in t}
    return sorted(r["what"] for r in shop.query(OBJECTS)), topics, shop.position()


def emit(shop, user="postgres", n=1, key="k"):
    return (shop.psql(f"select walferry.emit('orders', 'OrderPlaced', '{key}', '{{\"n\": {n}}}')", user=user),
            shop.psql(f"select walferry.emit_message('orders', 'OrderNoted', '{key}', '{{\"n\": {n + 1}}}')", user=user))


@pytest.fixture
def bare(make_shop):
    """A database without an outbox."""
    return make_shop(create_table=False)


def assert_publication(shop):
    publications = shop.query("select * from pg_publication")
    if shop.decoder == "wal2json":
        assert publications == []  # it reads none
        return
    publication, = publications
    assert publication["pubname"] == shop.publication and publication["pubviaroot"]
    assert [publication[f"pub{what}"] for what in ("insert", "update", "delete", "truncate")] == [True] + 3 * [False]
    tables = shop.query("select schemaname || '.' || tablename as name from pg_publication_tables")
    assert [t["name"] for t in tables] == ["public.outbox"]


def test_init_makes_everything(bare):
    bare.init()
    columns = {r["column_name"] for r in bare.query("select column_name from information_schema.columns "
                                                    "where table_schema = 'public' and table_name = 'outbox'")}
    assert {"id", "aggregatetype", "aggregateid", "type", "payload"} <= columns
    assert_publication(bare)
    slot = bare.postgres.slot(bare.slot)
    assert slot["plugin"] == bare.decoder and slot["database"] == bare.db and not slot["two_phase"]
    position = bare.position()
    assert position is not None and json.dumps(position)
    topics = bare.kafka.topics()
    assert topics[f"walferry.position.{bare.name}"] == 1
    assert bare.kafka.topic_config(f"walferry.position.{bare.name}")["cleanup.policy"] == "compact"
    assert bare.quarantine_topic in topics
    functions = bare.query("select proname from pg_proc where pronamespace = 'walferry'::regnamespace")
    assert {"emit", "emit_message"} <= {f["proname"] for f in functions}


def test_topics_that_the_routes_name_are_made(bare):
    bare.config["relay"]["routes"].insert(0, {"type": "Rental*", "topic": f"{bare.name}.fleet.rentals"})
    bare.config["kafka"]["topics"]["partitions"] = 4
    bare.init()
    assert bare.kafka.topics()[f"{bare.name}.fleet.rentals"] == 4


def test_the_outbox_refuses_rows_that_could_never_be_decoded(bare):
    bare.init()
    checks = bare.query("select pg_get_constraintdef(oid) as text from pg_constraint "
                        "where conrelid = 'public.outbox'::regclass and contype = 'c'")
    assert any("payload" in c["text"] and ("length" in c["text"] or "size" in c["text"]) for c in checks), checks


def test_a_second_init_changes_nothing(bare):
    bare.init()
    bare.psql("insert into outbox (id, aggregatetype, aggregateid, type, payload) "
              "values (gen_random_uuid(), 'orders', 'k', 'T', '{}')")
    before = state(bare)
    bare.init()
    assert state(bare) == before
    bare.drain()
    before = state(bare)
    bare.init()  # and with a history
    assert state(bare) == before
    bare.assert_exactly_once()


def test_an_outbox_that_is_there_stays_as_it_is(shop):
    columns = "select column_name, data_type from information_schema.columns where table_name = 'outbox' order by 1"
    before = shop.query(columns)
    shop.init()
    assert shop.query(columns) == before
    shop.insert(2)
    shop.drain()
    shop.assert_exactly_once()


def test_print_prints_and_changes_nothing(bare):
    before = state(bare)
    run = bare.init("--print")
    assert state(bare) == before
    printed = run.stdout.decode()
    for name in (bare.slot, bare.quarantine_topic, f"walferry.position.{bare.name}", "outbox",
                 "walferry.emit", "emit_message"):
        assert name in printed, f"{name} is not in\n{printed}"
    assert "create table" in printed.lower()
    assert (f'create publication "{bare.publication}"' in printed.lower()) == (bare.decoder == "pgoutput")
    assert "relay.refused" not in "\n".join(run.lines)


def test_print_needs_no_servers(bare):
    config = bare.changed(postgres={"conninfo": "host=127.0.0.1 port=1 dbname=none user=nobody"},
                          kafka={"brokers": "127.0.0.1:1"})
    assert bare.slot in bare.init("--print", config=config, timeout=30).stdout.decode()


def test_the_printed_sql_is_what_init_runs(bare, make_shop):
    """Given to psql it makes the same objects; what cannot be SQL (topics, the position) is in comments."""
    printed = bare.init("--print").stdout.decode()
    bare.psql(printed)
    tables, functions = ("select relname from pg_class where relkind in ('r', 'p') and relnamespace::regnamespace::text "
                         "in ('public', 'walferry') order by 1", "select oid::regprocedure::text as f from pg_proc where "
                         "pronamespace = 'walferry'::regnamespace order by 1")
    made = bare.query(tables), bare.query(functions)
    other = make_shop(create_table=False)
    other.init()
    assert (other.query(tables), other.query(functions)) == made
    bare.init()
    bare.psql("select walferry.emit('orders', 'T', 'k', '{}')")
    bare.drain()
    bare.assert_exactly_once()


def test_emit_and_emit_message_arrive(bare):
    bare.init()
    relay = bare.relay()
    emit(bare, n=1)
    with bare.session() as session:
        session.run("begin")
        session.run("select walferry.emit('orders', 'OrderPlaced', 'k', '{\"n\": 3}')")
        session.run("select walferry.emit_message('orders', 'OrderNoted', 'k', '{\"n\": 4}')")
        session.run("commit")
        session.run("begin")
        session.run("select walferry.emit('orders', 'OrderPlaced', 'k', '{\"n\": 5}')")
        session.run("select walferry.emit_message('orders', 'OrderNoted', 'k', '{\"n\": 6}')")
        session.run("rollback")
    wait_records(bare, 4)
    assert relay.terminate() == 0
    bare.drain()
    records = bare.events()
    assert [r["event"]["payload"]["n"] for r in records] == [1, 2, 3, 4]
    assert [r["headers"]["type"] for r in records] == ["OrderPlaced", "OrderNoted"] * 2
    assert {r["key"] for r in records} == {"k"}
    assert len({r["headers"]["id"] for r in records}) == 4
    assert not bare.quarantined()


def test_emit_returns_the_id_and_leaves_the_row(bare):
    ready(bare.init() and bare)
    row_id, _ = emit(bare)
    assert row_id and row_id in bare.outbox_ids()


def test_init_by_an_administrator_for_a_relay_with_few_rights(bare):
    role, app = f"relay_{bare.name}", f"app_{bare.name}"
    bare.postgres.psql(f"create role {role} login replication; create role {app} login")
    try:
        bare.config["postgres"]["conninfo"] = bare.postgres.conninfo(bare.db, role)
        bare.init("--admin", bare.postgres.conninfo(bare.db))
        relay = bare.relay()
        bare.psql(f"grant usage on schema walferry to {app}; grant insert on outbox to {app}; "
                  f"grant execute on all functions in schema walferry to {app}")
        emit(bare, user=app)
        wait_records(bare, 2)
        assert relay.terminate() == 0
        assert len(bare.events()) == 2
        with pytest.raises(SqlError):
            bare.psql("drop table outbox", user=role)
        with pytest.raises(SqlError):
            bare.psql("create table public.mine (n int)", user=role)
        bare.init("--admin", bare.postgres.conninfo(bare.db))
        bare.drain()
    finally:
        bare.postgres.drop_database(bare.db)
        bare.postgres.psql(f"drop role {role}; drop role {app}")


def test_without_the_rights_init_says_so(bare):
    role = f"poor_{bare.name}"
    bare.postgres.psql(f"create role {role} login")
    try:
        run = bare.run("init", config=bare.changed(postgres={"conninfo": bare.postgres.conninfo(bare.db, role)}))
        run.expect_exit(2)
        failed = run.find("init.failed")
        assert "permission denied" in failed["error"]
        assert "--admin" in failed["remedy"] and "--print" in failed["remedy"]
        assert bare.postgres.slot(bare.slot) is None
    finally:
        bare.postgres.psql(f"drop role {role}")


def test_init_by_the_relays_own_role_behind_the_printed_sql(bare):
    """An administrator has run what --print prints: the role may make nothing of it, and makes slot, position and topics."""
    role = f"relay_{bare.name}"
    bare.config["postgres"]["conninfo"] = bare.postgres.conninfo(bare.db, role)
    bare.config["postgres"]["create"] = False
    try:
        bare.psql(bare.init("--print").stdout.decode())
        done = bare.init()
        assert "left as it was" in done.stdout.decode()
        assert bare.postgres.slot(bare.slot) is not None
        bare.psql("select walferry.emit('orders', 'T', 'k', '{}')")
        bare.drain()
        bare.assert_exactly_once()
    finally:
        bare.postgres.drop_database(bare.db)
        bare.postgres.psql(f"drop role {role}")


def test_what_was_inserted_between_init_and_the_first_start_arrives(bare):
    bare.init()
    emit(bare)
    bare.drain()
    assert len(bare.events()) == 2


@pytest.mark.parametrize("moment", ["relay.after_intent", "relay.after_slot_created", "relay.after_first_position"])
@pytest.mark.parametrize("command", [["init"], ["relay", "--until", "now"]], ids=["init", "relay"])
def test_a_start_killed_half_way_is_finished_by_the_next(shop, command, moment):
    """Fail points; also the case of an intent and a slot without a position."""
    first = shop.run(*command, failpoint=f"{moment}=kill")
    assert first.exit_code == -9, first.log_tail()
    if shop.postgres.slot(shop.slot):
        shop.insert(2)
    wanted = shop.outbox_ids()
    shop.run(*command).expect_exit(0)
    wanted |= set(shop.insert(2))
    shop.drain()
    shop.assert_exactly_once(wanted)


# Names


def test_names_with_dollar_tags_in_them_are_only_names(make_shop):
    shop = make_shop(create_table=False)
    table, role = "out$walferry$box", "r$walferry$1$" + shop.name[-6:]
    shop.config["relay"]["tables"] = [{"table": f"public.{table}".replace("$", "$$")}]  # the config's own escape
    shop.config["relay"]["messages"] = ["a$$walferry$$b"]
    shop.config["postgres"]["conninfo"] = shop.postgres.conninfo(shop.db, user=role.replace("$", "$$"))
    try:
        shop.psql(shop.init("--print").stdout.decode())
        shop.init("--admin", shop.postgres.conninfo(shop.db))
        emit(shop)
        assert shop.psql(f'select count(*) from "{table}"') == "1"
        shop.drain()
        assert len(shop.record_ids()) == 2
    finally:
        shop.postgres.drop_slot(shop.slot)
        shop.psql(f'drop owned by "{role}"; drop role "{role}"')


# Stopped before it is done


def test_a_stop_before_it_is_done_is_no_success(bare, tmp_path):
    """Slot and intent are there, the first position is not yet, and Kafka does not answer."""
    held = tmp_path / "held"
    run = bare.start("init", failpoint=f"relay.after_slot_created=pause:{held}")
    system.wait_for(held.exists, 30, "the slot is made")
    bare.kafka.sigstop()
    try:
        held.unlink()
        assert run.terminate() == 1
    finally:
        bare.kafka.sigcont()
    assert "stopped" in run.find("init.failed")["error"] and not run.find("process.done")
    bare.init()
    ready(bare)  # goes on from the intent


def test_a_second_signal_before_it_is_done_is_no_success_either(bare):
    port, = system.free_ports(1)
    run = bare.start("init", config=bare.changed(kafka={"brokers": f"127.0.0.1:{port}"}))
    run.wait_event("kafka.log")  # it is trying
    os.kill(run.pid, signal.SIGTERM)
    run.wait_event("process.stopping")
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(5) == 1
