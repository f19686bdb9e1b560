"""From exec to the append of the first record, as the broker stamps it, with a stored position and rows that wait in
the slot: with a position topic that is new, and with one that holds a great many records."""
import subprocess

from . import contestants, drain
from .outbox import Outbox
from .report import Row, below

WAITING = 1000
POSITIONS = 1_000_000
POSITIONS_QUICK = 2000
PER_COMMIT = 100
GOAL_S = 1


def fill(bench, run, count):
    """More of the instance's own current record, as the brokers would have them before they compact."""
    bench.progress(f"  {count:,} records for {run.position_topic}")
    records = [r for r in bench.kafka.consume(run.position_topic) if r["key"] == "current"]
    subprocess.run([bench.program("fill"), bench.kafka.brokers, run.position_topic, "current", str(count),
                    str(PER_COMMIT)], input=records[-1]["payload"].encode(), check=True, timeout=600)


def restarted(bench, outbox, run):
    """(seconds from exec to the append of the first record, why it is void)"""
    bench.kafka.delete_records(run.topic)
    outbox.write(WAITING, 10)
    process = run.start(until=outbox.end())
    usage = process.wait(60)
    found = bench.found(run.topic)
    void = None if usage.exit_code == 0 and found["distinct"] == found["records"] == WAITING else \
        f"exit code {usage.exit_code}, {WAITING} events, {found}"
    return (found["first_ms"] - process.started_ms) / 1000, void


def run(bench, options):
    rows = []
    count = POSITIONS_QUICK if options.quick else POSITIONS
    for name in drain.WALFERRY:
        if not bench.wanted(name):
            continue
        bench.progress(name)
        with Outbox(bench, "restart_" + name.split("-")[1]) as outbox:
            run = contestants.enter(name, outbox)
            for workload, prepare in (("a new position topic", lambda: None),
                                      (f"{count:,} records in the position topic", lambda: fill(bench, run, count))):
                prepare()
                row = Row("restart", workload, name, "exec to append of first record", "s", goals=[below(GOAL_S)])
                rows.append(row)
                for _ in range(options.repeat):
                    seconds, void = restarted(bench, outbox, run)
                    row.values.append(None if void else seconds)
                    row.void = row.void or void
                    bench.progress(f"  {workload}: {seconds:.3f} s" + (f" VOID: {void}" if void else ""))
            run.leave()
    return rows
