"""The inbox's tables and statements (bridge/inbox/statements.h), from psql sessions as two members would use them."""
import json
import random
import subprocess
import threading
import time
import uuid

import pytest

from harness import system, walferry
from harness.postgres import bindir
from harness.servers import SqlError
from harness.shop import quote, yaml

INBOX = {"group": "accounting", "topics": ["fleet.rentals"],
         "handlers": [{"type": "*", "call": "app.on_event"}]}
HANDLER = """
create schema app;
create table app.effects (n bigserial, id text, correlation text, causation text, tenant text);
create function app.on_event(e jsonb) returns void language plpgsql as $$
begin
  insert into app.effects (id, correlation, causation, tenant) values (e->>'id',
    current_setting('walferry.correlation_id', true), current_setting('walferry.causation_id', true),
    current_setting('walferry.tenant_id', true));
  if e ? 'emit' then
    perform walferry.emit('orders', 'Reaction', 'k', '{}');
  end if;
  if e ? 'fail' then
    raise exception 'poison';
  end if;
end $$;
"""
PARTITION = ("accounting", "fleet.rentals", 0)


def literal(value):
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, (bool, int)) else quote(value)


class Member:
    """A session with all statements prepared. Results as psql prints them: rows by line, columns by |."""

    def __init__(self, world, user="postgres"):
        self.world, self.session = world, world.postgres.session(world.db, user)
        world.members.append(self)
        self.run = self.session.run
        for name, sql in world.statements.items():
            if "$1" in sql:
                self.run(f"prepare {name} as {sql}")

    def text(self, name, *params):
        if not params:  # as LOCK TABLE, which PREPARE does not take
            return self.world.statements[name]
        return f"execute {name} ({', '.join(map(literal, params))})"

    def do(self, name, *params):
        return self.session.run(self.text(name, *params))

    def send(self, name, *params):
        self.session.send(self.text(name, *params))

    def blocked(self):
        """Until the session waits for a lock."""
        pid = self.pid
        system.wait_for(lambda: self.world.psql(f"select wait_event_type from pg_stat_activity where pid = {pid}") == "Lock",
                        10, "blocked")

    def begin(self):
        self.pid = self.run("select pg_backend_pid()")
        self.run("begin")
        self.do("wf_marks_lock")

    def message(self, id, key=b"k", source="shop", consumer="accounting", offset=0, ids=(), **event):
        """The parameters of handle."""
        ids = list(ids) + [None] * (5 - len(ids))
        return (consumer, source, id, *ids, json.dumps({"id": id, **event}), "fleet.rentals", 0, offset, 1000, key, "{}",
                b"raw " + id.encode())

    def handle(self, id, **kwargs):
        return self.do("handle", *self.message(id, **kwargs)).split("|")[0] or "duplicate"

    def replay(self, id, **kwargs):
        return self.do("replay", *self.message(id, **kwargs)[:9]).split("|")[0] or "duplicate"

    def handle_alone(self, id, **kwargs):
        self.begin()
        outcome = self.handle(id, **kwargs)
        self.run("commit")
        return outcome

    def dead_letter(self, id, hold, key=b"k", offset=0):
        return self.do("wf_dead_letter", *PARTITION, offset, 1000, key, "{}", b"raw", "shop", id, "Rental", "P0001", "poison",
                       None, hold).split("|")


def statements(handler):
    """All statements of the inbox by name, those that call it among them."""
    lines = subprocess.run([walferry.tool("inbox_statements"), handler], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.splitlines()
    return {line["name"]: line["sql"] for line in map(json.loads, lines)}


class World:
    def __init__(self, postgres):
        self.postgres, self.db, self.members = postgres, "inbox" + uuid.uuid4().hex[:10], []
        postgres.psql(f'create database "{self.db}"')
        directory = system.temp_dir("inbox")
        (directory / "walferry.yaml").write_text(yaml({
            "name": self.db, "postgres": {"conninfo": postgres.conninfo(self.db)}, "kafka": {"brokers": "127.0.0.1:1"},
            "relay": {"tables": [{"table": "public.outbox"}]}, "inbox": INBOX}))
        run = walferry.run("init", directory / "walferry.yaml", "--print").expect_exit(0)
        system.remove_dir(directory)
        self.psql(run.stdout.decode())
        self.psql(HANDLER)
        self.statements = statements("app.on_event")

    def psql(self, sql, **kwargs):
        return self.postgres.psql(sql, self.db, **kwargs)

    def effects(self):
        return self.psql("select id from app.effects order by n").split()

    def enter(self, member):
        """A claimed partition at offset 0; returns the claim."""
        member.do("wf_offset_enter", *PARTITION, 0, "cluster")
        return self.claim(member)

    def claim(self, member):
        read = member.do("wf_offset_read", *PARTITION).split("|")
        return int(member.do("wf_offset_claim", *PARTITION, int(read[1]), "cluster"))

    def offset(self):
        return int(self.psql("select next_offset from walferry.inbox_offsets"))

    def age(self, interval):
        self.psql(f"update walferry.inbox_generations set opened_at = opened_at - interval '{interval}'")

    def generations(self):
        return [int(n) for n in self.psql("select generation from walferry.inbox_generations order by 1").split()]

    def close(self):
        for member in self.members:
            member.session.close()
        self.postgres.drop_database(self.db)


@pytest.fixture
def world(postgres):
    made = World(postgres)
    yield made
    made.close()


@pytest.fixture
def two(world):
    return Member(world), Member(world)


# What init makes


def dump(postgres, db):
    """All of the schema walferry, with its data. Newer dumps bear a random word in their first line."""
    done = subprocess.run([bindir() / "pg_dump", "--data-only", "-t", "walferry.inbox_layout",
                           postgres.conninfo(db)], capture_output=True, text=True, check=True).stdout
    done += subprocess.run([bindir() / "pg_dump", "--schema", "walferry", "--schema-only", postgres.conninfo(db)],
                           capture_output=True, text=True, check=True).stdout
    return [line for line in done.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


@pytest.mark.decoder("pgoutput")
def test_init_makes_what_it_prints_and_a_second_changes_nothing(make_shop, world):
    shop = make_shop(create_table=False)
    shop.config["inbox"] = INBOX
    assert "ok  inbox tables and functions\n" in shop.init().stdout.decode()
    made = dump(shop.postgres, shop.db)
    assert any("inbox_processed_messages_1" in line for line in made)
    assert made == dump(world.postgres, world.db)
    shop.init()
    assert dump(shop.postgres, shop.db) == made
    shop.psql(shop.init("--print").stdout.decode().replace("CREATE PUBLICATION", "-- "))
    assert dump(shop.postgres, shop.db) == made


@pytest.mark.decoder("pgoutput")
def test_without_an_inbox_section_nothing_of_it_is_made(make_shop):
    shop = make_shop(create_table=False)
    assert "inbox" not in shop.init().stdout.decode()
    assert shop.query("select 1 from pg_class where relname like 'inbox%'") == []


@pytest.mark.decoder("pgoutput")
@pytest.mark.parametrize("change, found", [("update walferry.inbox_layout set version = 99", 99),
                                           ("drop table walferry.inbox_layout", 0)])
def test_tables_of_another_layout_are_named_and_left(make_shop, change, found):
    shop = make_shop(create_table=False)
    shop.config["inbox"] = INBOX
    shop.init()
    shop.psql(change)
    before = dump(shop.postgres, shop.db) if found else None
    run = shop.run("init").expect_exit(3)
    refused = run.find("init.refused")
    assert refused["code"] == "inbox_layout" and f"layout {found}," in refused["error"]
    assert before is None or dump(shop.postgres, shop.db) == before
    with pytest.raises(SqlError, match=f"layout {found},"):
        shop.psql(run_print(shop))


def run_print(shop):
    return shop.run("init", "--print").expect_exit(0).stdout.decode()


@pytest.mark.decoder("pgoutput")
def test_the_granted_role_can_do_all_that_the_inbox_does_and_no_more(make_shop, world):
    shop = make_shop(create_table=False)
    role = f"inbox_{shop.name}"
    shop.config["inbox"] = INBOX
    shop.postgres.psql(f"create role {role} login replication")
    shop.config["postgres"]["conninfo"] = shop.postgres.conninfo(shop.db, role)
    world.postgres, own = shop.postgres, world.db
    try:
        shop.init("--admin", shop.postgres.conninfo(shop.db))
        assert "inbox tables and functions; left as it was" in shop.init().stdout.decode()
        shop.psql(HANDLER + f"grant usage on schema app to {role}; grant insert on app.effects to {role}; "
                            f"grant usage on sequence app.effects_n_seq to {role}")
        world.db = shop.db
        member = Member(world, role)
        assert member.do("wf_layout_read") == "1"
        assert member.do("wf_handler_look", "app.on_event") == "f|t|t"
        claim = world.enter(member)
        member.do("wf_attempt_begin", *PARTITION, 7, claim)
        member.do("wf_attempt_failed", *PARTITION, 7, "{}")
        member.do("wf_attempt_uncount", *PARTITION, 7)
        member.begin()
        member.do("wf_offset_swap", *PARTITION, claim, 0, 3, 2, 1000, "id")
        assert member.handle("a") == "called"
        letter = member.dead_letter("b", True, offset=7)
        member.do("wf_dead_letter_emit", "{}")
        assert member.handle("c") == "parked"
        member.do("wf_hold_lock", "accounting", "fleet.rentals", b"k")
        parked = member.do("wf_parked_next", "accounting", "fleet.rentals", b"k", 10).split("|")
        assert member.replay("c") == "called"
        member.do("wf_parked_remove", int(parked[0]))
        member.do("wf_hold_release", "accounting", "fleet.rentals", b"k")
        member.do("wf_dead_letter_resolve", int(letter[0]), "replayed")
        member.do("wf_attempt_forget", *PARTITION, 7)
        member.run("select walferry.idempotency_put('k', '1 h')")
        assert member.run("select walferry.idempotency_has('k')") == "t"
        member.run("commit")
        member.do("wf_offset_release", *PARTITION, claim)
        assert member.do("wf_maintain", "7 days") == "t"
        for forbidden in ("delete from walferry.inbox_processed_messages", "delete from walferry.inbox_offsets",
                          "update walferry.inbox_layout set version = 2", "delete from walferry.inbox_generations",
                          "drop table walferry.inbox_processed_messages_1", "truncate walferry.inbox_dead_letters"):
            with pytest.raises(SqlError, match="permission denied|must be owner"):
                member.run(forbidden)
    finally:
        world.db = own
        shop.postgres.drop_database(shop.db)
        shop.postgres.psql(f"drop role {role}")


def test_handlers_are_looked_up(world):
    member = Member(world)
    assert member.do("wf_handler_look", "app.on_event") == "f|t|t"
    assert member.do("wf_handler_look", "app.on_nothing") == ""
    world.psql("create function app.two(jsonb, text) returns void language sql as ''; "
               "create function app.rows(jsonb) returns setof int stable language sql as 'select 1'; "
               "create function app.more(jsonb, n int default 1) returns void language sql as ''")
    assert [member.do("wf_handler_look", f"app.{name}") for name in ("two", "rows", "more")] == ["", "t|f|t", "f|t|t"]


# Offsets


def test_who_lost_the_partition_commits_nothing(world, two):
    old, new = two
    first = world.enter(old)
    assert world.claim(new) == first + 1
    old.begin()  # a whole batch, sent without looking at what comes back
    old.send("wf_offset_swap", *PARTITION, first, 0, 1, 0, 1000, "a")
    old.send("handle", *old.message("a"))
    old.session.send("commit")
    assert "division by zero" in old.session.wait()
    assert world.effects() == [] and world.offset() == 0
    new.begin()
    new.do("wf_offset_swap", *PARTITION, first + 1, 0, 1, 0, 1000, "a")
    assert new.handle("a") == "called"
    new.run("commit")
    assert world.effects() == ["a"] and world.offset() == 1


def test_an_offset_moves_only_from_where_it_stands(world):
    member = Member(world)
    claim = world.enter(member)
    member.do("wf_offset_swap", *PARTITION, claim, 0, 5, 4, 1000, "a")
    with pytest.raises(SqlError, match="division by zero"):
        member.do("wf_offset_swap", *PARTITION, claim, 0, 6, 5, 1000, "b")
    assert world.offset() == 5
    assert member.do("wf_offset_read", *PARTITION) == f"5|{claim}|5|cluster|4|1000|a"


def test_a_batch_under_way_ends_before_the_partition_changes_hands(world, two):
    old, new = two
    first = world.enter(old)
    old.begin()
    old.do("wf_offset_swap", *PARTITION, first, 0, 1, 0, 1000, "a")
    assert old.handle("a") == "called"
    new.pid = new.run("select pg_backend_pid()")
    new.send("wf_offset_claim", *PARTITION, first, "cluster")
    new.blocked()
    old.run("commit")
    assert new.session.wait() == str(first + 1)
    assert new.do("wf_offset_read", *PARTITION).split("|")[0] == "1"


def test_of_two_claims_of_the_same_state_one_is_turned_away(world, two):
    old, new = two
    claim = world.enter(old)
    assert new.do("wf_offset_claim", *PARTITION, claim, "cluster") == str(claim + 1)
    assert old.do("wf_offset_claim", *PARTITION, claim, "cluster") == ""


def test_how_far_somebody_got_who_did_not_release_it(world, two):
    def died_after(member):
        return member.do("wf_offset_read", *PARTITION).split("|")[2]
    old, new = two
    claim = world.enter(old)
    assert died_after(new) == "0"
    world.psql("update walferry.inbox_offsets set next_offset = next_offset + 1")
    assert died_after(new) == "1"
    claim = world.claim(new)
    assert died_after(old) == "0"
    new.do("wf_offset_release", *PARTITION, claim)
    assert died_after(old) == ""


def test_dirty_until_released_by_who_holds_it(world, two):
    old, new = two
    dirty = "select dirty from walferry.inbox_offsets"
    old.do("wf_offset_enter", *PARTITION, 3, "cluster")
    old.do("wf_offset_enter", *PARTITION, 9, "cluster")
    assert world.offset() == 3 and world.psql(dirty) == "f"
    first = world.claim(old)
    assert world.psql(dirty) == "t"
    second = world.claim(new)
    old.do("wf_offset_release", *PARTITION, first)
    assert world.psql(dirty) == "t"
    new.do("wf_offset_release", *PARTITION, second)
    assert world.psql(dirty) == "f"


# Marks


def test_a_duplicate_calls_nothing(world, two):
    one, other = two
    one.begin()
    assert [one.handle("a"), one.handle("a"), one.handle("b")] == ["called", "duplicate", "called"]
    one.run("commit")
    assert [other.handle_alone("a"), other.handle_alone("b")] == ["duplicate", "duplicate"]
    assert world.effects() == ["a", "b"]


def test_the_same_id_of_another_source_or_consumer_is_another_message(world):
    member = Member(world)
    assert [member.handle_alone("1", source="a"), member.handle_alone("1", source="b"),
            member.handle_alone("1", source="a", consumer="audit")] == ["called"] * 3
    assert member.handle_alone("1", source="b") == "duplicate"


@pytest.mark.parametrize("end, outcome", [("commit", "duplicate"), ("rollback", "called")])
def test_of_two_at_the_same_time_one_waits_for_the_other(world, two, end, outcome):
    one, other = two
    one.begin()
    other.begin()
    assert one.handle("a") == "called"
    other.send("handle", *other.message("a"))
    other.blocked()
    one.run(end)
    assert (other.session.wait().split("|")[0] or "duplicate") == outcome
    other.run("commit")
    assert world.effects() == ["a"]


def test_a_handler_that_fails_leaves_no_mark(world):
    member = Member(world)
    member.begin()
    with pytest.raises(SqlError, match="poison"):
        member.handle("a", fail=True)
    member.run("rollback")
    assert member.handle_alone("a") == "called"


def test_one_effect_for_each_id_while_generations_change(world):
    """Members in each other's way, with the same ids, while generations are opened and none is dropped."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    members, ids, done = [Member(world) for _ in range(4)], [f"id{n}" for n in range(600)], threading.Event()

    changed, deadline = threading.Event(), time.monotonic() + 60

    def open_generations():
        while not done.wait(0.05):
            world.psql("update walferry.inbox_generations set opened_at = clock_timestamp() - case when generation = "
                       "(select max(generation) from walferry.inbox_generations) then interval '5 hours' else '0' end; "
                       "select walferry.inbox_maintain('9 hours')")
            if world.generations()[-1] > 2:
                changed.set()

    def consume(member, order):
        first = True
        while first or not changed.is_set() and time.monotonic() < deadline:  # a busy machine opens few meanwhile
            first = False
            for id in order:
                for line in ("begin", member.text("wf_marks_lock"), member.text("handle", *member.message(id)), "commit"):
                    member.session.send(line)
    opening = threading.Thread(target=open_generations)
    consuming = [threading.Thread(target=consume, args=(member, random.Random(seed + n).sample(ids, len(ids))))
                 for n, member in enumerate(members)]
    for thread in (opening, *consuming):
        thread.start()
    try:
        for member, thread in zip(members, consuming):
            thread.join()
            assert "ERROR" not in member.session.wait(120)
    finally:
        done.set()
        opening.join()
    assert sorted(world.effects()) == sorted(ids)
    assert world.generations()[-1] > 2


def test_settings_are_the_messages_own_and_end_with_the_transaction(world):
    member = Member(world)
    member.begin()
    member.handle("a", ids=("corr", "cause", "t" * 32, None, "tenant"), emit=True)
    member.handle("b", emit=True)
    assert member.run("select current_setting('walferry.correlation_id', true)") == ""
    member.run("commit")
    assert world.psql("select id, correlation, causation, tenant from app.effects order by n") == \
        "a|corr|cause|tenant\nb|||"
    assert world.psql("select correlation_id, causation_id, trace_id, tenant_id from outbox order by correlation_id") == \
        f"corr|cause|{'t' * 32}|tenant\n|||"
    member.begin()
    member.handle("c", ids=("corr",))
    member.run("commit")
    assert member.run("select current_setting('walferry.correlation_id', true)") == ""


# Retention


def test_marks_are_dropped_by_generation_behind_the_retention(world):
    member = Member(world)
    assert world.generations() == [1]
    member.handle_alone("a")
    assert member.do("wf_maintain", "6 hours") == "t" and world.generations() == [1]
    for generation in (2, 3):
        world.age("3 hours 1 minute")
        assert member.do("wf_maintain", "6 hours") == "t"
        assert world.generations()[-1] == generation
        assert member.handle_alone("a") == "duplicate"
    world.age("3 hours 1 minute")  # the first was closed a little more than 6 hours ago
    assert member.do("wf_maintain", "6 hours") == "t"
    assert world.generations() == [2, 3, 4]
    assert world.psql("select count(*) from walferry.inbox_processed_messages") == "0"
    assert member.handle_alone("a") == "called"
    member.do("wf_maintain", "6 hours")
    partitions = world.psql("select inhrelid::regclass from pg_inherits where inhparent = "
                            "'walferry.inbox_processed_messages'::regclass order by inhrelid").split()
    assert [p.rsplit("_", 1)[1] for p in partitions] == ["2", "3", "4", "5"]  # one ahead


def test_a_batch_under_way_keeps_its_generation_open(world, two):
    one, other = two
    one.begin()
    one.handle("a")
    world.age("4 days")
    assert other.do("wf_maintain", "7 days") == "f" and world.generations() == [1]
    one.run("commit")
    assert other.do("wf_maintain", "7 days") == "t" and world.generations() == [1, 2]
    assert other.handle_alone("a") == "duplicate"


def test_a_batch_that_begins_while_a_generation_is_opened_sees_the_new_one(world, two):
    one, other = two
    one.run("begin")
    world.age("4 days")
    assert one.do("wf_maintain", "7 days") == "t"
    other.pid = other.run("select pg_backend_pid()")
    other.run("begin")
    other.session.send(world.statements["wf_marks_lock"])
    other.blocked()
    one.run("commit")
    other.session.wait()
    other.handle("a")
    other.run("commit")
    assert world.psql("select generation from walferry.inbox_processed_messages") == "2"


def test_two_do_not_maintain_at_the_same_time_and_an_hour_is_the_least(world, two):
    one, other = two
    one.run("begin")
    world.age("4 days")
    one.do("wf_maintain", "7 days")
    assert other.do("wf_maintain", "7 days") == "t"
    one.run("commit")
    assert world.generations() == [1, 2]
    for retention in ("59 minutes", None):
        with pytest.raises(SqlError, match="at least an hour"):
            one.do("wf_maintain", retention)


# Attempts and dead letters


def test_attempts_are_counted_and_taken_over_by_the_dead_letter(world):
    member = Member(world)
    message = (*PARTITION, 7)
    claim = world.enter(member)
    assert [member.do("wf_attempt_begin", *message, claim) for _ in range(3)] == ["1", "2", "3"]
    assert member.do("wf_attempt_begin", *message, claim - 1) == "", "it is another's"
    member.do("wf_attempt_uncount", *message)
    member.do("wf_attempt_failed", *message, '{"code": "P0001"}')
    assert world.psql("select attempts, error->>'code' from walferry.inbox_attempts") == "2|P0001"
    id, attempts, first, last = member.dead_letter("a", False, offset=7)
    assert attempts == "2" and first <= last and first.endswith("Z")
    assert world.psql("select count(*) from walferry.inbox_attempts") == "0"
    assert member.dead_letter("b", False, offset=8)[1] == "0"
    assert member.do("wf_attempt_begin", *message, claim) == "1"
    member.do("wf_attempt_forget", *message)
    assert world.psql("select count(*) from walferry.inbox_attempts") == "0"
    for state, resolved in (("replayed", "replayed"), ("discarded", "replayed")):
        member.do("wf_dead_letter_resolve", int(id), state)
        assert world.psql(f"select state from walferry.inbox_dead_letters where id = {id}") == resolved
    assert member.handle_alone("a") == "called"  # it was never marked


# Holds


KEY = ("accounting", "fleet.rentals", b"k")


def parked(member):
    return [line.split("|") for line in member.do("wf_parked_next", *KEY, 10).splitlines()]


def test_a_held_key_parks_what_comes_behind_it_and_gives_it_back_in_order(world, two):
    member, operator = two
    letter = member.dead_letter("a", True)[0]
    assert [member.handle_alone(id, offset=n) for n, id in enumerate("bcd", 1)] == ["parked"] * 3
    assert member.handle_alone("x", key=b"other") == "called" and member.handle_alone("y", key=None) == "called"
    assert world.effects() == ["x", "y"]
    operator.begin()
    assert operator.do("wf_hold_lock", *KEY) == letter
    assert operator.replay("a") == "called"
    rows = parked(operator)
    assert [row[2] for row in rows] == ["1", "2", "3"] and rows[0][6] == "\\x" + b"raw b".hex()
    for id, row in zip("bc", rows):
        assert operator.replay(id) == "called"
        operator.do("wf_parked_remove", int(row[0]))
    operator.do("wf_hold_release", *KEY)
    operator.run("commit")
    assert member.handle_alone("e", offset=4) == "parked"  # d is not done yet
    operator.begin()
    operator.do("wf_hold_lock", *KEY)
    for id, row in zip("de", parked(operator)):
        operator.replay(id)
        operator.do("wf_parked_remove", int(row[0]))
    operator.do("wf_hold_release", *KEY)
    operator.run("commit")
    assert operator.do("wf_hold_lock", *KEY) == ""
    assert member.handle_alone("f") == "called"
    assert world.effects() == ["x", "y", *"abcdef"]


def test_a_message_waits_for_a_release_under_way_and_is_called(world, two):
    member, operator = two
    member.dead_letter("a", True)
    operator.begin()
    operator.do("wf_hold_lock", *KEY)
    operator.do("wf_hold_release", *KEY)
    member.begin()
    member.send("handle", *member.message("b"))
    member.blocked()
    operator.run("commit")
    assert member.session.wait().startswith("called")
    member.run("commit")
    assert world.effects() == ["b"]


def test_a_release_waits_for_a_message_that_is_being_parked(world, two):
    member, operator = two
    member.dead_letter("a", True)
    member.begin()
    assert member.handle("b") == "parked"
    operator.begin()
    operator.send("wf_hold_lock", *KEY)
    operator.blocked()
    member.run("commit")
    assert operator.session.wait() != ""
    operator.do("wf_hold_release", *KEY)
    assert len(parked(operator)) == 1
    operator.run("commit")
    assert world.psql("select count(*) from walferry.inbox_holds") == "1"


def test_a_hold_goes_over_to_the_next_dead_letter_of_its_key(world):
    member = Member(world)
    member.dead_letter("a", True)
    second = member.dead_letter("b", True)[0]
    assert member.do("wf_hold_lock", *KEY) == second
    member.dead_letter("c", True, key=None)
    member.dead_letter("d", False, key=b"other")
    assert world.psql("select count(*) from walferry.inbox_holds") == "1"


def test_keys_of_any_length_can_be_held(world):
    member, key = Member(world), random.Random(1).randbytes(20000)
    member.dead_letter("a", True, key=key)
    assert member.handle_alone("b", key=key) == "parked"
    assert member.handle_alone("c", key=key[:-1]) == "called"


# Idempotency keys


def put(key, ttl="1 hour"):
    return f"select walferry.idempotency_put('{key}', '{ttl}')"


def has(key):
    return f"select walferry.idempotency_has('{key}')"


def test_an_idempotency_key_lives_for_its_time(world):
    assert [world.psql(sql) for sql in (has("a"), put("a"), put("a"), has("a"), has("b"))] == ["f", "t", "f", "t", "f"]
    assert world.psql(put("short", "300 milliseconds")) == "t"
    system.wait_for(lambda: world.psql(has("short")) == "f", 5, "the key has expired")
    assert world.psql(put("short")) == "t" and world.psql(put("short")) == "f"
    for sql in (put("c", "0"), put("c", "-1 hour"), "select walferry.idempotency_put('c', null)",
                "select walferry.idempotency_put(null, '1 h')"):
        with pytest.raises(SqlError, match="needs a key and a time to live"):
            world.psql(sql)


@pytest.mark.parametrize("end, outcome", [("commit", "f"), ("rollback", "t")])
def test_of_two_puts_at_the_same_time_one_waits(world, two, end, outcome):
    one, other = two
    other.pid = other.run("select pg_backend_pid()")
    one.run("begin")
    assert one.run(put("a")) == "t"
    other.session.send(put("a"))
    other.blocked()
    one.run(end)
    assert other.session.wait() == outcome


def test_expired_keys_are_pruned(world):
    world.psql(put("old") + ";" + put("new"))
    world.psql("update walferry.idempotency_keys set expires_at = now() - interval '1 s' where key = 'old'")
    world.psql("select walferry.inbox_maintain('7 days')")
    assert world.psql("select key from walferry.idempotency_keys") == "new"
