"""The inbox: from a topic into a small handler. How fast a backlog is handled, beside two that send the server the same
statements with nothing around them: pgbench, and bench_pipeline, the limit. What that takes in CPU time and memory. And
how long an event is under way, beside a bare consumer of the same records.

pgbench prepares each line of a script by itself. Its 500 plans for one statement are too many for a processor's caches
and cost the server more than they would in a program that prepares one, which bench_pipeline is."""
import collections
import contextlib
import json
import re
import subprocess
from pathlib import Path

from harness import system
from harness.postgres import bindir
from harness.shop import yaml
from harness.walferry import binary

from . import contestants, latency, stats
from .drain import MEMORY_MB, Void
from .outbox import Outbox
from .process import Process
from .report import Row, at_least, at_most

OURS = "walferry-inbox"
LIMITS = ("pgbench", "pipeline")
SHARE = 0.2  # of the rows of the main workload
PARTITIONS = (1, 12)
BATCH = 500  # walferry's largest, and so pgbench's
SETTLED = 0.1  # of the events; plans are made with the first
LARGE_KB = (100, 1000)
LARGE_BYTES = 100_000_000  # in all
RATE = 0.8  # of the limits'

HANDLER = """
create schema app;
create table app.effects (id text, customer text, total numeric);
create function app.on_event(e jsonb) returns void language plpgsql as $$
begin
  insert into app.effects (id, customer, total)
  values (e->>'id', e->'metadata'->>'partition_key', (e->'payload'->>'total')::numeric);
end $$;
"""
NOTIFYING = """
create schema app;
create table app.effects (id text);
create function app.on_event(e jsonb) returns void language plpgsql as $$
begin
  insert into app.effects (id) values (e->>'id');
  perform pg_notify('bench', e->>'id');
end $$;
"""


class World:
    """A database with a handler and the inbox's tables that nobody has used yet, and a config for it."""

    def __init__(self, bench, name, topic, handler=HANDLER):
        self.bench, self.postgres, self.db, self.topic = bench, bench.postgres, f"bench_{name}", topic
        self.group = self.db
        config = {"name": self.db, "postgres": {"conninfo": self.postgres.conninfo(self.db)},
                  "kafka": {"brokers": bench.kafka.brokers},
                  "inbox": {"group": self.group, "topics": [topic], "handlers": [{"type": "*", "call": "app.on_event"}]}}
        self.config = bench.dir / f"{self.db}.yaml"
        self.config.write_text(yaml(config))
        self.postgres.psql(f'create database "{self.db}"')
        printed = subprocess.run([binary(), "init", self.config, "--print"], stdin=subprocess.DEVNULL, capture_output=True,
                                 text=True, check=True, timeout=60).stdout
        self.psql(printed)
        self.psql(handler)

    def psql(self, sql):
        return self.postgres.psql(sql, self.db)

    def log_path(self, name):
        return self.bench.dir / f"{self.db}.{name}.log"

    def inbox(self, *options):
        """walferry, started."""
        return Process([binary(), "inbox", self.config, "--log-format", "json", *options], self.log_path("inbox"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.postgres.drop_database(self.db)


# A backlog


def rate(world, count):
    """Events a second, from the commit behind which the first of them are done to the last one; Void unless each of the
    count events had its effect once."""
    found = world.psql("select count(*), count(distinct id) from app.effects")
    if found != f"{count}|{count}":
        raise Void(f"{count} events, but effects and distinct ones: {found}")
    commits = [(int(n), float(at)) for n, at in (line.split("|") for line in world.psql("""
        select count(*), extract(epoch from min(pg_xact_commit_timestamp(xmin))) from app.effects
        group by xmin::text order by 2""").splitlines())]
    done, began = 0, 0.0
    while done < SETTLED * count:
        n, began = commits.pop(0)
        done += n
    if not commits:
        raise Void("all was done in one transaction")
    return (count - done) / (commits[-1][1] - began)


def statements():
    """{name: SQL}: what walferry prepares."""
    tool = Path(binary()).parent / "tests" / "inbox_statements"
    lines = subprocess.run([tool, "app.on_event"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return {line["name"]: line["sql"] for line in map(json.loads, lines)}


def with_values(sql, values):
    """With the expressions of a pgbench script for $1, $2, ..."""
    return re.sub(r"\$(\d+)", lambda found: values[int(found[1]) - 1], sql) + ";\n"


def pgbench_script(partitions):
    """A transaction as walferry's, pipelined. Each event has an id of its own, of a UUID's length, and not in order."""
    sql = statements()
    script = "\\set next :stands + 1000\n\\startpipeline\nbegin;\n" + sql["wf_marks_lock"] + ";\n"
    for partition in range(partitions):
        script += with_values(sql["wf_offset_swap"], [":consumer", ":topic", str(partition), "1", ":stands", ":next",
                                                      ":stands", "1700000000000", "(:n || :suffix)"])
    id = "(:n || :suffix)"
    handle = with_values(sql["handle"], [
        ":consumer", ":source", id, id, id, "null", "null", "null", f"(:before || {id} || :after)", ":topic", "0", ":i",
        "1700000000000", ":key", ":headers", ":value"])
    script += f"\\set i :i + 1\n\\set n 100000000000 + permute(:i, 800000000000)\n{handle}" * BATCH
    return script + "commit;\n\\endpipeline\n\\set stands :next\n"


def limit(world, contestant, partitions, count):
    """pgbench or bench_pipeline, started: count events that are like the first of the topic."""
    bench, record = world.bench, world.bench.kafka.first_record(world.topic)
    id = json.loads(record["payload"])["id"]
    before, after = record["payload"].split(id, 1)
    like = {"consumer": world.group, "topic": world.topic, "source": record["headers"]["source"], "before": before,
            "after": after, "key": record["key"], "headers": json.dumps(list(record["headers"].items())),
            "value": record["payload"]}
    for partition in range(partitions):
        world.psql(f"""insert into walferry.inbox_offsets (consumer, topic, partition, next_offset, claim, dirty)
                       values ('{world.group}', '{world.topic}', {partition}, 0, 1, true)""")
    conninfo, log = world.postgres.conninfo(world.db), world.log_path(contestant)
    if contestant == "pipeline":
        options = [word for name, value in like.items() for word in (f"--{name}", value)]
        return Process([bench.program("pipeline"), "--conninfo", conninfo, "--handler", "app.on_event", "--count", count,
                        "--batch", BATCH, "--partitions", partitions, *options], log)
    script = bench.dir / f"{world.db}.pgbench"
    script.write_text(pgbench_script(partitions))
    variables = like | {"i": 0, "n": 0, "stands": 0, "suffix": id[12:]}
    return Process([bindir() / "pgbench", "-n", "-M", "prepared", "-t", count // BATCH, "-f", script,
                    *(f"-D{name}={value}" for name, value in variables.items()), conninfo], log,
                   env={"PGOPTIONS": "-c plan_cache_mode=force_generic_plan"})  # else five more plans for each line


def drained(bench, name, contestant, topic, partitions, count):
    """(events a second, Usage)"""
    with World(bench, name, topic) as world:
        world.psql("checkpoint")
        process = world.inbox("--until-end") if contestant == OURS else limit(world, contestant, partitions, count)
        usage = process.wait(120 + count / 200)
        if usage.exit_code != 0:
            raise Void(f"{contestant} ended with {usage.exit_code}: {system.tail(process.log_path, 3)}")
        return rate(world, count), usage


@contextlib.contextmanager
def backlog(bench, name, partitions, count, **kwargs):
    """The name of a topic with count events, as the relay writes them. kwargs: of an Outbox."""
    large = kwargs.get("bytes", 0) > 500_000
    with Outbox(bench, name, **kwargs) as outbox:
        options = {"message_bytes": 11_000_000} if large else {}
        run = contestants.enter("walferry-pgoutput", outbox, partitions=partitions, **options)
        outbox.write(count, 100 if not large else 1)
        usage = run.start(until=outbox.end()).wait(300)
        if usage.exit_code != 0:
            raise RuntimeError(f"the relay ended with {usage.exit_code}, see {run.log_path}")
        yield run.topic
        run.leave()


def throughput(bench, options, partitions):
    workload, count = f"500 B, partitions: {partitions}", bench.rows(SHARE)
    names = [name for name in (OURS, *LIMITS) if bench.wanted(name)]
    measured, voids = collections.defaultdict(list), {}
    bench.progress(f"inbox: {workload}, {count:,} events")
    with backlog(bench, f"inbox{partitions}", partitions, count) as topic:
        for repetition in range(options.repeat):
            for name in names:
                try:
                    per_second, usage = drained(bench, f"inbox{partitions}_{repetition}_{name[:4]}", name, topic, partitions,
                                                count)
                    found = per_second, usage.cpu_s * 1e6 / count, usage.peak_kb / 1024
                    bench.progress(f"  {name}: {found[0]:,.0f}/s, {found[1]:.2f} s CPU per million, {found[2]:.0f} MB")
                except (Void, TimeoutError) as e:
                    voids[name] = str(e).splitlines()[0]
                    bench.progress(f"  {name}: VOID: {voids[name]}")
                    found = None, None, None
                measured[name].append(found)
    metrics = (("rate", "events/s", [at_least(RATE, of=name) for name in LIMITS]), ("user+sys", "s per million", []),
               ("peak RSS", "MB", [at_most(MEMORY_MB)]))
    return [Row("inbox", workload, name, metric, unit, [found[i] for found in measured[name]], anchor=LIMITS[-1],
                goals=goals if name == OURS else [], void=voids.get(name))
            for name in names for i, (metric, unit, goals) in enumerate(metrics)]


def large_values(bench, kilobytes):
    row = Row("inbox", f"{kilobytes} kB, partitions: {PARTITIONS[-1]}", OURS, "peak RSS", "MB", goals=[at_most(MEMORY_MB)])
    count = min(bench.rows(SHARE), LARGE_BYTES // kilobytes // 1000)
    bench.progress(f"inbox: {row.workload}, {count:,} events")
    with backlog(bench, f"inbox_large{kilobytes}", PARTITIONS[-1], count, bytes=kilobytes * 1000) as topic:
        try:
            _, usage = drained(bench, f"inbox_large{kilobytes}_to", OURS, topic, PARTITIONS[-1], count)
            row.values = [usage.peak_kb / 1024]
            bench.progress(f"  {row.values[0]:.0f} MB")
        except (Void, TimeoutError) as e:
            row.void = str(e).splitlines()[0]
    return row


# Latency


class Listener(latency.Consumer):
    """bench_listener on a world's effects; arrivals as a Consumer's."""

    def __init__(self, world, count):
        self.arrivals_path = world.bench.dir / f"{world.db}.effects"
        self._log_path = world.log_path("listener")
        self.process = Process([world.bench.program("listener"), "--conninfo", world.postgres.conninfo(world.db),
                                "--channel", "bench", "--count", count, "--idle", latency.IDLE_S,
                                "--out", self.arrivals_path], self._log_path)


def under_way(bench, load, name):
    """{contestant: {rate: [ms]}}: from when a record was due at its producer to a consumer, and to its effect."""
    with latency.topic_of(bench, name) as topic, World(bench, name, topic, NOTIFYING) as world, \
            latency.Consumer(bench, topic, load.count) as consumer, Listener(world, load.count) as listener:
        consumer.wait_ready()
        listener.wait_ready()
        inbox = world.inbox()
        try:
            system.wait_for(lambda: "inbox.streaming" in inbox.log_path.read_text(), 60, "inbox streaming")
            due = latency.produce_load(bench, load, topic, name)
            times = {"consumer": consumer.arrivals(load.count), OURS: listener.arrivals(load.count)}
        finally:
            inbox.stop()
        return {who: latency.latencies(load, arrivals, due.__getitem__) for who, arrivals in times.items()}


def delays(bench, options):
    load = latency.Load(options.quick)
    measured, void = collections.defaultdict(list), None
    names = "consumer", OURS
    for repetition in range(options.repeat):
        bench.progress(f"inbox: latency, repetition {repetition + 1}")
        try:
            found = under_way(bench, load, f"inbox_latency{repetition}")
        except (Void, TimeoutError, RuntimeError) as e:
            void, found = str(e).splitlines()[0], {}
            bench.progress(f"  VOID: {void}")
        for name in names:
            for per_second in latency.RATES:
                for metric, of in latency.METRICS.items():
                    measured[name, per_second, metric].append(of(found[name][per_second]) if found else None)
                if found:
                    bench.progress(f"  {name} {per_second}/s: " + ", ".join(
                        f"{m} {of(found[name][per_second]):.2f}" for m, of in latency.METRICS.items()) + " ms")
    return [Row("inbox", f"{per_second} events/s", name, metric, "ms", measured[name, per_second, metric],
                anchor=None if name == "consumer" else "consumer", void=void)
            for per_second in sorted(latency.RATES) for name in names for metric in latency.METRICS]


def run(bench, options):
    rows = []
    for partitions in PARTITIONS:
        rows += throughput(bench, options, partitions)
    if bench.wanted(OURS):
        rows += [large_values(bench, kilobytes) for kilobytes in LARGE_KB]
        rows += delays(bench, options)
    return rows
