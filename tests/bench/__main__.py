"""python3 -m bench, started by scripts/bench, whose --help tells the options."""
import argparse
import datetime
import importlib
import os
import platform
import subprocess
import sys

from harness.walferry import binary

from . import bench as servers
from . import contestants, report

PARTS = ("drain", "latency", "memory", "cpu", "restart", "huge", "soak")
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
    for name in options.contestants or []:
        if name not in contestants.NAMES:
            parser.error(f"no such contestant: {name} (there are {', '.join(contestants.NAMES)})")
    options.repeat = options.repeat or (1 if options.quick else 3)
    options.rows = options.rows or (QUICK_ROWS if options.quick else 1_000_000)
    options.minutes = options.minutes or (0.1 if options.quick else 30)
    if min(options.repeat, options.rows, options.minutes) <= 0:
        parser.error("--repeat, --rows and --minutes are above 0")
    return options


def about(options, began):
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]
    return {
        "began": began.isoformat(timespec="seconds"), "parts": options.parts, "quick": options.quick,
        "repetitions": options.repeat, "rows_of_main_workload": options.rows,
        "machine": {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release()},
        "walferry": first_line(binary(), "--version"), "pg_recvlogical": first_line("pg_recvlogical", "--version"),
        "postgres_settings": servers.POSTGRES_SETTINGS, "kafka_settings": servers.KAFKA_SETTINGS, "jvm": servers.JVM,
    }


def headline(told):
    settings = " ".join(f"{k}={v}" for k, v in told["postgres_settings"].items())
    return "\n".join(([QUICK_MARK, ""] if told["quick"] else []) + [
        f"{told['walferry']}, {told['pg_recvlogical']}; {told['machine']['cores']} cores, Linux {told['machine']['kernel']}; "
        f"{told['repetitions']} repetitions, main workload {told['rows_of_main_workload']:,} rows; {told['began']}",
        f"Postgres: {settings}",
        f"Kafka: {told['jvm']['WALFERRY_KAFKA_JVM']}", ""])


def main():
    options = parse(sys.argv[1:])
    told = about(options, datetime.datetime.now(datetime.timezone.utc))
    rows = []
    with servers.Bench(options) as bench:
        for part in options.parts:
            bench.progress(f"== {part}")
            rows += importlib.import_module(f".{part}", __package__).run(bench, options)
        bench.progress("done")
    if options.json:
        with open(options.json, "w") as file:
            file.write(report.as_json(rows, told))
    print(headline(told) + report.table(rows), end="")
    if options.quick:
        print(f"\n{QUICK_MARK}")
    return 1 if any(row.void for row in rows) else 0


sys.exit(main())
