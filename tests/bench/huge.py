"""One transaction of a million rows: its first records are in Kafka before the last row has left Postgres, and after a kill
once a third of it is committed there it goes on and does not begin anew."""
import json

from harness import system
from harness.postgres import lsn_number

from . import contestants, drain, report
from .outbox import Outbox
from .report import Row, at_least

METRICS = (("first record seen", "s"), ("last record seen", "s"), ("first before the last row has left Postgres", "of 1"),
           ("index after SIGKILL", ""))
ROWS_MIN = 60_000  # a smaller one is not split, or over before the kill


def sent_lsn(outbox, slot):
    """How far the slot's walsender has got; a transaction counts once its last change is sent."""
    rows = outbox.postgres.query(f"select sent_lsn from pg_stat_replication r join pg_replication_slots s "
                                 f"on r.pid = s.active_pid where slot_name = '{slot}'")
    return lsn_number(rows[0]["sent_lsn"]) if rows and rows[0]["sent_lsn"] else None


def streamed(bench, outbox, run, count):
    """(seconds to the first record, to the last, 1 if the first was there before the last row had left else 0); Void."""
    with bench.follow(run.topic, count) as consumer:
        process = run.start(until=outbox.end())
        first = json.loads(consumer.stdout.readline())  # the last line too, when no record came
        sent = sent_lsn(outbox, run.slot)
        usage = process.wait(60 + count / 2000)
        last = json.loads(consumer.stdout.readline() or "{}")
    found = bench.found(run.topic)
    if usage.exit_code or not found["records"] == found["distinct"] == last.get("records") == count:
        raise drain.Void(f"exit code {usage.exit_code}, {count} events, {found}, seen while it ran: {last}")
    commit = lsn_number(bench.kafka.position(run.instance)["commit_lsn"])
    started = run.started_ms()[0]
    # The walsender's LSN passes the commit record's beginning when the whole transaction is decoded and sent.
    return ((first["first_seen_ms"] - started) / 1000, (last["last_seen_ms"] - started) / 1000,
            int(sent is not None and sent <= commit))


def killed(bench, outbox, run, count):
    """(index that was stored at the kill,); Void."""
    process = run.start(until=outbox.end())
    run.wait_streaming()
    system.wait_for(lambda: bench.appended(run.topic, committed=True) >= count / 3,
                    60 + count / 2000, "the first third", 0.005)
    process.kill9()
    position = bench.kafka.position(run.instance)
    usage = run.start(until=outbox.end()).wait(60 + count / 2000)
    found = bench.found(run.topic)
    if usage.exit_code or not found["records"] == found["distinct"] == count:
        raise drain.Void(f"exit code {usage.exit_code}, {count} events, {found}")
    if position["complete"]:
        raise drain.Void("the kill came when all was done")
    return position["next_index"],


def either(measure, metrics, *args):
    """(what measure found, why it is void): a None for each of its metrics when it is."""
    try:
        return measure(*args), None
    except (drain.Void, TimeoutError, RuntimeError, ValueError) as e:
        return (None,) * metrics, str(e).splitlines()[0]


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
                seen, void = either(streamed, 3, bench, outbox, whole, count)
                resumed, torn_void = either(killed, 1, bench, outbox, torn, count)
                void = void or torn_void
                shown = [f"{metric}: {report.number(value)}" for (metric, _), value in zip(METRICS, seen + resumed)]
                bench.progress(f"  {name}: {', '.join(shown)}" + (f" VOID: {void}" if void else ""))
                for row, value in zip(of[name], seen + resumed):
                    row.values.append(value)
                    row.void = row.void or void
                whole.leave()
                torn.leave()
    for name in names:
        of[name][2].goals, of[name][3].goals = [at_least(1)], [at_least(1)]
        rows += of[name]
    return rows
