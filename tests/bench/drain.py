"""A backlog is carried: how fast. The parts cpu and memory show what the same runs used."""
import dataclasses
import time

from . import contestants
from .outbox import Outbox
from .report import Row, at_least, at_most

RECVLOGICAL = ("recvlogical-pgoutput", "recvlogical-wal2json")
WALFERRY = ("walferry-pgoutput", "walferry-wal2json")
MEMORY_MB = 48
CPU_S = 3.5
CODECS = ("none", "lz4", "snappy", "zstd", "gzip")


@dataclasses.dataclass(frozen=True)
class Workload:
    """share: of the rows of the main workload. per_transaction: None for all of them. names: who takes part when nobody
    was asked for."""

    name: str
    share: float
    per_transaction: int = 100
    bytes: int = 500
    payload: str = "jsonb"
    messages: bool = False
    codecs: tuple = ()
    names: tuple = WALFERRY + RECVLOGICAL

    def entrants(self, options):
        """[(label, contestant, kwargs of enter)]"""
        wanted = [n for n in contestants.NAMES if n in (options.contestants or self.names)
                  and not n.startswith("producer") and not (self.messages and n.startswith("debezium"))]
        if not self.codecs:
            return [(name, name, {}) for name in wanted]
        return [(f"{name} {codec}", name, {"properties": [f"compression.codec={codec}"]})
                for name in wanted if name in self.names for codec in self.codecs]


MAIN = Workload("main: 500 B, transactions of 100", 1, names=WALFERRY + RECVLOGICAL + ("debezium",))
HUGE = Workload("500 B, one transaction", 1, per_transaction=None)
SIDE = (
    Workload("500 B, transactions of 1", 0.2, per_transaction=1),
    Workload("500 B, transactions of 10", 0.2, per_transaction=10),
    HUGE,
    Workload("10 kB, transactions of 10", 0.05, per_transaction=10, bytes=10_000),
    Workload("500 B, messages by 100", 0.2, messages=True),
    Workload("500 B in json", 0.2, payload="json"),
    Workload("500 B in text", 0.2, payload="text"),
    Workload("codecs", 0.2, codecs=CODECS, names=("walferry-pgoutput",)),
)


class Void(Exception):
    """A run that does not count, and why."""


@dataclasses.dataclass
class Drained:
    """One run. ms from the server's START_REPLICATION to the last record's append, or to the end of pg_recvlogical."""

    rate: float = None  # events a second
    cpu_s: float = None  # for a million events
    peak_mb: float = None
    stored: float = None  # bytes in the broker's log, for an event
    void: str = None

    def __str__(self):
        if self.void:
            return f"VOID: {self.void}"
        return f"{self.rate:,.0f}/s, {self.cpu_s:.2f} s CPU per million, {self.peak_mb:.0f} MB"


def carried(run, end, count, timeout):
    """Starts the run and waits until it has carried count events, all before LSN end."""
    process = run.start(until=end)
    if isinstance(run, contestants.Debezium):
        try:
            deadline = time.monotonic() + timeout
            while run.bench.appended(run.topic) < count:
                if time.monotonic() > deadline or not process.running():
                    process.kill9()
                    return f"not done within {timeout:.0f} s, see {run.log_path}"
                time.sleep(0.05)
        finally:
            process.stop()
        return None
    usage = process.wait(timeout)
    return f"exit code {usage.exit_code}, see {run.log_path}" if usage.exit_code else None


def drain(run, end, count):
    """A Drained of one run."""
    bench = run.bench
    try:
        void = carried(run, end, count, timeout=120 + count / 2000)
    except (TimeoutError, RuntimeError) as e:
        void = str(e).splitlines()[0]
    if void:
        return Drained(void=void)
    usage, starts = run.process.usage, run.started_ms()
    ended_ms, stored = usage.ended_ms, None
    if run.topic:
        found = bench.found(run.topic)
        ended_ms, stored = found["last_ms"], bench.stored_bytes(run.topic) / count
        if (found["records"], found["distinct"]) != (count, count):
            void = f"{count} events, but {found['records']} records, {found['distinct']} of them distinct"
    if len(starts) > 1:
        void = void or f"started over {len(starts) - 1} times, see {run.log_path}"
    return Drained(count * 1000 / (ended_ms - starts[0]), usage.cpu_s * 1e6 / count, usage.peak_kb / 1024, stored, void)


def warm_up(bench):
    """A broker just started compiles itself for a while; nobody is to pay for that alone. A Row for each void run."""
    count, rows = bench.rows(0.3), []
    bench.progress(f"warming up the broker: {count:,} events")
    with Outbox(bench, "warm_up") as outbox:
        runs = [contestants.enter("walferry-pgoutput", outbox) for _ in range(3)]
        outbox.write(count, MAIN.per_transaction)
        for run in runs:
            void = drain(run, outbox.end(), count).void
            run.leave()
            if void:
                rows.append(Row("warm-up", MAIN.name, run.contestant, "rate", "events/s", void=void))
    return rows


def measure(bench, workload):
    """{label: [Drained of each repetition]}, or why there is none as a text. Measured once, however many parts ask."""
    if workload in bench.measured:
        return bench.measured[workload]
    options, count = bench.options, bench.rows(workload.share)
    bench.progress(f"{workload.name}: {count:,} events")
    result = {label: contestants.missing(name) or [] for label, name, _ in workload.entrants(options)}
    entrants = [e for e in workload.entrants(options) if not contestants.missing(e[1])]
    with Outbox(bench, f"drain{len(bench.measured)}", workload.bytes, workload.payload, workload.messages) as outbox:
        rounds = [[(label, contestants.enter(name, outbox, **kwargs)) for label, name, kwargs in entrants]
                  for _ in range(options.repeat)]
        outbox.write(count, workload.per_transaction or count)
        end = outbox.end()
        bench.progress("  written")
        for runs in rounds:
            for label, run in runs:
                drained = drain(run, end, count)
                run.leave()
                result[label].append(drained)
                bench.progress(f"  {label}: {drained}")
    bench.measured[workload] = result
    return result


def rows_of(part, workload, result, metric, unit, value, goals=lambda name: [], anchor=contestants.anchor):
    """A Row for each contestant. value: of a Drained; goals and anchor: of a contestant."""
    rows = []
    for label, runs in result.items():
        name = label.split(" ")[0]
        row = Row(part, workload.name, label, metric, unit, anchor=anchor(name), goals=goals(name))
        if isinstance(runs, str):
            row.missing = runs
        else:
            row.values = [None if run.void else value(run) for run in runs]
            row.void = next((run.void for run in runs if run.void), None)
        rows.append(row)
    return rows


def rate_goals(workload):
    """The share of pg_recvlogical's rate holds for all workloads, the peer is in the main one only."""
    def goals(name):
        if not name.startswith("walferry"):
            return []
        shares = {"walferry-pgoutput": 0.95, "walferry-wal2json": 0.9}
        return [at_least(shares[name], of=contestants.anchor(name))] + [at_least(3, of="debezium")] * (workload is MAIN)
    return goals


def memory_goals(name):
    return [at_most(MEMORY_MB)] if name.startswith("walferry") else []


def cpu_rows(bench, workload):
    goal = [at_most(CPU_S)] if workload is MAIN else []
    rows = rows_of("cpu", workload, measure(bench, workload), "user+sys", "s per million", lambda d: d.cpu_s,
                   lambda name: goal if name.startswith("walferry") else [])
    for row in rows:
        if row.contestant.startswith("debezium"):
            row.note = "the start of its JVM included, and of one that tells its version"
    return rows


def memory_rows(bench, workload):
    return rows_of("memory", workload, measure(bench, workload), "peak RSS", "MB", lambda d: d.peak_mb, memory_goals)


def run(bench, options):
    rows = []
    for workload in (MAIN, *SIDE):
        result = measure(bench, workload)
        if not workload.codecs:
            rows += rows_of("drain", workload, result, "rate", "events/s", lambda d: d.rate, rate_goals(workload))
            continue
        for metric, unit, value in (("rate", "events/s", lambda d: d.rate),
                                    ("stored", "bytes/event", lambda d: d.stored)):
            rows += rows_of("drain", workload, result, metric, unit, value,
                            anchor=lambda name: f"{name} {workload.codecs[0]}")
    return rows
