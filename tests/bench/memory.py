"""The peak of the resident memory: of the main workload, of one large transaction, of all that part drain ran; with a
broker that answers nothing for a while; with large rows."""
import time

from harness import system

from . import contestants, drain
from .outbox import Outbox
from .report import Row, at_most

STOPPED_S = 20
MEGABYTE = 1 << 20
LARGE_ROWS = 3
LARGE_MB = (1, 8, 40)


def stopped_broker(bench, options, names):
    """The broker is frozen once a fifth is in the topic. A Row for each."""
    count, pause, rows = bench.rows(0.3), 2 if options.quick else STOPPED_S, []
    with Outbox(bench, "stopped") as outbox:
        runs = {name: contestants.enter(name, outbox) for name in names}
        outbox.write(count, 100)
        for name, run in runs.items():
            bench.progress(f"{name}: broker stopped for {pause} s")
            process = run.start(until=outbox.end())
            run.wait_streaming()
            try:
                system.wait_for(lambda: bench.appended(run.topic) >= count / 5, 60, "a fifth", 0.005)
                bench.kafka.sigstop()
                time.sleep(pause)
            finally:
                bench.kafka.sigcont()
            usage = process.wait(300)
            found = bench.found(run.topic)
            run.leave()
            rows.append(Row("memory", f"broker stopped for {pause} s", name, "peak RSS", "MB",
                            goals=drain.memory_goals(name)))
            if usage.exit_code or (found["records"], found["distinct"]) != (count, count):
                rows[-1].void = f"exit code {usage.exit_code}, {count} events, {found}"
            else:
                rows[-1].values = [usage.peak_kb / 1024]
    return rows


def large_rows(bench, options, name, megabytes):
    """Rows of so many MB, each in a transaction of its own. What may be held in addition is three times the row where it
    is above 1 MB, as in tests/integration/test_memory.py."""
    row = Row("memory", f"rows of {megabytes} MB", name, "peak RSS", "MB",
              goals=[at_most(drain.MEMORY_MB + (3 * megabytes if megabytes > 1 else 0))])
    with Outbox(bench, f"large{megabytes}_{name.split('-')[1]}", bytes=megabytes * MEGABYTE) as outbox:
        run = contestants.enter(name, outbox, message_bytes=(megabytes + 10) * MEGABYTE)
        outbox.write(LARGE_ROWS, 1)
        drained = drain.drain(run, outbox.end(), LARGE_ROWS)
        run.leave()
    row.values, row.void = [None if drained.void else drained.peak_mb], drained.void
    return row


def run(bench, options):
    rows = []
    for workload in dict.fromkeys((drain.MAIN, drain.HUGE, *bench.measured)):
        rows += drain.memory_rows(bench, workload)
    names = [name for name in drain.WALFERRY if bench.wanted(name)]
    rows += stopped_broker(bench, options, names)
    for name in names:
        for megabytes in LARGE_MB:
            bench.progress(f"{name}: rows of {megabytes} MB")
            rows.append(large_rows(bench, options, name, megabytes))
    return rows
