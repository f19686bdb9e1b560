#!/usr/bin/env python3
"""Chaos against real servers for as long as asked; afterwards every event once, in order, and nothing else.

Rounds of at most ROUND_SECONDS: writers write, the schedule of the seed is inflicted, then all is healed, walferry drains,
and every record is compared with what was committed, or every effect with what was sent. Exit code 0 only when nothing was found wrong. What walferry logged
is in the folder that is printed.
"""
import argparse
import collections
import contextlib
import itertools
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # tests/, from where both packages are imported

from chaos.schedule import KINDS, steps  # noqa: E402
from chaos.trials import TRIALS  # noqa: E402
from harness import system  # noqa: E402
from harness.kafka import Kafka  # noqa: E402
from harness.postgres import Postgres, SqlError  # noqa: E402
from harness.proxy import TcpProxy  # noqa: E402
from harness.walferry import binary  # noqa: E402

ROUND_SECONDS = 240
MORE_SECONDS = 30  # where there were not kills enough
SETTLE_SECONDS = 60  # after the worst of faults, until everything is done that was there to do


class Chaos:
    """One run: the servers, and what was found. tried: one of TRIALS; out: where each line of the report goes."""

    def __init__(self, seed, tried="relay", decoder="pgoutput", binary_path=None, out=print):
        self.seed, self.tried, self.decoder, self.binary = seed, tried, decoder, binary_path or binary()
        self.out = out
        self.problems = []
        self.totals = collections.Counter()
        self.seen = set()  # kinds of faults
        self.log_dir = system.ROOT / "build" / "chaos" / f"{tried}-seed-{seed}"
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def run(self, seconds, kills=0):
        """For so long, or longer until so many processes were killed. True when nothing was found wrong."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        for old in self.log_dir.iterdir():
            old.unlink()
        deadline = time.monotonic() + seconds
        schedule = steps(self.seed, self.tried)
        with contextlib.ExitStack() as stack:
            # A slot's position is saved at checkpoints: with few of them a crash resends more.
            postgres = Postgres({"checkpoint_timeout": "30s"})
            stack.callback(postgres.destroy)
            kafka = Kafka()
            stack.callback(kafka.destroy)
            postgres.start()
            kafka.start()
            proxy = TcpProxy(postgres.port)
            stack.callback(proxy.close)
            for number in itertools.count(1):
                left = deadline - time.monotonic()
                if self.problems or (number > 1 and left < 10 and self.totals["kills"] >= kills):
                    break
                try:
                    self._round(number, min(max(left, MORE_SECONDS), ROUND_SECONDS), schedule, (postgres, kafka, proxy))
                except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError, SqlError) as e:
                    self.report(f"the round could not be finished: {e}")
            if self.problems:
                for server in (postgres, kafka):
                    (self.log_dir / f"{server.library}.log").write_text(system.tail(server.log_path, 5000))
        self._summary()
        return not self.problems

    def report(self, problem, run=None):
        """May be called from any thread."""
        with self._lock:
            self.problems.append(problem)
            self.say(f"PROBLEM {problem}")
            if run is not None:
                self.say(run.log_tail(15))

    def say(self, text):
        self.out(f"[{time.monotonic() - self._began:7.1f}] {text}")

    def _round(self, number, seconds, schedule, servers):
        deadline = time.monotonic() + seconds
        trial = TRIALS[self.tried](self, f"chaos{self.seed}x{number}", servers)
        try:
            trial.start()
            while time.monotonic() < deadline and not self.problems:
                self._step(next(schedule), trial, deadline)
            trial.world.heal()
            began = time.monotonic()
            trial.finish()
            self.say(f"drained and compared in {time.monotonic() - began:.1f} s")
        finally:
            trial.close()
        if not self.problems:
            trial.forget()

    def _step(self, step, trial, deadline):
        self.say(str(step))
        self.totals["steps"] += 1
        if step.huge:
            trial.burst()
        with contextlib.ExitStack() as stack:
            for number, fault in enumerate(step.faults):
                if number:
                    time.sleep(step.apart)
                self.seen.add(fault.kind)
                stack.enter_context(trial.world.inflict(fault))
            time.sleep(max(f.seconds for f in step.faults))
        time.sleep(step.calm)
        if step.settle and time.monotonic() < deadline:
            self._settle(trial)

    def _settle(self, trial):
        """With everything healed it must get through to what is there now. With a lively outbox, or topic, that is a
        promise about recovery, not about speed."""
        trial.world.heal()
        target = trial.target()
        began = time.monotonic()
        while not trial.reached(target):
            if self.problems:
                return
            if time.monotonic() - began > SETTLE_SECONDS:
                self.report(f"no progress to {target} within {SETTLE_SECONDS} s of peace",
                            trial.world.instances[-1].newest)
                return
            time.sleep(0.1)
        self.say(f"caught up in {time.monotonic() - began:.1f} s")

    def _summary(self):
        kinds = KINDS[self.tried]
        never = sorted(set(kinds) - self.seen)
        found = ", ".join(f"{count} {what}" for what, count in self.totals.items())
        self.say(f"{self.tried}, seed {self.seed}: {len(self.seen)} of {len(kinds)} kinds of faults"
                 f"{', not: ' + ' '.join(never) if never else ''}; {found}: {len(self.problems)} problems")
        if self.problems:
            self.say(f"logs: {self.log_dir}")
            self.say(f"again: tests/chaos/chaos.py --tried {self.tried} --seed {self.seed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, help="the same seed inflicts the same schedule")
    parser.add_argument("--tried", choices=sorted(TRIALS), default="relay")
    parser.add_argument("--kills", type=int, default=0, help="go on until so many processes were killed")
    parser.add_argument("--decoder", default="pgoutput")
    parser.add_argument("--bin", help="the walferry to run (default: $WALFERRY_BIN, else build/test/walferry)")
    parser.add_argument("--print-schedule", type=int, metavar="STEPS", help="only show what a seed would do")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}", flush=True)
    if options.print_schedule:
        for step in itertools.islice(steps(seed, options.tried), options.print_schedule):
            print(step)
        return 0
    seconds = options.seconds or (options.minutes or 1.5) * 60
    return 0 if Chaos(seed, options.tried, options.decoder, options.bin).run(seconds, options.kills) else 1


if __name__ == "__main__":
    sys.exit(main())
