"""Concurrent business transactions whose events carry a per-key sequence, taken under the row lock of the key's counter.

What was committed is read from the database afterwards, never remembered: a writer whose connection broke during COMMIT
does not know. Events that are rolled back, and messages that are not transactional, carry `doomed`: one that arrives
proves itself wrong.
"""
import json
import random
import subprocess
import threading
import time
import uuid

from harness.postgres import SqlError

KEYS = 120
HUGE_ROWS = 100_000

SETUP = f"""
create table counters (key text primary key, aggregate text not null, seq bigint not null default 0);
insert into counters select 'k' || n, case when n % 3 = 0 then 'payments' else 'orders' end, 0
  from generate_series(0, {KEYS - 1}) n;
alter table counters set (fillfactor = 30);

-- Events that leave no row in the outbox: messages, and rows deleted in the transaction that inserted them.
create table elsewhere (id uuid primary key, aggregate text not null, key text not null, seq bigint not null);

create function emit(k text, rows int, doomed bool) returns void language sql as $$
  with c as (update counters set seq = seq + rows where key = k returning *)
  insert into outbox (id, aggregatetype, aggregateid, type, payload)
  select gen_random_uuid(), aggregate, k, 'Counted', jsonb_build_object('seq', c.seq - rows + n, 'doomed', doomed)
  from c, generate_series(1, rows) n order by n
$$;

create function emit_tidily(k text, doomed bool) returns void language plpgsql as $$
declare c counters; new_id uuid := gen_random_uuid();
begin
  update counters set seq = seq + 1 where key = k returning * into c;
  insert into elsewhere values (new_id, c.aggregate, k, c.seq);
  insert into outbox (id, aggregatetype, aggregateid, type, payload)
    values (new_id, c.aggregate, k, 'Counted', jsonb_build_object('seq', c.seq, 'doomed', doomed));
  delete from outbox where id = new_id;
end $$;

create function emit_as_message(k text, doomed bool) returns void language plpgsql as $$
declare c counters; new_id uuid := gen_random_uuid();
begin
  update counters set seq = seq + 1 where key = k returning * into c;
  insert into elsewhere values (new_id, c.aggregate, k, c.seq);
  perform pg_logical_emit_message(true, 'walferry', jsonb_build_object('id', new_id, 'type', 'Counted',
    'aggregate', c.aggregate, 'key', k, 'payload', jsonb_build_object('seq', c.seq, 'doomed', doomed))::text);
end $$;

create function emit_unbound(k text) returns void language sql as $$
  select pg_logical_emit_message(false, 'walferry', jsonb_build_object('id', gen_random_uuid(), 'type', 'Counted',
    'aggregate', 'orders', 'key', k, 'payload', jsonb_build_object('seq', 0, 'doomed', true))::text)
$$;

-- rows events in all, spread over the keys in turn; the keys come sorted, so that lockers do not meet head-on.
create function emit_huge(keys text[], rows int, doomed bool) returns void language plpgsql as $$
begin
  perform 1 from counters where key = any (keys) order by key for update;
  insert into outbox (id, aggregatetype, aggregateid, type, payload)
    select gen_random_uuid(), c.aggregate, c.key, 'Counted', jsonb_build_object('seq', c.seq + n, 'doomed', doomed)
    from generate_series(1, rows / cardinality(keys)) n, counters c where c.key = any (keys) order by n, c.key;
  update counters set seq = seq + rows / cardinality(keys) where key = any (keys);
end $$;
"""

COMMITTED = """
copy (select id, aggregatetype, aggregateid, payload->>'seq' from outbox
      union all select id, aggregate, key, seq::text from elsewhere) to stdout with (delimiter ' ')"""


def committed(shop):
    """{id: (topic, key, seq)} of every event that was committed."""
    rows = (line.split(" ") for line in shop.psql(COMMITTED, timeout=300).splitlines())
    return {id: (shop.topic(aggregate), key, int(seq)) for id, aggregate, key, seq in rows}


def transaction(rng):
    """The SQL of one business transaction. Rolled back: 30 of 100, by ROLLBACK, by an error, by the loss of the session."""
    end = rng.choices(("commit", "rollback", "select 1/0; commit", "select pg_terminate_backend(pg_backend_pid())"),
                      (70, 25, 4, 1))[0]
    doomed = end != "commit"
    sql = ["begin"]
    if rng.random() < 0.1:
        sql.append("set local synchronous_commit = off")
    keys = sorted(rng.sample([f"k{n}" for n in range(KEYS)], rng.choice((1, 1, 2, 3, 5))))
    saved = 0
    for number, key in enumerate(keys):
        undone = False
        if rng.random() < 0.3:
            saved += 1
            sql.append(f"savepoint s{saved}")
            undone = rng.random() < 0.5
        sql.append(_event(rng, key, doomed or undone))
        if undone:
            if rng.random() < 0.3:  # a savepoint within the one that is rolled back
                sql += ["savepoint inner_one", _event(rng, key, True), "release savepoint inner_one"]
            sql.append(f"rollback to savepoint s{saved}")
        elif saved and rng.random() < 0.5:
            sql.append(f"savepoint passing; release savepoint passing")
        if number + 1 < len(keys) and rng.random() < 0.3:
            sql.append(f"select from pg_sleep({rng.uniform(0, 0.02):.4f})")  # so that transactions overlap in the WAL
    return "; ".join(sql + [end])


def _event(rng, key, doomed):
    what = rng.random()
    flag = "true" if doomed else "false"
    if what < 0.80:
        return f"select emit('{key}', {rng.choice((1, 1, 1, 2, 4))}, {flag})"
    if what < 0.90:
        return f"select emit_as_message('{key}', {flag})"
    if what < 0.97:
        return f"select emit_tidily('{key}', {flag})"
    return f"select emit_unbound('{key}')"


class Writers:
    """Threads with a psql session each. Servers may come and go; stop() lets each finish its transaction."""

    def __init__(self, shop, seed, count=4, pause=0.02, huge_rows=HUGE_ROWS):
        self._shop = shop
        self._huge_rows = huge_rows
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._huge = []
        self.transactions = 0  # sent and answered, rolled back or not
        self.broken = 0  # sessions lost
        self.complaints = []  # errors that the script did not ask for
        self._threads = [threading.Thread(target=self._write, args=(random.Random(f"{seed}/writer{n}"),), daemon=True)
                         for n in range(count)]
        self._huge_rng = random.Random(f"{seed}/huge")

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self, timeout=120):
        self._stop.set()
        for thread in self._threads + self._huge:
            if thread.ident is not None:  # was started
                thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError("a writer does not end")

    def huge(self):
        """Starts one transaction of very many rows; in three of ten cases it is rolled back."""
        keys = sorted(self._huge_rng.sample([f"k{n}" for n in range(KEYS)], 40))
        doomed = self._huge_rng.random() < 0.3
        listed = ", ".join(f"'{k}'" for k in keys)
        sql = (f"begin; select emit_huge(array[{listed}], {self._huge_rows}, {str(doomed).lower()}); "
               f"{'rollback' if doomed else 'commit'}")
        thread = threading.Thread(target=self._once, args=(sql,), daemon=True)
        self._huge.append(thread)
        thread.start()

    def _once(self, sql):
        try:
            with self._shop.session() as session:
                self._run(session, sql, 120)
        except (SqlError, OSError, TimeoutError):
            with self._lock:
                self.broken += 1

    def _write(self, rng):
        session = None
        while not self._stop.is_set():
            sql = transaction(rng)
            pause = rng.expovariate(1 / self._pause)
            try:
                session = session or self._shop.session()
                self._run(session, sql)
            except (SqlError, OSError, ValueError, TimeoutError):
                with self._lock:
                    self.broken += 1
                if session is not None:
                    session.close()
                session = None
                pause += 0.1
            self._stop.wait(pause)
        if session is not None:
            session.close()

    def _run(self, session, sql, timeout=60):
        session.send(sql)
        said = session.wait(timeout)
        with self._lock:
            self.transactions += 1
            if "ERROR:" in said and "division by zero" not in said and len(self.complaints) < 20:
                self.complaints.append(said)


def quiesced(shop):
    """Waits until no session of a writer is left in the database: a backend may outlive its psql for a moment."""
    deadline = time.monotonic() + 30
    while int(shop.psql("select count(*) from pg_stat_activity where datname = current_database() "
                        "and pid <> pg_backend_pid() and application_name = 'psql'")):
        if time.monotonic() > deadline:
            raise TimeoutError("sessions of writers remain")
        time.sleep(0.1)


class Producer:
    """Events from outside, of nobody's outbox, into one topic: keyed, now and then one that is poison, one that is sent again
    (also to another partition), one whose id another source has too. What has arrived is read from the topic afterwards."""

    CHUNK = (10, 60)  # events
    BURST = 3000
    PAUSE = 0.15

    def __init__(self, kafka, topic, partitions, seed):
        self._kafka, self._topic, self._partitions = kafka, topic, partitions
        self._rng = random.Random(f"{seed}/producer")
        self._stop = threading.Event()
        self._burst = threading.Event()
        self._recent = []
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self.sent = 0  # chunks that arrived, or did not as the broker was away
        self.broken = 0

    def start(self):
        self._thread.start()
        return self

    def stop(self, timeout=60):
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the producer does not end")

    def burst(self):
        self._burst.set()

    def _produce(self):
        while not self._stop.is_set():
            count = self._rng.randint(*self.CHUNK)
            if self._burst.is_set():
                self._burst.clear()
                count = self.BURST
            chunk = self._events(count)
            while not self._send(chunk) and not self._stop.wait(0.2):
                self.broken += 1
            wanderers = [self._event(f"w{uuid.uuid4().hex[:6]}", "one") for _ in range(self._rng.choice((0, 1, 5)))]
            for partition in self._rng.sample(range(self._partitions), 2):
                if wanderers:
                    self._send(wanderers, partition)
            self._stop.wait(self._rng.expovariate(1 / self.PAUSE))

    def _events(self, count):
        chunk = []
        for _ in range(count):
            what = self._rng.random()
            key = f"k{self._rng.randrange(KEYS)}"
            if what < 0.05 and self._recent:
                chunk.append(self._rng.choice(self._recent))
                continue
            event = self._event(key, "one", poison=what > 0.995)
            chunk.append(event)
            if 0.05 < what < 0.07:
                chunk.append((key, event[1] | {"source": "other"}))
            if what < 0.995:
                self._recent.append(event)
        del self._recent[:-500]
        return chunk

    def _event(self, key, source, poison=False):
        return key, {"id": uuid.uuid4().hex, "type": "Counted", "occurred_at": "2026-11-21T10:00:00Z", "source": source,
                     "payload": {"poison": True} if poison else {}, "metadata": {"partition_key": key}}

    def _send(self, events, partition=None):
        """Whether all of them arrived; if not, some may have. In their order, whatever breaks."""
        text = "\x01".join(f"{key}\x02{json.dumps(event)}" for key, event in events)
        command = ["kcat", "-b", self._kafka.brokers, "-P", "-t", self._topic, "-D", "\x01", "-K", "\x02",
                   "-X", "enable.idempotence=true", "-X", "message.timeout.ms=5000"]
        if partition is not None:
            command += ["-p", str(partition)]
        try:
            done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=20)
        except subprocess.TimeoutExpired:
            return False
        self.sent += 1
        return done.returncode == 0
