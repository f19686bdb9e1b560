#!/usr/bin/env python3
"""Chaos against real servers for as long as asked; afterwards every event once, in order, and nothing else.

Rounds of at most ROUND_SECONDS: writers write, the schedule of the seed is inflicted, then all is healed, the relay drains,
and every record is compared with what was committed. Exit code 0 only when nothing was found wrong. What walferry logged
is in the folder that is printed.
"""
import argparse
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

from chaos import verify, writers  # noqa: E402
from chaos.faults import Relays, World  # noqa: E402
from chaos.schedule import KINDS, steps  # noqa: E402
from harness import system  # noqa: E402
from harness.kafka import Kafka  # noqa: E402
from harness.postgres import Postgres, SqlError  # noqa: E402
from harness.proxy import TcpProxy  # noqa: E402
from harness.shop import Shop  # noqa: E402
from harness.walferry import binary  # noqa: E402

ROUND_SECONDS = 240
SETTLE_SECONDS = 60  # after the worst of faults, until everything is in Kafka and acknowledged
DRAIN_SECONDS = 180


class Chaos:
    """One run: the servers, and what was found. out: where each line of the report goes."""

    def __init__(self, seed, decoder="pgoutput", binary_path=None, out=print):
        self.seed, self.decoder, self.binary = seed, decoder, binary_path or binary()
        self.out = out
        self.problems = []
        self.totals = dict.fromkeys(("steps", "transactions", "committed", "records", "positions", "samples", "starts"), 0)
        self.seen = set()  # kinds of faults
        self.log_dir = system.ROOT / "build" / "chaos" / f"seed-{seed}"
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def run(self, seconds):
        """True when nothing was found wrong."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        for old in self.log_dir.iterdir():
            old.unlink()
        deadline = time.monotonic() + seconds
        schedule = steps(self.seed)
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
                if self.problems or (number > 1 and left < 10):
                    break
                try:
                    self._round(number, min(left, ROUND_SECONDS), schedule, postgres, kafka, proxy)
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
            self._say(f"PROBLEM {problem}")
            if run is not None:
                self._say(run.log_tail(15))

    def _say(self, text):
        self.out(f"[{time.monotonic() - self._began:7.1f}] {text}")

    def _round(self, number, seconds, schedule, postgres, kafka, proxy):
        deadline = time.monotonic() + seconds
        shop = Shop(postgres, kafka, name=f"chaos{self.seed}x{number}", decoder=self.decoder,
                    pg_port=proxy.port, brokers=kafka.proxy_brokers)
        shop.psql(writers.SETUP)
        relays = Relays(shop.write_config(), self.log_dir, self.report, self.binary)
        world = World(postgres, kafka, proxy, shop, relays, self.report)
        crew = writers.Writers(shop, f"{self.seed}/{number}")
        sampler = verify.Sampler(shop, broker_is_fresh=world.broker_is_fresh)
        try:
            relays.start().newest.wait_streaming(60)
            sampler.start()
            crew.start()
            while time.monotonic() < deadline and not self.problems:
                self._step(next(schedule), world, crew, deadline)
            world.heal()
            crew.stop()
            writers.quiesced(shop)
            relays.stop_all()
            self._drain(shop)
            sampler.stop()
            self._check(shop, sampler)
        finally:
            with contextlib.suppress(TimeoutError):
                crew.stop(10)
            sampler.stop()
            relays.close()
            for run in shop.runs:
                (self.log_dir / f"walferry-drain-{run.pid}.log").write_text("\n".join(run.lines) + "\n")
            self.totals["transactions"] += crew.transactions
            self.totals["samples"] += sampler.samples
            self.totals["starts"] += relays.started
            self._say(f"round {number}: {crew.transactions} transactions, {crew.broken} sessions broken, "
                      f"{relays.started} starts of walferry, exit codes {relays.ended}, {sampler.samples} samples "
                      f"({sampler.moved} with progress, {sampler.missed} without an answer)")
            for complaint in crew.complaints[:3]:
                self._say(f"a writer was told: {complaint}")
        if not self.problems:
            topics = [*shop.event_topics(), f"walferry.position.{shop.name}"]
            shop.close()
            for topic in topics:
                kafka.delete_topic(topic)

    def _step(self, step, world, crew, deadline):
        self._say(str(step))
        self.totals["steps"] += 1
        if step.huge:
            crew.huge()
            time.sleep(0.4)
        with contextlib.ExitStack() as stack:
            for number, fault in enumerate(step.faults):
                if number:
                    time.sleep(step.apart)
                self.seen.add(fault.kind)
                stack.enter_context(world.inflict(fault))
            time.sleep(max(f.seconds for f in step.faults))
        time.sleep(step.calm)
        if step.settle and time.monotonic() < deadline:
            self._settle(world)

    def _settle(self, world):
        """With everything healed the relay must get through to what is committed now. With a lively outbox that is a
        promise about recovery, not about speed."""
        world.heal()
        target = world.postgres.flush_lsn()
        began = time.monotonic()
        while (world.postgres.confirmed_flush(world.shop.slot) or 0) < target:
            if self.problems:
                return
            if time.monotonic() - began > SETTLE_SECONDS:
                self.report(f"no progress to {target:X} within {SETTLE_SECONDS} s of peace", world.relays.newest)
                return
            time.sleep(0.1)
        self._say(f"caught up in {time.monotonic() - began:.1f} s")

    def _drain(self, shop):
        began = time.monotonic()
        run = shop.run("relay", "--until", "now", timeout=DRAIN_SECONDS, binary_path=self.binary)
        if run.exit_code != 0:
            self.report(f"relay --until now ended with exit code {run.exit_code}", run)
        self._say(f"drained in {time.monotonic() - began:.1f} s")

    def _check(self, shop, sampler):
        committed = writers.committed(shop)
        records = verify.read_records(shop)
        positions = verify.read_positions(shop)
        last = sampler.sample()
        for problem in (verify.check_committed(committed) + verify.check_records(committed, records)
                        + verify.check_positions(positions) + sampler.problems[:3]):
            self.report(problem)
        if last is None:
            self.report("the slot or the position cannot be read at the end")
        if sampler.samples < 5 or sampler.moved < 2:
            self.report(f"only {sampler.samples} samples, {sampler.moved} with progress: nothing was proved by them")
        if quarantined := shop.quarantined():
            self.report(f"{len(quarantined)} events in quarantine: {quarantined[0]}")
        if not committed:
            self.report("nothing was committed")
        self.totals["committed"] += len(committed)
        self.totals["records"] += len(records)
        self.totals["positions"] += len(positions)

    def _summary(self):
        t = self.totals
        never = sorted(set(KINDS) - self.seen)
        self._say(f"seed {self.seed}: {t['steps']} steps ({len(self.seen)} of {len(KINDS)} kinds"
                  f"{', not: ' + ' '.join(never) if never else ''}), {t['starts']} starts of walferry, "
                  f"{t['transactions']} transactions, {t['committed']} events committed, {t['records']} records read, "
                  f"{t['positions']} positions, {t['samples']} samples: {len(self.problems)} problems")
        if self.problems:
            self._say(f"logs: {self.log_dir}")
            self._say(f"again: tests/chaos/chaos.py --seed {self.seed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, help="the same seed inflicts the same schedule")
    parser.add_argument("--decoder", default="pgoutput")
    parser.add_argument("--bin", help="the walferry to run (default: $WALFERRY_BIN, else build/test/walferry)")
    parser.add_argument("--print-schedule", type=int, metavar="STEPS", help="only show what a seed would do")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}", flush=True)
    if options.print_schedule:
        for step in itertools.islice(steps(seed), options.print_schedule):
            print(step)
        return 0
    seconds = options.seconds or (options.minutes or 1.5) * 60
    return 0 if Chaos(seed, options.decoder, options.bin).run(seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
