"""From the commit in Postgres to a read_committed consumer, the same one for all. The floors are a bare transactional
producer whose records come from a schedule: there the time is from when a record was due. `producer` rests after a
commit as walferry does, and the goals are held against it; `producer-eager` begins the next transaction at once.

Each repetition, every contestant carries all rates, the highest first, so that its code is warm for those where little happens
and each millisecond tells."""
import collections
import contextlib
import json

from harness import system

from . import contestants, report, stats
from .drain import Void
from .outbox import Outbox
from .process import Process

RATES = (1000, 200, 20)  # transactions a second, of one row
FLOOR = "producer"
FLOORS = {FLOOR: [], "producer-eager": ["--rest-us", 0]}  # more of bare_producer's options
NAMES = (*FLOORS, "walferry-pgoutput", "walferry-wal2json", "debezium", "debezium-1ms")
SECONDS, DROPPED_S = 15, 3  # at each rate; the first of them do not count
QUICK_SECONDS, QUICK_DROPPED_S = 3, 1
IDLE_S = 60  # that the consumer waits for a record; the start of a JVM is in it
BEHIND_MAX_MS = 200  # a load that ends so late was not the load asked for
METRICS = {"p50": lambda ms: stats.percentile(ms, 50), "p99": lambda ms: stats.percentile(ms, 99), "max": max}
GOALS = {"p50": [report.at_most(2, FLOOR)],
         "p99": [report.at_most(2, FLOOR), report.below(0.1, "debezium"), report.below(1, "debezium-1ms")], "max": []}


def event_id(n):
    """As common.h has it."""
    return f"00000000-0000-4000-8000-{n:012x}"


class Load:
    """What all contestants of a run have to carry: rate by rate, numbered through."""

    def __init__(self, quick):
        self.quick = quick
        self.seconds, self.dropped_s = (QUICK_SECONDS, QUICK_DROPPED_S) if quick else (SECONDS, DROPPED_S)
        self.first = {}
        self.count = 0
        for rate in RATES:
            self.first[rate] = self.count
            self.count += rate * self.seconds

    def counted(self, rate):
        """Numbers of the events that count."""
        return range(self.first[rate] + rate * self.dropped_s, self.first[rate] + rate * self.seconds)


def told(process, timeout):
    """The line of JSON that a program of ours ends with."""
    usage = process.wait(timeout)
    if usage.exit_code != 0:
        raise Void(f"{process.command[0]} ended with {usage.exit_code}: {system.tail(process.log_path, 3)}")
    return json.loads(system.tail(process.log_path, 1))


class Consumer:
    """bench_consumer on a topic; gone when the `with` is left."""

    def __init__(self, bench, topic, count):
        self.arrivals_path = bench.dir / f"{topic}.arrivals"
        self._log_path = bench.dir / f"{topic}.consumer.log"
        self.process = Process([bench.program("consumer"), "--brokers", bench.kafka.brokers, "--topic", topic, "--partitions",
                                contestants.PARTITIONS, "--count", count, "--idle", IDLE_S,
                                "--out", self.arrivals_path], self._log_path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill9()

    def wait_ready(self):
        system.wait_for(lambda: "ready" in self._log_path.read_text(), 30, "the consumer")

    def arrivals(self, count):
        """{id: microseconds}; Void unless each of the count events came once, and nothing else."""
        usage = self.process.wait(120)
        if usage.exit_code != 0:
            raise Void(f"the consumer failed: {system.tail(self._log_path, 3)}")
        lines = [line.split() for line in self.arrivals_path.read_text().splitlines()]
        arrivals = {id: int(at) for id, at in lines}
        wanted = {event_id(n) for n in range(count)}
        lost, foreign, repeated = len(wanted - arrivals.keys()), len(arrivals.keys() - wanted), len(lines) - len(arrivals)
        if lost or foreign or repeated:
            raise Void(f"{lost} events lost, {repeated} repeated, {foreign} that were never written")
        return arrivals


def latencies(load, arrivals, began):
    """{rate: [milliseconds]}; began(n): microseconds at which event n is taken to begin."""
    return {rate: [(arrivals[event_id(n)] - began(n)) / 1000 for n in load.counted(rate)] for rate in RATES}


@contextlib.contextmanager
def topic_of(bench, name):
    topic = f"bench_{name}.events"
    bench.kafka.create_topic(topic, contestants.PARTITIONS, message_timestamp_type="LogAppendTime")
    try:
        yield topic
    finally:
        bench.kafka.delete_topic(topic)


def produce(bench, topic, *options, log_name, timeout):
    return told(Process([bench.program("bare_producer"), "--brokers", bench.kafka.brokers, "--topic", topic,
                         "--partitions", contestants.PARTITIONS, *options], bench.dir / log_name), timeout)


def produce_load(bench, load, topic, instance, *options):
    """{n: microseconds}: when each event was due. options: more of bare_producer's."""
    due = {}
    for rate in RATES:
        said = produce(bench, topic, "--instance", instance, "--rate", rate, "--count", rate * load.seconds,
                       "--first-id", load.first[rate], *options,
                       log_name=f"{instance}.{rate}.log", timeout=load.seconds + 60)
        due |= {load.first[rate] + i: said["start_us"] + i * 1_000_000 // rate for i in range(rate * load.seconds)}
    return due


def floor(bench, load, name, repetition):
    instance = f"{name}_{repetition}"
    with topic_of(bench, instance) as topic, Consumer(bench, topic, load.count) as consumer:
        consumer.wait_ready()
        due = produce_load(bench, load, topic, instance, *FLOORS[name])
        arrivals = consumer.arrivals(load.count)
    return latencies(load, arrivals, due.__getitem__)


def write(bench, outbox, load, rate, log_path):
    said = told(Process([bench.program("writer"), "--conninfo", outbox.postgres.conninfo(outbox.db), "--rate", rate, "--seconds",
                         load.seconds, "--first-id", load.first[rate]], log_path), load.seconds + 60)
    if said["behind_at_end_ms"] > BEHIND_MAX_MS and not load.quick:
        raise Void(f"{rate} transactions a second were too many for this server")


def committed(outbox):
    """{id: microseconds}: when Postgres says that each row committed. That is before its WAL was flushed."""
    text = outbox.psql("select id, (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::bigint from outbox")
    return {id: int(at) for id, at in (line.split("|") for line in text.splitlines())}


def carried(bench, load, outbox, name):
    outbox.psql("truncate outbox; checkpoint")
    outbox.advance()
    run = contestants.enter(name, outbox)
    try:
        with Consumer(bench, run.topic, load.count) as consumer:
            consumer.wait_ready()
            run.start()
            run.wait_streaming()
            for rate in RATES:
                write(bench, outbox, load, rate, bench.dir / f"{run.slot}.{rate}.writer.log")
            arrivals = consumer.arrivals(load.count)
    finally:
        run.leave()
    times = committed(outbox)
    return latencies(load, arrivals, lambda n: times[event_id(n)])


def warm_up(bench):
    """The broker's JVM, which all share, compiles what many small transactions need."""
    count = 200 if bench.options.quick else 8000
    with topic_of(bench, "warm") as topic, Consumer(bench, topic, count) as consumer:
        consumer.wait_ready()
        produce(bench, topic, "--count", count, "--batch", 20, log_name="warm.log", timeout=120)
        consumer.arrivals(count)


def run(bench, options):
    load = Load(options.quick)
    names = [name for name in NAMES if bench.wanted(name)]
    missing = {name: contestants.missing(name) for name in names}
    measured = collections.defaultdict(list)  # of (rate, contestant, metric)
    voids = {}
    with Outbox(bench, "latency") as outbox:
        bench.progress("latency: warming up")
        warm_up(bench)
        for repetition in range(options.repeat):
            for name in names:
                if missing[name]:
                    continue
                bench.progress(f"latency: {name}, repetition {repetition + 1}")
                try:
                    found = (floor(bench, load, name, repetition) if name in FLOORS
                             else carried(bench, load, outbox, name))
                except (Void, TimeoutError, RuntimeError) as e:
                    voids[name] = str(e).splitlines()[0]
                    bench.progress(f"  VOID: {voids[name]}")
                    found = {}
                for rate in RATES:
                    for metric, of in METRICS.items():
                        measured[rate, name, metric].append(of(found[rate]) if found else None)
                for rate, ms in found.items():
                    bench.progress("  " + f"{rate}/s: " + ", ".join(f"{m} {of(ms):.2f}" for m, of in METRICS.items()) + " ms")
    rows = []
    for rate in sorted(RATES):
        for name in names:
            if missing[name]:
                rows.append(report.Row("latency", f"{rate} tx/s", name, "p50", "ms", missing=missing[name]))
                continue
            for metric in METRICS:
                rows.append(report.Row(
                    "latency", f"{rate} tx/s", name, metric, "ms", measured[rate, name, metric], void=voids.get(name),
                    anchor=None if name == FLOOR else FLOOR, goals=GOALS[metric] if name.startswith("walferry") else []))
    return rows
