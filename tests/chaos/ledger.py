"""A world for the inbox whose handler keeps books: what each event did, how often, and in which order."""
import contextlib
import json

from harness import system
from harness.postgres import SqlError

# A payload with `poison` or `crash` never succeeds; others fail as often as app.luck says, after their effect was made.
SQL = """
create schema app;
create table app.effects (source text, id text, key text, times int not null default 1,
                          n bigint generated always as identity, primary key (source, id));
create table app.gate ();  -- locked by whoever wants the handlers to wait
create table app.luck (transient float not null, lost float not null, slow float not null);
insert into app.luck values (0, 0, 0);

create function app.on_event(e jsonb) returns void language plpgsql as $$
declare luck app.luck; drawn float := random();
begin
  insert into app.effects (source, id, key) values (e->>'source', e->>'id', e->'metadata'->>'partition_key')
    on conflict (source, id) do update set times = effects.times + 1;
  perform from app.gate;
  if e->'payload' ? 'poison' then
    raise exception 'poison';
  elsif e->'payload' ? 'crash' then
    copy (select) to program 'kill -9 $PPID';  -- its parent is the backend
  end if;
  select * into luck from app.luck;
  if drawn < luck.transient then
    raise exception 'not now' using errcode = '40001';
  elsif drawn < luck.transient + luck.lost then
    perform pg_terminate_backend(pg_backend_pid());
  elsif drawn < luck.transient + luck.lost + luck.slow then
    perform pg_sleep(0.2);
  end if;
end $$;
"""


class Ledger:
    SQL = SQL
    SESSION_MS = 2000  # until the group misses a member; the broker allows one second

    def __init__(self, inbox):
        self.inbox = inbox
        inbox.config["kafka"]["properties"] = [f"session.timeout.ms={self.SESSION_MS}", "heartbeat.interval.ms=500"]

    def watch(self):
        """From here on it is noted where a stored offset moves backwards."""
        self.inbox.psql("""
            create table app.backwards (partition int, before bigint, after bigint);
            create function app.watch() returns trigger language plpgsql as $$
            begin
              if new.next_offset < old.next_offset then
                insert into app.backwards values (new.partition, old.next_offset, new.next_offset);
              end if;
              return new;
            end $$;
            create trigger watch before update on walferry.inbox_offsets for each row execute function app.watch()""")

    def moved_backwards(self):
        return [f"the stored offset moved backwards: {row}" for row in self.inbox.query("select * from app.backwards")]

    def luck(self, transient=0.0, lost=0.0, slow=0.0):
        """Shares of the calls that end with 40001, end their own session, take 200 ms."""
        self.inbox.psql(f"update app.luck set transient = {transient}, lost = {lost}, slow = {slow}")

    @contextlib.contextmanager
    def gate(self):
        """Handlers wait while it is entered."""
        with self.inbox.postgres.session(self.inbox.db) as session:
            session.run("begin")
            session.run("lock table app.gate in access exclusive mode")
            yield Gate(self.inbox)
            session.run("rollback")

    def wait_handled(self, count, timeout=60):
        def handled():
            try:
                return int(self.inbox.psql("select count(*) from app.effects")) >= count
            except SqlError:
                return False  # the server restarts
        system.wait_for(handled, timeout, f"{count} events handled", interval=0.1)

    # What is to be compared

    def records(self):
        """Every committed record, each partition's in the order of its offsets: (partition, offset, key, source, id, fails)."""
        found = []
        for line in self.inbox.kafka.consume_format(self.inbox.topic, "%p %o %k %s"):
            partition, offset, key, value = line.split(" ", 3)
            event = json.loads(value)
            payload = event["payload"]
            fails = isinstance(payload, dict) and ("poison" in payload or "crash" in payload)
            found.append((int(partition), int(offset), key, event["source"], event["id"], fails))
        return found

    def effects(self):
        """(source, id, key, times) in the order in which they were committed for their key."""
        return [(r["source"], r["id"], r["key"], r["times"])
                for r in self.inbox.query("select * from app.effects order by n")]

    def marks(self):
        return {(r["source"], r["message_id"]) for r in self.inbox.query("select * from walferry.inbox_processed_messages")}

    def letter_places(self):
        return [(r["partition"], r["record_offset"]) for r in self.inbox.letters()]

    def attempts(self):
        return self.inbox.query("select * from walferry.inbox_attempts")

    def parked(self):
        return self.inbox.query("select * from walferry.inbox_parked")

    def dirty(self):
        """Partitions whose last holder did not end in good order."""
        return self.inbox.query("select partition from walferry.inbox_offsets where dirty")


class Gate:
    def __init__(self, inbox):
        self._inbox = inbox

    def wait_for_handler(self):
        """The process id of the backend whose handler waits."""
        return int(system.wait_for(lambda: self._inbox.psql(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' limit 1"),
            30, "a handler at the gate"))

    def terminate(self, backend):
        self._inbox.psql(f"select pg_terminate_backend({backend}, 10000)")
