"""One transaction of a million rows: its first records are in Kafka before the last row has left Postgres, and after a kill
in the middle it goes on and does not begin anew."""
import json

from harness import system
from harness.postgres import lsn_number

from . import contestants, drain
from .outbox import Outbox
from .report import Row, at_least

METRICS = (("first record seen", "s"), ("last record seen", "s"), ("first before the last row has left Postgres", "of 1"),
           ("index after SIGKILL", ""))
ROWS_MIN = 20_000  # a smaller one is not split


def sent_lsn(outbox, slot):
    """How far the slot's walsender has got; a transaction counts once its last change is sent."""
    rows = outbox.postgres.query(f"select sent_lsn from pg_stat_replication r join pg_replication_slots s "
                                 f"on r.pid = s.active_pid where slot_name = '{slot}'")
    return lsn_number(rows[0]["sent_lsn"]) if rows and rows[0]["sent_lsn"] else None


def streamed(bench, outbox, run, count):
    """(seconds to the first record, to the last, whether the first was there before the last row had left, void)"""
    consumer = bench.follow(run.topic, count)
    process = run.start(until=outbox.end())
    first = json.loads(consumer.stdout.readline())
    sent = sent_lsn(outbox, run.slot)
    usage = process.wait(60 + count / 2000)
    last = json.loads(consumer.stdout.readline())
    consumer.wait(10)
    system.forget(consumer)
    commit = lsn_number(bench.kafka.position(run.instance)["commit_lsn"])
    started, found = run.started_ms()[0], bench.found(run.topic)
    void = None if usage.exit_code == 0 and found["records"] == found["distinct"] == count else \
        f"exit code {usage.exit_code}, {count} events, {found}"
    # The walsender's LSN passes the commit record's beginning when the whole transaction is decoded and sent.
    return ((first["first_seen_ms"] - started) / 1000, (last["last_seen_ms"] - started) / 1000,
            sent is not None and sent <= commit, void)


def killed(bench, outbox, run, count):
    """(index that was stored at the kill, void)"""
    process = run.start(until=outbox.end())
    run.wait_streaming()
    system.wait_for(lambda: bench.appended(run.topic, committed=True) >= min(count / 3, 1000),
                    60, "the first third", 0.001)
    process.kill9()
    position = bench.kafka.position(run.instance)
    usage = run.start(until=outbox.end()).wait(60 + count / 2000)
    found = bench.found(run.topic)
    if usage.exit_code or not found["records"] == found["distinct"] == count:
        return 0, f"exit code {usage.exit_code}, {count} events, {found}"
    if position["complete"]:
        return 0, "the kill came when all was done"
    return position["next_index"], None


def run(bench, options):
    rows = []
    count = max(bench.rows(1), ROWS_MIN)
    names = [name for name in drain.WALFERRY if bench.wanted(name)]
    with Outbox(bench, "huge") as outbox:
        rounds = [[(name, contestants.enter(name, outbox), contestants.enter(name, outbox)) for name in names]
                  for _ in range(options.repeat)]
        outbox.write(count, count)
        bench.progress(f"  {count:,} rows written")
        of = {name: [Row("huge", f"{count:,} rows", name, *rest) for rest in METRICS] for name in names}
        for runs in rounds:
            for name, whole, torn in runs:
                first, last, before, void = streamed(bench, outbox, whole, count)
                index, torn_void = killed(bench, outbox, torn, count)
                bench.progress(f"  {name}: first after {first:.2f} s, last after {last:.2f} s, resumed at {index:,}"
                               + (f" VOID: {void or torn_void}" if void or torn_void else ""))
                for row, value in zip(of[name], (first, last, int(before), index)):
                    row.values.append(value)
                of[name][0].void = of[name][0].void or void
                of[name][3].void = of[name][3].void or torn_void
                whole.leave()
                torn.leave()
    for name in names:
        of[name][2].goals, of[name][3].goals = [at_least(1)], [at_least(1)]
        rows += of[name]
    return rows
