"""What a round of chaos is inflicted on: the relay, the inbox, or both in a row. Each starts its walferry and what keeps it
busy, and says afterwards what it finds wrong."""
import contextlib
import time

from chaos import verify, writers
from chaos.faults import Instances, World
from chaos.ledger import Ledger
from chaos.schedule import MEMBERS
from harness.inbox import Inbox
from harness.postgres import SqlError
from harness.shop import Shop

DRAIN_SECONDS = 180

COUNTED_SQL = """
create schema app;
create table app.effects (id text primary key, key text, seq bigint, doomed boolean, times int not null default 1,
                          n bigint generated always as identity);
create function app.is_poison(id text) returns boolean language sql as $$ select hashtext(id) % 200 = 0 $$;
create function app.on_counted(e jsonb) returns void language plpgsql as $$
begin
  insert into app.effects (id, key, seq, doomed)
    values (e->>'id', e->'metadata'->>'partition_key', (e->'payload'->>'seq')::bigint, (e->'payload'->>'doomed')::boolean)
    on conflict (id) do update set times = effects.times + 1;
  if app.is_poison(e->>'id') then
    raise exception 'poison';
  end if;
end $$;
"""


class Trial:
    """A world that is thrown away. Each kind has

        start()                    until events flow
        burst()                    very many events at once
        target(), reached(target)  what there is to be done now; whether it is
        finish()                   all is healed: stops everything, drains, compares
        close()                    whatever state it is in; adds to the totals and keeps the logs
        forget()                   nothing was wrong: its data may go
    """

    def __init__(self, chaos, name, servers):
        """name: no other round's."""
        self.chaos, self.name = chaos, name
        self.postgres, self.kafka, self.proxy = servers

    def make_world(self, **kwargs):
        return World(self.postgres, self.kafka, self.proxy, self.chaos.report, **kwargs)

    def instances(self, command, config_path, wanted=1):
        return Instances(command, config_path, self.chaos.log_dir, self.chaos.report, self.chaos.binary, wanted)

    def count_starts(self):
        """Into the totals; says which there were."""
        self.chaos.totals["starts"] += sum(i.started for i in self.world.instances)
        self.chaos.totals["kills"] += self.world.killed
        return ", ".join(f"{i.started} starts of walferry {i.command} with exit codes {i.ended}"
                         for i in self.world.instances)

    def judge_drain(self, run):
        """Of a run that was to do what was left, and end."""
        if run.exit_code != 0:
            self.chaos.report(f"walferry {run.command[1]} could not do the rest: exit code {run.exit_code}", run)

    def keep_logs(self, runs):
        for run in runs:
            (self.chaos.log_dir / f"walferry-drain-{run.pid}.log").write_text("\n".join(run.lines) + "\n")


class RelayTrial(Trial):
    HUGE_ROWS = writers.HUGE_ROWS

    def __init__(self, chaos, name, servers):
        super().__init__(chaos, name, servers)
        self.shop = Shop(self.postgres, self.kafka, name=name, decoder=chaos.decoder, pg_port=self.proxy.port,
                         brokers=self.kafka.proxy_brokers)
        self.shop.psql(writers.SETUP)
        self.prepare()
        self.relays = self.instances("relay", self.shop.write_config())
        self.members = self.make_members()
        self.world = self.make_world(shop=self.shop, relays=self.relays, members=self.members)
        self.crew = writers.Writers(self.shop, name, huge_rows=self.HUGE_ROWS)
        self.sampler = verify.Sampler(self.shop, broker_is_fresh=self.world.broker_is_fresh)

    def prepare(self):
        """Before the config is written."""

    def make_members(self):
        """Of the inbox, where one is part of it."""
        return None

    def start(self):
        self.relays.start().newest.wait_streaming(60)
        self.sampler.start()
        self.crew.start()

    def burst(self):
        self.crew.huge()
        time.sleep(0.4)

    def target(self):
        return self.postgres.flush_lsn()

    def reached(self, target):
        return (self.postgres.confirmed_flush(self.shop.slot) or 0) >= target

    def finish(self):
        self.crew.stop()
        writers.quiesced(self.shop)
        self.relays.stop_all()
        self.judge_drain(self.shop.run("relay", "--until", "now", timeout=DRAIN_SECONDS, binary_path=self.chaos.binary))
        self.sampler.stop()
        self.committed = writers.committed(self.shop)
        self._check()

    def _check(self):
        records = verify.read_records(self.shop)
        positions = verify.read_positions(self.shop)
        last = self.sampler.sample()
        report = self.chaos.report
        for problem in (verify.check_committed(self.committed) + verify.check_records(self.committed, records)
                        + verify.check_positions(positions) + self.sampler.problems[:3]):
            report(problem)
        if last is None:
            report("the slot or the position cannot be read at the end")
        if self.sampler.samples < 5 or self.sampler.moved < 2:
            report(f"only {self.sampler.samples} samples, {self.sampler.moved} with progress: nothing was proved by them")
        if quarantined := self.shop.quarantined():
            report(f"{len(quarantined)} events in quarantine: {quarantined[0]}")
        if not self.committed:
            report("nothing was committed")
        self.chaos.totals.update(committed=len(self.committed), records=len(records), positions=len(positions))

    def close(self):
        with contextlib.suppress(TimeoutError):
            self.crew.stop(10)
        self.sampler.stop()
        for instances in self.world.instances:
            instances.close()
        self.keep_logs(self.shop.runs)
        self.chaos.totals.update(transactions=self.crew.transactions, samples=self.sampler.samples)
        self.chaos.say(f"{self.name}: {self.crew.transactions} transactions, {self.crew.broken} sessions broken, "
                       f"{self.count_starts()}, {self.sampler.samples} samples "
                       f"({self.sampler.moved} with progress, {self.sampler.missed} without an answer)")
        for complaint in self.crew.complaints[:3]:
            self.chaos.say(f"a writer was told: {complaint}")

    def forget(self):
        topics = [*self.shop.event_topics(), f"walferry.position.{self.shop.name}"]
        self.shop.close()
        for topic in topics:
            self.kafka.delete_topic(topic)


class InboxTrial(Trial):
    PARTITIONS = 6

    def __init__(self, chaos, name, servers):
        super().__init__(chaos, name, servers)
        self.inbox = Inbox(self.postgres, self.kafka, partitions=self.PARTITIONS, sql=Ledger.SQL,
                           pg_port=self.proxy.port, brokers=self.kafka.proxy_brokers)
        self.ledger = Ledger(self.inbox)
        self.ledger.watch()
        self.ledger.luck(transient=0.003, lost=0.0005, slow=0.003)
        # Nothing but poison is to be given up: a message may well be the one in hand at several deaths.
        self.inbox.config["inbox"]["retry"] = {"max_attempts": 20, "backoff_ms": 20, "backoff_max_ms": 100}
        self.members = self.instances("inbox", self.inbox.write_config(self.inbox.config, "chaos.yaml"), MEMBERS)
        self.world = self.make_world(members=self.members)
        self.crew = writers.Producer(self.kafka, self.inbox.topic, self.PARTITIONS, name)

    def start(self):
        self.members.start().newest.wait_event("inbox.streaming", 60)
        self.crew.start()

    def burst(self):
        self.crew.burst()

    def target(self):
        return self.kafka.end_offsets(self.inbox.topic)

    def reached(self, target):
        try:
            stored = self.inbox.offsets()
        except SqlError:
            return False
        return all(stored.get(partition, -1) >= end for partition, end in target.items())

    def finish(self):
        self.crew.stop()
        self.members.stop_all()
        run = self.inbox.start("--until-end", config=self.inbox.config, binary_path=self.chaos.binary)
        run.wait(DRAIN_SECONDS)
        self.judge_drain(run)
        for problem in verify.check_inbox(self.ledger) + self.ledger.moved_backwards():
            self.chaos.report(problem)
        effects = len(self.ledger.effects())
        if not effects or not self.inbox.letters():
            self.chaos.report("nothing was handled, or there was no poison")
        self.chaos.totals.update(records=sum(self.inbox.offsets().values()), effects=effects,
                                 letters=len(self.inbox.letters()))

    def close(self):
        with contextlib.suppress(TimeoutError):
            self.crew.stop(30)
        self.members.close()
        self.keep_logs(self.inbox.runs)
        self.chaos.say(f"{self.name}: {self.crew.sent} chunks of events, {self.crew.broken} sent again, {self.count_starts()}")

    def forget(self):
        self.inbox.close()
        self.kafka.delete_topic(self.inbox.topic)


class BothTrial(RelayTrial):
    """Business transaction, outbox, relay, Kafka, inbox, effect; and published rows are marked."""

    HUGE_ROWS = 4000  # each is a call of a handler

    def prepare(self):
        self.topics = [self.shop.topic("orders"), self.shop.topic("payments")]
        self.shop.config["kafka"]["properties"] = [f"session.timeout.ms={Ledger.SESSION_MS}", "heartbeat.interval.ms=500"]
        self.shop.config["inbox"] = {"group": self.shop.name, "topics": self.topics,
                                     "handlers": [{"type": "Counted", "call": "app.on_counted"}],
                                     "retry": {"max_attempts": 20, "backoff_ms": 20, "backoff_max_ms": 100}}
        self.shop.config["relay"]["after_publish"] = "mark"
        self.shop.psql("alter table outbox add column published_at timestamptz")
        for topic in self.topics:
            self.kafka.create_topic(topic, 3)
        self.shop.psql(COUNTED_SQL)
        self.shop.init()

    def make_members(self):
        return self.instances("inbox", self.shop.config_path, MEMBERS)

    def start(self):
        self.members.start()
        super().start()

    def finish(self):
        super().finish()
        self.members.stop_all()
        self.judge_drain(self.shop.run("inbox", "--until-end", timeout=DRAIN_SECONDS, binary_path=self.chaos.binary))
        effects, letters = self._effects(), self.shop.query("select * from walferry.inbox_dead_letters")
        poison = {r["id"] for r in self.shop.query(
            "select id from (select id::text from outbox union all select id::text from elsewhere) e where app.is_poison(id)")}
        for problem in verify.check_records(self.committed, effects, poison):
            self.chaos.report(f"effects: {problem}")
        if sorted(letter["message_id"] for letter in letters) != sorted(poison):
            self.chaos.report(f"{len(letters)} dead letters of {len(poison)} events that must fail")
        if (unmarked := self.shop.psql("select count(*) from outbox where published_at is null")) != "0":
            self.chaos.report(f"{unmarked} published rows without a mark")
        self.judge_drain(self.shop.run("relay", "--until", "now", timeout=DRAIN_SECONDS, binary_path=self.chaos.binary))
        written = sorted((letter["topic"], letter["partition"], letter["record_offset"]) for letter in letters)
        if self._published() != written:
            self.chaos.report(f"{len(self._published())} records of {len(written)} dead letters")
        self.chaos.totals.update(effects=len(effects), letters=len(letters))

    def _published(self):
        """Where the originals of all records on dead-letter topics stood."""
        self.shop.wait_markers()
        values = [r["event"] for topic in self.topics for r in self.shop.events(topic=f"{topic}.dlq")]
        return sorted((v["original_topic"], v["original_partition"], v["original_offset"]) for v in values)

    def _effects(self):
        """As records, in the order in which they came about."""
        rows = self.shop.query("select e.*, c.aggregate from app.effects e join counters c using (key) order by n")
        return [verify.Record(self.shop.topic(r["aggregate"]), 0, r["n"], r["id"], r["key"], r["seq"], r["doomed"])
                for r in rows for _ in range(r["times"])]


TRIALS = {"relay": RelayTrial, "inbox": InboxTrial, "both": BothTrial}
