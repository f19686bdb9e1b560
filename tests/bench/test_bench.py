"""scripts/bench at sizes that mean nothing, and the arithmetic of its figures."""
import json
import os
import subprocess
import sys

import pytest

from harness import system
from harness.walferry import binary

from . import contestants, inbox, latency, report, stats
from .__main__ import ALL, parse
from .drain import Void
from .report import Row, at_least, at_most, below

# Statistics


def test_a_ratio_is_the_median_of_those_of_runs_of_the_same_repetition():
    assert stats.ratio([50, 10, 100], [100, 20, 400]) == 0.5
    assert stats.ratio([None, 10, 100], [100, 20, None]) == 0.5
    assert stats.ratio([None], [1]) is None
    assert stats.ratio([], [1]) is None
    assert stats.ratio([1], None) is None
    assert stats.ratio([1], [0]) is None


def test_a_median_is_that_of_the_runs_that_count():
    assert stats.median([3, None, 1]) == 2
    assert stats.median([None]) is None


def test_a_percentile_is_a_value_that_occurred():
    values = list(range(1, 101))
    assert [stats.percentile(values, p) for p in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert stats.percentile([7], 99) == 7


def test_a_slope_is_that_of_the_line_through_the_points():
    assert stats.slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert stats.slope([(0, 1)]) == 0
    assert stats.slope([(1, 1), (1, 2)]) == 0


# Report

ROWS = [
    Row("drain", "main", "walferry", "rate", "events/s", [90, 80, 100], anchor="anchor",
        goals=[at_least(0.95, of="anchor"), at_least(3, of="peer")]),
    Row("drain", "main", "anchor", "rate", "events/s", [100, 100, 100], anchor="anchor"),
    Row("drain", "main", "peer", "rate", "events/s", missing="no Java"),
    Row("memory", "main", "walferry", "peak", "MB", [20, 21, 30], goals=[at_most(48)]),
    Row("restart", "long", "walferry", "first record", "s", [None, 1.0], goals=[below(1)], void="1 lost"),
    Row("restart", "none", "walferry", "first record", "s", [None], goals=[below(1)], void="2 lost"),
]


def test_goals_are_judged_by_the_median_alone_or_beside_another():
    drain, anchor, peer, memory, restart, none = report.judged(ROWS)
    assert drain["median"] == 90 and drain["ratio"] == 0.9
    assert [(g["figure"], g["reached"]) for g in drain["goals"]] == [(0.9, False), (None, None)]
    assert anchor["ratio"] is None
    assert peer["median"] is None and peer["missing"] == "no Java"
    assert [(g["figure"], g["reached"]) for g in memory["goals"]] == [(21, True)]
    assert restart["goals"][0]["reached"] is False
    assert none["median"] is None and none["goals"][0]["reached"] is None


def test_the_table_tells_what_was_reached_what_is_missing_and_what_is_void():
    text = report.table(ROWS)
    lines = {tuple(cell.strip() for cell in line.split("|")[1:4]): line
             for line in text.splitlines() if line.startswith("|")}
    assert "≥ 0.95 × anchor: 0.9 MISSED" in lines["main", "walferry", "rate"]
    assert "≥ 3 × peer: unknown" in lines["main", "walferry", "rate"]
    assert "0.9 × anchor" in lines["main", "walferry", "rate"] and "80 … 100" in lines["main", "walferry", "rate"]
    assert "no Java" in lines["main", "peer", "rate"]
    assert "≤ 48: ok" in lines["main", "walferry", "peak"]
    assert "VOID: 1 lost" in lines["long", "walferry", "first record"]
    assert "VOID: 2 lost; < 1: unknown" in lines["none", "walferry", "first record"]
    assert [line for line in text.splitlines() if line.startswith("##")] == ["## drain", "## memory", "## restart"]


@pytest.mark.parametrize("value, text", [(151234.5, "151,234"), (1000, "1,000"), (0.9512, "0.951"), (48, "48"),
                                         (172.3, "172"), (0, "0"), (None, "")])
def test_numbers_are_shown_with_the_digits_that_count(value, text):
    assert report.number(value) == text


# Options


def test_all_is_everything_but_the_soak():
    assert parse([]).parts == parse(["all"]).parts == list(ALL)
    assert parse(["soak", "all"]).parts == [*ALL, "soak"]
    assert parse(["cpu", "drain"]).parts == ["drain", "cpu"]


@pytest.mark.parametrize("arguments", [["drian"], ["--contestants", "nobody"], ["--rows", "-1"], ["--repeat", "0"],
                                       ["--rep", "2"]])
def test_what_is_not_understood_is_refused(arguments):
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2


def test_help_tells_every_option_and_contestant():
    script = system.ROOT / "scripts" / "bench"
    text = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    options = "--repeat", "--rows", "--minutes", "--contestants", "--json", "--quick", "--keep"
    for word in (*options, *contestants.NAMES, *contestants.INBOX_NAMES, *ALL):
        assert word in text


# The inbox's rate


class Effects:
    """What inbox.rate asks of a World: how many effects and how many distinct ones, and when how many were committed."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def psql(self, sql):
        return self.answers.pop(0)


def test_a_rate_counts_from_the_commit_behind_which_plans_are_made():
    assert inbox.rate(Effects("100|100", "5|10.0\n5|20.0\n50|21.0\n40|22.0"), 100) == 45


@pytest.mark.parametrize("answers", [["99|99"], ["101|100"], ["101|101"], ["100|100", "100|10.0"]])
def test_effects_that_are_lost_repeated_or_all_at_once_have_no_rate(answers):
    with pytest.raises(Void):
        inbox.rate(Effects(*answers), 100)


def test_values_stand_in_place_of_parameters_each_time():
    assert inbox.with_values("f($1, $10, $1)", [str(i) for i in range(10)]) == "f(0, 9, 0);\n"


# The whole


def test_a_quick_run_counts_every_record_and_names_who_is_missing(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(system.ROOT / "tests"), "WALFERRY_BIN": binary(),
                                "WALFERRY_JAVA21": "/nonexistent/java"}
    done = subprocess.run([sys.executable, "-m", "bench", "cpu", "restart", "huge", "--quick",
                           "--contestants", "walferry-pgoutput,recvlogical-pgoutput,debezium",
                           "--json", tmp_path / "bench.json"],
                          capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("QUICK: these figures mean nothing.") == 2
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["quick"] and told["repetitions"] == 1 and told["machine"]["cores"] > 0
    rows = {(row["part"], row["contestant"], row["metric"]): row for row in told["rows"]}
    assert not any(row["void"] for row in told["rows"])
    cpu = rows["cpu", "walferry-pgoutput", "user+sys"]
    assert cpu["median"] > 0 and cpu["ratio"] > 0 and cpu["goals"][0]["bound"] == 3.5
    assert rows["cpu", "recvlogical-pgoutput", "user+sys"]["median"] > 0
    assert "no Java" in rows["cpu", "debezium", "user+sys"]["missing"]
    assert "no Java" in done.stdout
    assert 0 < rows["restart", "walferry-pgoutput", "exec to append of first record"]["median"] < 30
    assert rows["huge", "walferry-pgoutput", "index after SIGKILL"]["median"] > 0


def test_a_quick_latency_run_joins_every_event_with_its_commit(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(system.ROOT / "tests"), "WALFERRY_BIN": binary()}
    done = subprocess.run([sys.executable, "-m", "bench", "latency", "--quick", "--json", tmp_path / "bench.json",
                           "--contestants", "walferry-pgoutput,producer,producer-eager"],
                          capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = {(row["workload"], row["contestant"], row["metric"]): row
            for row in json.loads((tmp_path / "bench.json").read_text())["rows"]}
    for rate in latency.RATES:
        for name in ("walferry-pgoutput", "producer", "producer-eager"):
            p50, p99, most = (rows[f"{rate} tx/s", name, metric]["median"] for metric in latency.METRICS)
            assert 0 < p50 <= p99 <= most < 10_000


def test_a_quick_run_of_the_inbox_counts_every_effect(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(system.ROOT / "tests"), "WALFERRY_BIN": binary()}
    done = subprocess.run([sys.executable, "-m", "bench", "inbox", "--quick", "--json", tmp_path / "bench.json"],
                          capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = {(row["workload"], row["contestant"], row["metric"]): row
            for row in json.loads((tmp_path / "bench.json").read_text())["rows"]}
    for partitions in inbox.PARTITIONS:
        workload = f"500 B, partitions: {partitions}"
        ours = rows[workload, inbox.OURS, "rate"]
        assert ours["median"] > 0 and [(goal["bound"], goal["of"]) for goal in ours["goals"]] == \
            [(0.8, "pgbench"), (0.8, "pipeline")]
        assert all(rows[workload, name, "rate"]["median"] > 0 for name in inbox.LIMITS)
        assert rows[workload, inbox.OURS, "user+sys"]["median"] > 0
        assert 0 < rows[workload, inbox.OURS, "peak RSS"]["median"] <= rows[workload, inbox.OURS, "peak RSS"]["goals"][0]["bound"]
    for kilobytes in inbox.LARGE_KB:
        assert rows[f"{kilobytes} kB, partitions: 12", inbox.OURS, "peak RSS"]["median"] > 0
    for rate in latency.RATES:
        for name in ("consumer", inbox.OURS):
            p50, p99, most = (rows[f"{rate} events/s", name, metric]["median"] for metric in latency.METRICS)
            assert 0 < p50 <= p99 <= most < 10_000
