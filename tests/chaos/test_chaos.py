"""Chaos for a minute and a half, with a seed of its own each time: WALFERRY_CHAOS_SEED=N brings one back."""
import itertools
import os
import random

from chaos import schedule
from chaos.chaos import Chaos

SECONDS = 90


def test_every_event_arrives_once_and_in_order_whatever_happens(capfd, decoder):
    seed = int(os.environ.get("WALFERRY_CHAOS_SEED") or random.SystemRandom().randrange(1, 10**6))
    lines = []

    def out(line):
        lines.append(line)
        with capfd.disabled():
            if "seed" in line or "PROBLEM" in line:
                print(line, flush=True)
    out(f"WALFERRY_CHAOS_SEED={seed}")
    assert Chaos(seed, decoder, out=out).run(SECONDS), "\n".join(lines)


def test_a_seed_brings_its_schedule_back():
    def first(seed):
        return list(itertools.islice(schedule.steps(seed), 100))
    assert first(42) == first(42)
    assert first(42) != first(43)


def test_every_kind_of_fault_comes_up_once_before_any_comes_up_twice():
    for seed in range(20):
        kinds = [f.kind for s in itertools.islice(schedule.steps(seed), len(schedule.KINDS)) for f in s.faults]
        assert sorted(kinds[:len(schedule.KINDS)]) == sorted(schedule.KINDS)
