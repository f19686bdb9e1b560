"""A contestant's process: started, waited for, and what it used. Its log goes to a file: who reads a pipe wants CPU time
of its own, on a machine that has two cores for everybody."""
import dataclasses
import os
import select
import signal
import subprocess
import threading
import time

from harness import system


@dataclasses.dataclass
class Usage:
    exit_code: int  # negative for a signal
    cpu_s: float  # user and system
    peak_kb: int  # of the resident memory
    ended_ms: float  # wall clock


def status_kb(pid, field):
    """VmRSS or VmHWM of a process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith(field + ":")), 0)
    except OSError:
        return 0


class Process:
    """Starts at once. started_ms: wall clock just before the exec."""

    SAMPLE_S = 0.02

    def __init__(self, command, log_path, env=None, sample=None):
        """sample(pid): called now and then while it runs."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | (env or {})
        self.command = [str(word) for word in command]
        self.log_path = log_path
        self._peak_kb = 0
        self._sample = sample
        self.usage = None
        with open(log_path, "ab") as log:
            self.started_ms = time.time() * 1000
            self._process = system.spawn(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=environment)
        self._pidfd = os.pidfd_open(self.pid)
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._watch, daemon=True)
        self._sampler.start()

    @property
    def pid(self):
        return self._process.pid

    def _watch(self):
        """The kernel keeps the peak itself, so that only what came in the last moment can be missed. (ru_maxrss counts
        the memory of the process that started it, too.)"""
        while not self._over.wait(self.SAMPLE_S):
            self._peak_kb = max(self._peak_kb, status_kb(self.pid, "VmHWM"))
            if self._sample:
                self._sample(self.pid)

    def running(self):
        return self.usage is None and system.alive(self.pid)

    def wait(self, timeout):
        """Its Usage; TimeoutError, and it is gone, when it took longer."""
        if self.usage is None:
            gone = select.poll()
            gone.register(self._pidfd, select.POLLIN)
            in_time = gone.poll(timeout * 1000)
            ended_ms = time.time() * 1000
            if not in_time:
                os.kill(self.pid, signal.SIGKILL)
            _, status, rusage = os.wait4(self.pid, 0)
            os.close(self._pidfd)
            self._over.set()
            self._sampler.join()
            self._process.returncode = os.waitstatus_to_exitcode(status)
            system.forget(self._process)
            self.usage = Usage(self._process.returncode, rusage.ru_utime + rusage.ru_stime, self._peak_kb, ended_ms)
            if not in_time:
                raise TimeoutError(f"still running after {timeout:.0f} s: {' '.join(self.command)}\n"
                                   + system.tail(self.log_path))
        return self.usage

    def signal(self, number):
        if self.usage is None:
            os.kill(self.pid, number)

    def stop(self, timeout=20):
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill9(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)
