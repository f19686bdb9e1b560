"""Chaos for a minute and a half, with a seed of its own each time: WALFERRY_CHAOS_SEED=N brings one back."""
import itertools
import os
import random

import pytest

from chaos import schedule
from chaos.chaos import Chaos

SECONDS = 90
KILLS = 10


def run(tried, decoder, capfd, seconds, kills=0):
    seed = int(os.environ.get("WALFERRY_CHAOS_SEED") or random.SystemRandom().randrange(1, 10**6))
    lines = []

    def out(line):
        lines.append(line)
        with capfd.disabled():
            if "seed" in line or "PROBLEM" in line:
                print(line, flush=True)
    out(f"WALFERRY_CHAOS_SEED={seed}")
    chaos = Chaos(seed, tried, decoder, out=out)
    assert chaos.run(seconds, kills), "\n".join(lines)
    assert chaos.totals["kills"] >= kills


def test_every_event_arrives_once_and_in_order_whatever_happens(capfd, decoder):
    run("relay", decoder, capfd, SECONDS)


def test_every_event_is_handled_once_and_in_order_whatever_happens(capfd):
    run("inbox", "pgoutput", capfd, SECONDS, KILLS)


def test_every_committed_event_has_its_effect_once_whatever_happens_on_the_way(capfd, decoder):
    run("both", decoder, capfd, SECONDS / 2)


@pytest.mark.parametrize("tried", schedule.KINDS)
def test_a_seed_brings_its_schedule_back(tried):
    def first(seed):
        return list(itertools.islice(schedule.steps(seed, tried), 100))
    assert first(42) == first(42)
    assert first(42) != first(43)


@pytest.mark.parametrize("tried", schedule.KINDS)
def test_every_kind_of_fault_comes_up_once_before_any_comes_up_twice(tried):
    count = len(schedule.KINDS[tried])
    for seed in range(20):
        kinds = [f.kind for s in itertools.islice(schedule.steps(seed, tried), count) for f in s.faults]
        assert sorted(kinds[:count]) == sorted(schedule.KINDS[tried])
