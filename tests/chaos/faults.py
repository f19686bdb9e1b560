"""How each fault of schedule.py is done and undone, and the supervisor that keeps walferry running as systemd would."""
import contextlib
import os
import signal
import threading
import time

from chaos.schedule import MEMBERS
from harness import system
from harness.postgres import SqlError
from harness.walferry import Walferry

LEAVE_SECONDS = 13  # SIGTERM promises 10; the machine is busy
SHUTDOWN_SECONDS = 30  # Postgres' fast shutdown, which waits for its walsenders


class Instances:
    """Those of one relay (one that works, and now and then a second one), or the members of a group. Restarts what ends by
    itself."""

    def __init__(self, command, config_path, log_dir, report, binary=None, wanted=1):
        self.command, self._wanted = command, wanted
        self._config_path, self._log_dir, self._report, self._binary = config_path, log_dir, report, binary
        self._lock = threading.RLock()
        self._runs = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._expected = {}  # run: exit codes that are no surprise
        self.started = self.killed = 0
        self.ended = {}  # exit code: how often

    def start(self):
        self._fill()
        self._thread.start()
        return self

    def _fill(self):
        with self._lock:
            while len(self._runs) < self._wanted and not self._stop.is_set():
                self.launch()

    def launch(self):
        with self._lock:
            self.started += 1
            run = Walferry(self.command, self._config_path, binary_path=self._binary)
            run.number = self.started
            self._runs.append(run)
            return run

    @property
    def newest(self):
        """The instance started last, or None."""
        with self._lock:
            return self._runs[-1] if self._runs else None

    @property
    def runs(self):
        with self._lock:
            return list(self._runs)

    @contextlib.contextmanager
    def fewer(self, count=None):
        """So many less while it is entered; by default none at all."""
        with self._lock:
            count = self._wanted if count is None else count
            self._wanted -= count
        try:
            yield
        finally:
            with self._lock:
                self._wanted += count
            self._fill()

    def kill(self, run):
        with self._lock:
            if run not in self._runs:
                return
            self._expected[run] = {-9}
            run.kill9()
            self.killed += 1
            self._collect(run)

    def terminate(self, run):
        """SIGTERM, and exit 0 within the promised time, whatever else is going on."""
        with self._lock:
            if run not in self._runs:
                return
            self._expected[run] = {0}
        began = time.monotonic()
        run.sigcont()
        try:
            run.terminate(LEAVE_SECONDS)
        except AssertionError:
            self._report(f"SIGTERM at {began:.1f}: still running after {LEAVE_SECONDS} s", run)
            with self._lock:
                self._expected[run] = {0, -9}
                run.kill9()
        with self._lock:
            self._collect(run)

    def stop_all(self):
        self._stop.set()
        self._thread.join(10)
        for run in self.runs:
            self.terminate(run)

    def close(self):
        self._stop.set()
        with self._lock:
            for run in self._runs:
                run.close()
            self._runs.clear()

    def _supervise(self):
        while not self._stop.wait(0.05):
            with self._lock:
                ended = [run for run in self._runs if not run.running]
            for run in ended:
                with self._lock:
                    self._collect(run)
            if ended:
                self._stop.wait(0.3)
            self._fill()

    def _collect(self, run):
        """Files away a run that has ended. Under the lock."""
        if run not in self._runs or run.running:
            return
        self._runs.remove(run)
        code = run.wait(10)
        self.ended[code] = self.ended.get(code, 0) + 1
        expected = self._expected.pop(run, set())
        (self._log_dir / f"{self.command}-{run.number:04d}-{run.pid}.log").write_text("\n".join(run.lines) + "\n")
        # 4 is for the one of two relays that lost. Servers that come and go are nothing to end for, let alone to refuse for.
        if code not in expected and code != 4:
            self._report(f"walferry {self.command} ended with exit code {code}", run)
            self._stop.set()


class World:
    """Everything a fault can reach."""

    def __init__(self, postgres, kafka, postgres_proxy, report, shop=None, relays=None, members=None):
        self.postgres, self.kafka, self.postgres_proxy = postgres, kafka, postgres_proxy
        self.shop, self.relays, self.members, self.report = shop, relays, members, report
        self.servers_killed = 0
        self._broker_disturbed = 0.0

    @property
    def instances(self):
        return [i for i in (self.relays, self.members) if i is not None]

    @property
    def killed(self):
        """Processes of walferry, and servers."""
        return self.servers_killed + sum(i.killed for i in self.instances)

    @property
    def kafka_proxy(self):
        return self.kafka.proxy

    def broker_is_fresh(self):
        return time.monotonic() - self._broker_disturbed < 10

    def inflict(self, fault):
        """A context manager: the fault lasts while it is entered."""
        return contextlib.contextmanager(getattr(self, "_" + fault.kind.replace(".", "_")))(**dict(fault.arguments))

    def heal(self):
        """Whatever was left: both servers run, both links pass."""
        self.kafka_proxy.heal()
        self.postgres_proxy.heal()
        self.postgres.ensure_running()
        self.kafka.ensure_running()

    # walferry

    def _relay_sigkill(self):
        with self.relays.fewer():
            for run in self.relays.runs:
                self.relays.kill(run)
            yield

    def _relay_sigterm(self):
        with self.relays.fewer():
            for run in self.relays.runs:
                self.relays.terminate(run)
            yield

    def _relay_zombie(self, then):
        zombie = self.relays.newest
        if zombie is None:
            yield
            return
        zombie.sigstop()
        with contextlib.suppress(SqlError):
            self.postgres.terminate_slot_user(self.shop.slot)
        successor = self.relays.launch()
        yield
        zombie.sigcont()
        time.sleep(1.5)
        if then == "zombie_is_killed":
            self.relays.kill(zombie)
        elif then == "zombie_is_stopped":
            self.relays.terminate(zombie)
        else:
            self.relays.kill(successor)

    # The members of the group

    def _members(self, first, count):
        """So many of them, in turns from one of them on."""
        runs = self.members.runs
        return [runs[(first + n) % len(runs)] for n in range(min(count, len(runs)))]

    def _inbox_sigkill(self, first, count=1):
        with self.members.fewer(count):
            for run in self._members(first, count):
                self.members.kill(run)
            yield

    def _inbox_sigkill_two(self, first):
        yield from self._inbox_sigkill(first, 2)

    def _inbox_sigkill_all(self):
        yield from self._inbox_sigkill(0, MEMBERS)

    def _inbox_sigterm(self, first):
        with self.members.fewer(1):
            for run in self._members(first, 1):
                self.members.terminate(run)
            yield

    def _inbox_join(self):
        guest = self.members.launch()
        yield
        self.members.terminate(guest)

    def _inbox_zombie(self, first, then):
        zombies = self._members(first, 1)
        for zombie in zombies:
            zombie.sigstop()
        yield
        for zombie in zombies:
            zombie.sigcont()
            time.sleep(0.5)
            if then == "is_killed":
                self.members.kill(zombie)
            elif then == "is_stopped":
                self.members.terminate(zombie)

    # The servers

    def _broker_sigkill(self):
        self._broker_disturbed = float("inf")
        self.servers_killed += 1
        self.kafka.kill9()
        yield
        self.kafka.start()
        self._broker_disturbed = time.monotonic()

    def _broker_freeze(self):
        self._broker_disturbed = float("inf")
        self.kafka.sigstop()
        yield
        self.kafka.sigcont()
        self._broker_disturbed = time.monotonic()

    def _postgres_immediate(self):
        self.servers_killed += 1
        self.postgres.stop("immediate")
        yield
        self.postgres.start()

    def _postgres_fast(self):
        try:
            self.postgres.stop("fast", timeout=SHUTDOWN_SECONDS)
        except TimeoutError:
            self.report(f"Postgres' fast shutdown is not through after {SHUTDOWN_SECONDS} s",
                        next((i.newest for i in self.instances), None))
            self.postgres.stop("immediate")
        yield
        self.postgres.start()

    def _walferrys_backends(self):
        try:
            return [int(pid) for pid in self.postgres.psql(
                "select pid from pg_stat_activity where application_name like 'walferry%'").split()]
        except SqlError:
            return []  # the server is down for another reason

    def _postgres_backend_sigkill(self):
        for pid in self._walferrys_backends()[:1]:
            self.servers_killed += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        yield
        system.wait_for(self.postgres.answers, 60, "Postgres has restarted its backends")

    def _postgres_end_sessions(self):
        with contextlib.suppress(SqlError):
            self.postgres.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                               "where application_name like 'walferry%'")
        yield

    # The connections

    def _postgres_link_cut(self):
        self.postgres_proxy.cut()
        yield

    def _postgres_link_delay(self, delay):
        self.postgres_proxy.delay = delay
        yield
        self.postgres_proxy.heal()

    def _postgres_link_blackhole(self):
        self.postgres_proxy.blackhole()
        yield
        self.postgres_proxy.heal()

    def _kafka_link_cut(self):
        self.kafka_proxy.cut()
        yield

    def _kafka_link_delay(self, delay):
        self.kafka_proxy.delay = delay
        yield
        self.kafka_proxy.heal()

    def _kafka_link_blackhole(self):
        self.kafka_proxy.blackhole()
        yield
        self.kafka_proxy.heal()

    def _kafka_link_hold_end_txn(self):
        yield from self._held(cut=True)

    def _kafka_link_late_end_txn(self):
        yield from self._held(cut=False)

    def _held(self, cut):
        held = self.kafka_proxy.hold_next("end_txn", cut=cut)
        with contextlib.suppress(TimeoutError):
            held.wait(3)
        yield
        if held.caught.is_set():
            held.release(timeout=3)
        self.kafka_proxy.heal()

    def _kafka_link_unanswered_end_txn(self):
        cut = self.kafka_proxy.cut_after("end_txn")
        with contextlib.suppress(TimeoutError):
            cut.wait(3)
        yield
        self.kafka_proxy.heal()
