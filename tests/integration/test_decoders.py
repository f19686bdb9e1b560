"""The two decoders are equal: from the same WAL, read with a slot of each plugin, come the same changes, and from two
relays the same records. What cannot be equal is named here, one by one."""
import json
import subprocess
import uuid

import pytest

from harness import system
from harness.walferry import tool
from integration_checks import wait_records

NUMERIC = {"c_numeric", "c_float8", "c_float4"}  # NaN and the infinities are null in wal2json's frames
TYPES = """
create domain positive as int check (value > 0);
create type mood as enum ('sad', 'it''s "fine"');
create type "Odd ""Type\\" as (a int, b text);
create table wide (
  id uuid default gen_random_uuid() primary key,
  c_int2 int2, c_int int, c_bigint bigint, c_oid oid, c_numeric numeric, c_float8 float8, c_float4 float4, c_bool bool,
  c_text text, c_varchar varchar(10), c_char char(5), "c ""odd\\ näme" text, c_json json, c_jsonb jsonb, c_bytea bytea,
  c_uuid uuid, c_date date, c_time time, c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz,
  c_interval interval, c_int_array int[], c_text_array text[], c_bytea_array bytea[], c_bool_array bool[], c_inet inet,
  c_bits bit(3), c_money money, c_point point, c_range int4range, c_tsvector tsvector, c_xml xml, c_domain positive,
  c_mood mood, c_odd "Odd ""Type\\", c_regclass regclass, gen int generated always as (c_int + 1) stored);
create table plain (id int, dropped text, note text);
create table "Quo""ted\\" (id int);
"""
SESSION = ("set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC'; set extra_float_digits = 3; "
           "set bytea_output = 'hex'; set search_path = ''; ")

WORK = [
    r"""insert into wide values (default, 1, -2147483648, 9223372036854775807, 4294967295,
      12345678901234567890123456789.123456789012345678901234567890, 0.1, 1e-30, true,
      E'q"\\b\n\r\t\b\f\u0001\u007f/😀é\u2028', 'abc', 'ab', 'x', ' {"a": 1, "a":2.50e3,  "b":"\u00e9\\"}',
      '{"b": 1e400, "a": [1.10, null]}', '\xdeadbeef00', '6c614354-0a97-4db2-bca7-cfcbff571bec', '2026-01-01', '12:34:56.789',
      '12:34:56+02', '2026-01-01 00:00:00.123456', '2026-01-01 00:00:00.1+02', '1 year 2 mons 3 days 04:05:06',
      '{1,2,NULL}', array['a b', '"q"\', null, ''], array['\x00'::bytea, '\x'], '{t,f}', '10.0.0.0/8', '101', '3.5',
      '(1,2)', '[1,5)', 'a:1 b', '<a>"</a>', 5, 'it''s "fine"', row(1, 'a"b\'), 'pg_class'::regclass)""",
    "insert into wide (c_int) values (null)",
    "insert into wide (c_text, c_varchar, c_bytea, c_text_array, c_json) values ('', '', '', '{}', '\"\"')",
    "insert into wide (c_numeric, c_float8, c_float4) values ('NaN', 'NaN', 'NaN'), ('Infinity', '-Infinity', 'Infinity'), "
    "('0', '-0', '1e38'), ('-1.50', '1e300', '-1e-45')",
    "insert into wide (c_numeric, c_float8) select ('1e' || n)::numeric + 1e-20, ('1.7976931348623157e' || n)::float8 "
    "from generate_series(-300, 300, 50) n",
    "insert into wide (c_text, c_bytea, c_jsonb) select string_agg(md5(n::text), E'\\n\"'), decode(string_agg(md5(n::text), ''), "
    "'hex'), jsonb_agg(md5(n::text)) from generate_series(1, 20000) n",  # TOASTed
    "alter table wide alter c_text set storage external; insert into wide (c_text) values (repeat('é\\', 100000))",
    "begin; insert into plain values (1, 'd', 'a'); savepoint s; insert into plain values (2, 'd', 'lost'); rollback to s; "
    "savepoint t; insert into plain values (3, 'd', 'kept'); release t; insert into plain values (4, 'd', 'b'); commit",
    "begin; insert into plain values (5, 'd', 'rolled back'); select pg_logical_emit_message(true, 'p', 'too'); rollback",
    "begin; insert into plain values (6, 'd', 'x'); delete from plain where id = 6; update plain set note = 'y'; commit",
    "begin; insert into plain values (7, 'd', 'x'); alter table plain drop column dropped; insert into plain values (8, 'n'); "
    "alter table plain add column more numeric default 1.50; insert into plain values (9, 'n'); alter table plain rename "
    "column note to noted; insert into plain values (10, 'n', 2.0); alter table plain alter id type bigint; "
    "insert into plain values (11, 'n'); commit",
    "do $$ begin for n in 1..50 loop begin insert into plain values (n, 'sub'); if n % 3 = 0 then raise 'x'; end if; "
    "exception when raise_exception then null; end; end loop; end $$",
    "copy plain (id, noted) from program 'seq 1 200 | tr ''\\n'' ''\\n'' | sed \"s/$/\\t\\\\\\\\\\\\\\\\\\\"/\"'",
    'insert into "Quo""ted\\" values (1)',
    "create table empty_transactions (n int)",
    "update plain set noted = 'z'",
    "truncate plain",
    "select pg_logical_emit_message(true, 'walferry', E'{\"a\": \"\\\\\"é😀\\n\\t\"}')",
    "select pg_logical_emit_message(true, 'pre\"fix', '')",
    "select pg_logical_emit_message(true, 'bytes', '\\x80ff22015c0a7fc3'::bytea)",
    "select pg_logical_emit_message(false, 'walferry', 'not in a transaction')",
    "begin; insert into plain values (12, 'm'); select pg_logical_emit_message(true, 'walferry', 'one'), "
    "pg_logical_emit_message(false, 'walferry', 'two'), pg_logical_emit_message(true, 'walferry', 'three'); commit",
    "begin; insert into plain values (13, 'p'); prepare transaction 'p'; commit prepared 'p'",
]


def decode(*args, input=None):
    done = subprocess.run([tool("decode"), *args], input=input, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def database(postgres):
    name = "decoders" + uuid.uuid4().hex[:10]
    postgres.psql(f"create database {name}")
    yield name
    postgres.drop_database(name)


class Slots:
    """The same WAL through a slot of each plugin."""

    def __init__(self, postgres, db):
        self.postgres, self.db = postgres, db
        postgres.psql(f"create publication {db} for all tables with (publish = 'insert', publish_via_partition_root = true)", db)
        for plugin in ("pgoutput", "wal2json"):
            postgres.psql(f"select pg_create_logical_replication_slot('{db}_{plugin}', '{plugin}')", db)

    def frames(self, plugin):
        options = decode(plugin, "--options", self.db).split("\n")[:-1]
        quoted = ", ".join("'" + o.replace("'", "''") + "'" for o in options)
        return self.postgres.psql(SESSION + f"select encode(data, 'hex') from pg_catalog.pg_logical_slot_get_binary_changes("
                                  f"'{self.db}_{plugin}', null, null, {quoted})", self.db)

    def changes(self, plugin):
        lines = decode(plugin, input=self.frames(plugin) + "\n")
        return [json.loads(line) for line in lines.split("\n")[:-1]]


def without_empty(changes):
    """pgoutput leaves empty transactions out, wal2json does not; non-transactional messages concern nobody."""
    kept = []
    for change in changes:
        if change["kind"] == "message" and not change["transactional"]:
            continue
        if change["kind"] == "commit" and kept[-1]["kind"] == "begin":
            kept.pop()
        else:
            kept.append(change)
    return kept


def as_wal2json_says_it(change):
    if change["kind"] == "insert":
        change["columns"] = [[name, oid, None if name in NUMERIC and value in ("NaN", "Infinity", "-Infinity") else value]
                             for name, oid, value in change["columns"]]
    return change


def as_pgoutput_says_it(change):
    if change["kind"] == "insert":  # a generated column is not published before Postgres 18
        change["columns"] = [c for c in change["columns"] if c[0] != "gen"]
    return change


def test_the_same_changes_come_from_the_same_wal(postgres, database):
    postgres.psql(TYPES, database)
    slots = Slots(postgres, database)
    for sql in WORK:
        postgres.psql(sql, database)
    ours, theirs = slots.changes("pgoutput"), slots.changes("wal2json")
    kinds = [c["kind"] for c in ours]
    assert kinds.count("begin") >= 15 and kinds.count("insert") >= 260 and kinds.count("message") >= 5, kinds
    expected = [as_wal2json_says_it(c) for c in without_empty(ours)]
    found = [as_pgoutput_says_it(c) for c in without_empty(theirs)]
    for a, b in zip(expected, found):
        assert a == b
    assert len(expected) == len(found)


def test_a_message_with_a_nul_is_cut_off_by_wal2json(postgres, database):
    """Nothing in the frame tells it: the README says so."""
    slots = Slots(postgres, database)
    postgres.psql("select pg_logical_emit_message(true, 'p', '\\x6100ff'::bytea)", database)
    contents = [next(c for c in slots.changes(p) if c["kind"] == "message")["content_hex"] for p in ("pgoutput", "wal2json")]
    assert contents == ["6100ff", "61"]


def seen(shop):
    """What a consumer sees of an instance, its own name left out."""
    records = []
    for topic in [*shop.event_topics(), shop.quarantine_topic]:
        for r in shop.kafka.consume(topic):
            partition = r["partition"] if r.get("key") is not None else "any"
            text = json.dumps([topic, partition, r.get("key"), r["payload"], r["headers"]], sort_keys=True)
            records.append(text.replace(shop.name, "NAME"))
    return sorted(records)


@pytest.mark.decoder("wal2json")
def test_the_same_records_come_from_two_relays(make_shop):
    """Partitioned, with messages, quarantined rows and a column dropped: keys, values, headers and partitions are equal."""
    first = make_shop(decoder="pgoutput", create_table=False)
    first.psql("create table outbox (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text, "
               "payload jsonb, spare text, occurred_at timestamptz default clock_timestamp(), headers jsonb) "
               "partition by list (type); create table outbox_1 partition of outbox for values in ('A'); "
               "create table outbox_2 (payload jsonb, type text, id uuid default gen_random_uuid(), junk int, spare text, "
               "headers jsonb, occurred_at timestamptz, aggregateid text, aggregatetype text); "
               "alter table outbox_2 drop column junk; alter table outbox attach partition outbox_2 default")
    shops = [first, make_shop(db=first.db, create_table=False)]
    relays = [shop.relay() for shop in shops]
    insert = "insert into outbox (aggregatetype, aggregateid, type, payload, headers) values "
    for sql in (insert + """('orders', 'k1', 'A', '{"n": 1.10, "s": "\\u00e9\\"😀"}', '{"h": "1"}'), ('orders', 'k2', 'B', '[]', null)""",
                insert + "('orders', null, 'A', '{}', null), (null, 'k', 'B', '{}', null), ('o', 'k', 'A', '{}', '[1]')",
                "alter table outbox drop column spare; " + insert + "('orders', 'k3', 'B', 'null', null)",
                "select pg_logical_emit_message(true, 'walferry', '{\"id\":\"m1\",\"type\":\"A\",\"aggregate\":\"orders\","
                "\"key\":\"k\",\"payload\":{\"x\":1.0}}'), pg_logical_emit_message(true, 'walferry', 'no envelope')",
                "select pg_logical_emit_message(true, 'walferry', '\\xff80'::bytea)"):
        first.psql(sql)
    for shop, relay in zip(shops, relays):
        wait_records(shop, 4)
        system.wait_for(lambda s=shop: len(s.quarantined()) >= 5, 30, "quarantined")
        assert relay.terminate() == 0
    one, two = map(seen, shops)
    assert len(one) >= 9
    for a, b in zip(one, two):
        assert a == b
    assert len(one) == len(two)
    positions = [shop.position() for shop in shops]
    for member in ("commit_lsn", "end_lsn", "xid", "commit_time_us", "complete", "next_index"):
        assert positions[0][member] == positions[1][member]
