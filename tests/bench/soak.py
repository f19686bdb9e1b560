"""Memory over time, under a steady load with bursts: does it grow? Each begins with a backlog, which takes as much memory
as there may be, since what was needed once is kept: what grows from there on is a leak."""
import contextlib
import threading
import time

from . import contestants, drain, stats
from .outbox import Outbox
from .process import status_kb
from .report import Row, at_most

BACKLOG = 0.3  # of the rows of the main workload
PER_SECOND = 2000
BURST_EVERY_S = 60
BURST = 20_000
SETTLED = 0.2  # of the time; what is allocated at first is no growth
GROWTH_MB = 1  # over the rest of the run, by its slope


class Samples:
    """RSS once a second, from the thread that watches the process."""

    def __init__(self):
        self.points = []  # (seconds, MB)

    def __call__(self, pid):
        now = time.monotonic()
        if not self.points or now - self.points[-1][0] >= 1:
            self.points.append((now, status_kb(pid, "VmRSS") / 1024))


def bursts(outbox, over):
    while not over.wait(BURST_EVERY_S):
        outbox.write(BURST, 100)


def run(bench, options):
    seconds = options.minutes * 60
    names = [name for name in drain.WALFERRY if bench.wanted(name)]
    with Outbox(bench, "soak") as outbox:
        runs = {name: contestants.enter(name, outbox) for name in names}
        samples = {name: Samples() for name in names}
        outbox.write(bench.rows(BACKLOG), 100)
        for name, run in runs.items():
            run.start(sample=samples[name])
            run.wait_streaming()
        bench.progress(f"  {PER_SECOND:,} rows a second, {BURST:,} at once every {BURST_EVERY_S} s, for {seconds:.0f} s")
        over = threading.Event()
        other = threading.Thread(target=bursts, args=(outbox, over))
        other.start()
        outbox.write_steadily(PER_SECOND, seconds, 10)
        over.set()
        other.join()
        rows = []
        for name, run in runs.items():
            rows += judge(bench, outbox, name, run, samples[name].points)
            run.leave()
    return rows


def judge(bench, outbox, name, run, points):
    with bench.follow(run.topic, outbox.written) as consumer:
        consumer.wait()  # for the last record, or none for a minute
    with contextlib.suppress(TimeoutError):  # it was killed then, and its exit code tells
        run.process.stop()
    usage, found = run.process.usage, bench.found(run.topic)
    void = None if usage.exit_code == 0 and found["records"] == found["distinct"] == outbox.written else \
        f"exit code {usage.exit_code}, {outbox.written} events, {found}"
    began, ended = points[0][0], points[-1][0]
    settled = [(at, mb) for at, mb in points if at >= began + SETTLED * (ended - began)]
    slope = stats.slope(settled)
    workload = f"{(ended - began) / 60:.1f} minutes, {outbox.written:,} events"
    return [Row("soak", workload, name, metric, unit, [None if void else value], goals=goals, void=void)
            for metric, unit, value, goals in (
                ("peak RSS", "MB", usage.peak_kb / 1024, drain.memory_goals(name)),
                ("slope", "MB/hour", slope * 3600, []),
                ("growth", "MB", slope * (settled[-1][0] - settled[0][0]), [at_most(GROWTH_MB)]))]
