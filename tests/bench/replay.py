"""A replay beside the relay that published the same rows before: how fast each carries them; and the latency of a relay
that works while a replay runs, beside that of the same relay alone."""
import contextlib
import threading

from harness import system
from harness.walferry import binary

from . import contestants, drain, latency, stats
from .outbox import Outbox
from .process import Process
from .report import Row, at_least

RATE = 200  # transactions a second, of one row
SECONDS, DROPPED_S = 20, 3
QUICK_SECONDS, QUICK_DROPPED_S = 3, 1
BACKLOG = 0.3  # of the main workload's rows: what is replayed meanwhile, again and again
PHASES = {"alone": None, "beside a replay": [], "of 20,000/s": ["--max-per-second", "20000"]}
DRAIN_SHARE = 0.95  # of the relay's rate


class Replay:
    """Of what a contestant has published, to a topic of its own. Made before rows are written."""

    def __init__(self, run):
        self.run, self.outbox, self.bench = run, run.outbox, run.bench
        self.slot, self.topic = f"{run.slot}_replay", f"{run.slot}.again"
        self.log_path = self.bench.dir / f"{self.slot}.log"
        self.outbox.copy_slot(run.plugin, self.slot)
        self.oldest = self.outbox.postgres.slot(self.slot)["confirmed_flush_lsn"]
        run.shop.config["postgres"]["replay"] = {"slot": self.slot, "keep": "1d"}
        self.outbox.kafka.create_topic(self.topic, contestants.PARTITIONS, message_timestamp_type="LogAppendTime")

    def start(self, *args):
        return Process([binary(), "replay", self.run.shop.write_config(), "--log-format", "json", "--from", self.oldest,
                        "--topic", self.topic, *args], self.log_path)

    def drain(self, count):
        """As drain.drain has it."""
        usage = self.start().wait(120 + count / 2000)
        found, starts = self.bench.found(self.topic), self.outbox.started_ms(f"{self.slot}_run")
        void = None
        if usage.exit_code != 0 or (found["records"], found["distinct"]) != (count, count) or len(starts) != 1:
            void = f"exit code {usage.exit_code}, {len(starts)} starts, {count} events, {found}, see {self.log_path}"
        return drain.Drained(count * 1000 / (found["last_ms"] - starts[0]), usage.cpu_s * 1e6 / count, usage.peak_kb / 1024,
                             None, void)

    @contextlib.contextmanager
    def again_and_again(self, args):
        """There is always one under way while it is entered."""
        stop, process, failed = threading.Event(), self.start("--again", *args), []

        def repeat(process):
            while not stop.is_set():
                if process.wait(600).exit_code != 0 and not stop.is_set():
                    failed.append(process)
                    return
                if not stop.is_set():
                    process = running[0] = self.start("--again", *args)

        running = [process]
        thread = threading.Thread(target=repeat, args=(process,), daemon=True)
        system.wait_for(lambda: self.outbox.started_ms(f"{self.slot}_run"), 60, "the replay streams")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            with contextlib.suppress(ProcessLookupError):
                running[0].signal(15)
            thread.join(30)
        if failed:
            raise drain.Void(f"a replay ended with {failed[0].usage.exit_code}, see {self.log_path}")

    def leave(self):
        self.run.leave()
        self.outbox.postgres.drop_slot(self.slot)
        for topic in (self.topic, f"{self.run.position_topic}.replay"):
            self.outbox.kafka.delete_topic(topic)


def drained(bench, outbox, name, count):
    """(the relay's Drained, the replay's)"""
    outbox.advance()
    run = contestants.enter(name, outbox)
    replay = Replay(run)
    outbox.write(count, drain.MAIN.per_transaction)
    pair = drain.drain(run, outbox.end(), count), replay.drain(count)
    replay.leave()
    return pair


def drain_rows(bench, outbox, options, name):
    count = bench.rows(1)
    figures = {"relay": [], "replay": []}
    for _ in range(options.repeat):
        for label, one in zip(figures, drained(bench, outbox, name, count), strict=True):
            figures[label].append(one)
            bench.progress(f"  {label}: {one}")
    rows = []
    for metric, unit, value in (("rate", "events/s", lambda d: d.rate), ("user+sys", "s per million", lambda d: d.cpu_s),
                                ("peak RSS", "MB", lambda d: d.peak_mb)):
        for label, runs in figures.items():
            goals = [at_least(DRAIN_SHARE, of="relay")] if label == "replay" and metric == "rate" else []
            rows.append(Row("replay", f"{name}: {drain.MAIN.name}", label, metric, unit,
                            [None if one.void else value(one) for one in runs], anchor="relay", goals=goals,
                            void=next((one.void for one in runs if one.void), None)))
    return rows


class Load(latency.Load):
    """The same pace in each phase, numbered through."""

    def __init__(self, quick):
        self.quick = quick
        self.seconds, self.dropped_s = (QUICK_SECONDS, QUICK_DROPPED_S) if quick else (SECONDS, DROPPED_S)
        self.each = RATE * self.seconds
        self.count = len(PHASES) * self.each

    def phase(self, number):
        """As write() wants it."""
        self.first = {RATE: number * self.each}
        return self

    def counted(self, number):
        return range(number * self.each + RATE * self.dropped_s, (number + 1) * self.each)


def live(bench, outbox, name, load):
    """{phase: milliseconds}"""
    outbox.advance()
    run = contestants.enter(name, outbox)
    replay = Replay(run)
    try:
        outbox.write(bench.rows(BACKLOG), drain.MAIN.per_transaction)
        if run.start(until=outbox.end()).wait(600).exit_code != 0:
            raise drain.Void(f"the backlog was not carried, see {run.log_path}")
        outbox.psql("truncate outbox; checkpoint")
        bench.kafka.delete_records(run.topic)
        with latency.Consumer(bench, run.topic, load.count) as consumer:
            consumer.wait_ready()
            run.start()
            run.wait_streaming()
            for number, args in enumerate(PHASES.values()):
                with contextlib.nullcontext() if args is None else replay.again_and_again(args):
                    latency.write(bench, outbox, load.phase(number), RATE, bench.dir / f"{run.slot}.{number}.writer.log")
            arrivals = consumer.arrivals(load.count)
    finally:
        replay.leave()
    times = latency.committed(outbox)
    return {phase: [(arrivals[latency.event_id(n)] - times[latency.event_id(n)]) / 1000 for n in load.counted(number)]
            for number, phase in enumerate(PHASES)}


def latency_rows(bench, outbox, options, name):
    load, void = Load(options.quick), None
    figures = {(phase, metric): [] for phase in PHASES for metric in latency.METRICS}
    for _ in range(options.repeat):
        try:
            found = live(bench, outbox, name, load)
        except (drain.Void, TimeoutError, RuntimeError) as e:
            void, found = str(e).splitlines()[0], {}
        for phase, metric in figures:
            figures[phase, metric].append(latency.METRICS[metric](found[phase]) if found else None)
        bench.progress("  " + (void or ", ".join(f"{phase}: p50 {stats.percentile(found[phase], 50):.2f} ms, "
                                                 f"p99 {stats.percentile(found[phase], 99):.2f} ms" for phase in PHASES)))
    return [Row("replay", f"{name}: live relay at {RATE} tx/s", phase, metric, "ms", values, anchor="alone", void=void)
            for (phase, metric), values in figures.items()]


def run(bench, options):
    rows = []
    for name in drain.WALFERRY:
        if not bench.wanted(name):
            continue
        with Outbox(bench, "replay_" + name.split("-")[1]) as outbox:
            bench.progress(f"{name}: a backlog")
            rows += drain_rows(bench, outbox, options, name)
            bench.progress(f"{name}: live")
            rows += latency_rows(bench, outbox, options, name)
    return rows
