"""python3 -m bench, started by scripts/bench, whose --help tells the options."""
import argparse
import datetime
import importlib
import os
import platform
import subprocess
import sys
import traceback

from harness import system
from harness.postgres import bindir
from harness.walferry import binary

from . import bench as servers
from . import contestants, drain, report

PARTS = ("drain", "latency", "memory", "cpu", "restart", "huge", "replay", "inbox", "soak")
ALL = tuple(part for part in PARTS if part != "soak")
QUICK_ROWS = 4000
QUICK_MARK = "QUICK: these figures mean nothing."


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/bench", allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, {', '.join(PARTS)}")
    parser.add_argument("--contestants")
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(arguments)
    for part in options.parts:
        if part not in (*PARTS, "all"):
            parser.error(f"no such part: {part} (there are {', '.join(PARTS)}, all)")
    asked = options.parts or ["all"]
    options.parts = [part for part in PARTS if part in asked or "all" in asked and part in ALL]
    options.contestants = options.contestants.split(",") if options.contestants else None
    names = contestants.NAMES + contestants.INBOX_NAMES
    for name in options.contestants or []:
        if name not in names:
            parser.error(f"no such contestant: {name} (there are {', '.join(names)})")
    for name, quick, usual in (("repeat", 1, 3), ("rows", QUICK_ROWS, 1_000_000), ("minutes", 0.1, 30)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    if min(options.repeat, options.rows, options.minutes) <= 0:
        parser.error("--repeat, --rows and --minutes are above 0")
    return options


def about(options, began):
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]

    def version(library, variable):
        return first_line(*system.shell_library(library, f'echo "${variable}"'))
    return {
        "began": began.isoformat(timespec="seconds"), "parts": options.parts, "quick": options.quick,
        "repetitions": options.repeat, "rows_of_main_workload": options.rows,
        "machine": {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release()},
        "walferry": first_line(binary(), "--version"), "postgres": first_line(bindir() / "postgres", "--version"),
        "pg_recvlogical": first_line(bindir() / "pg_recvlogical", "--version"),
        "kafka": version("kafka", "KAFKA_VERSION"), "debezium_server": version("debezium", "DEBEZIUM_VERSION"),
        "postgres_settings": servers.POSTGRES_SETTINGS, "kafka_settings": servers.KAFKA_SETTINGS, "jvm": servers.JVM,
    }


def headline(told):
    settings = " ".join(f"{k}={v}" for k, v in told["postgres_settings"].items())
    return "\n".join([
        f"{told['walferry']}, {told['postgres']}, {told['pg_recvlogical']}, Kafka {told['kafka']}, "
        f"Debezium Server {told['debezium_server']}; {told['machine']['cores']} cores, "
        f"Linux {told['machine']['kernel']}; {told['began']}",
        f"{told['repetitions']} repetitions, {told['rows_of_main_workload']:,} rows in the main workload. A ratio is the "
        "median of those of runs in the same repetition.",
        f"Postgres: {settings}",
        f"Kafka's JVM: {told['jvm']['WALFERRY_KAFKA_JVM']}; "
        f"Debezium's: {told['jvm']['WALFERRY_DEBEZIUM_JVM'] or 'its defaults'}",
        ""])


def measured(part, run):
    """The rows that run() returns. A part that fails is a void row: what the others found is not lost with it."""
    try:
        return run()
    except Exception as e:  # whatever it is
        traceback.print_exc()
        return [report.Row(part, "all", "all", "all", "", void=f"{type(e).__name__}: {e}".splitlines()[0])]


def main():
    options = parse(sys.argv[1:])
    told = about(options, datetime.datetime.now(datetime.timezone.utc))
    rows = []
    with servers.Bench(options) as bench:
        if not options.quick:
            rows += measured("warm-up", lambda: drain.warm_up(bench))
        for part in options.parts:
            bench.progress(f"== {part}")
            rows += measured(part, lambda: importlib.import_module(f".{part}", __package__).run(bench, options))
        bench.progress("done")
    if options.json:
        with open(options.json, "w") as file:
            file.write(report.as_json(rows, told))
    mark = f"{QUICK_MARK}\n" if options.quick else ""
    print(mark + headline(told) + report.table(rows) + mark, end="")
    return 1 if any(row.void for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
