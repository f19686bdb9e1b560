"""One run of the walferry binary: start it, wait for what it logs, stop or kill it, look at how it ended."""
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import system


def binary():
    return os.environ.get("WALFERRY_BIN") or str(system.ROOT / "build" / "test" / "walferry")


def tool(name):
    """A program of tests/tools, of the same build."""
    return Path(binary()).parent / "tests" / name


class Walferry:
    """Walferry("relay", config, failpoint="publisher.after_commit=kill") starts at once.

    events: the log as a list of dicts; lines: stderr as it was, sanitizer reports included; stdout: bytes of data so far."""

    def __init__(self, command, *args, failpoint=None, env=None, binary_path=None):
        self.command = [str(binary_path or binary()), command, *map(str, args), "--log-format", "json"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        environment |= {"WALFERRY_FAILPOINT": failpoint} if failpoint else {}
        environment |= {k: str(v) for k, v in (env or {}).items()}
        self.events = []
        self.lines = []
        self.stdout = b""
        self._news = threading.Condition()
        self._ended = False
        self.process = system.spawn(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, env=environment)
        self._readers = [threading.Thread(target=self._read_log, daemon=True),
                         threading.Thread(target=self._read_stdout, daemon=True)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    @property
    def exit_code(self):
        """None while it runs; negative for a signal."""
        return self.process.poll()

    def _read_log(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", errors="replace").rstrip("\n")
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            with self._news:
                self.lines.append(line)
                if isinstance(event, dict) and "event" in event:
                    self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _read_stdout(self):
        while chunk := self.process.stdout.read1(1 << 16):
            self.stdout += chunk

    # What it says

    def mark(self):
        """Where the log is now, for wait_event(after=...)."""
        return len(self.events)

    def find(self, name, /, after=0, **fields):
        """The first such event, or None. A field's wanted value may be a function of the value."""
        for event in self.events[after:]:
            if event["event"] == name and all(_matches(event.get(k), v) for k, v in fields.items()):
                return event
        return None

    def count(self, name, /, after=0, **fields):
        return sum(1 for e in self.events[after:]
                   if e["event"] == name and all(_matches(e.get(k), v) for k, v in fields.items()))

    def wait_event(self, name, /, timeout=30, after=0, **fields):
        """Waits until the event is logged. AssertionError, with the end of the log, when time is over or it ended."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                event = self.find(name, after, **fields)
                if event is not None:
                    return event
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = f"exit code {self.process.wait()}" if self._ended else f"{timeout} s are over"
                    raise AssertionError(f"no event {name} {fields or ''}: {why}\n{self.log_tail()}")
                self._news.wait(left)

    def wait_streaming(self, timeout=30, after=0):
        return self.wait_event("relay.streaming", timeout, after)

    def log_tail(self, lines=40):
        return "\n".join(["$ " + " ".join(self.command), *self.lines[-lines:]])

    @property
    def refusal(self):
        """The relay.refused event, or None; its `code` says which."""
        return self.refusal_of("relay")

    def refusal_of(self, command):
        return self.find(f"{command}.refused")

    # How it ends

    def wait(self, timeout=60):
        """Its exit code; negative for a signal, as subprocess has it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s\n{self.log_tail()}") from None
        for reader in self._readers:
            reader.join(10)
        system.forget(self.process)
        return code

    def expect_exit(self, code, timeout=60):
        found = self.wait(timeout)
        assert found == code, f"exit code {found}, not {code}\n{self.log_tail()}"
        return self

    def expect_refused(self, code=None, timeout=60):
        """Exit 3 with a relay.refused event, whose code and remedy are there; returns it."""
        self.expect_exit(3, timeout)
        event = self.refusal
        assert event is not None, f"exit 3 without relay.refused\n{self.log_tail()}"
        assert code is None or event.get("code") == code, f"refused with {event}, not {code}"
        return event

    def terminate(self, timeout=20):
        """SIGTERM, as an orderly stop; returns the exit code."""
        self._signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill9(self):
        self._signal(signal.SIGKILL)
        return self.wait(10)

    def sigstop(self):
        self._signal(signal.SIGSTOP)

    def sigcont(self):
        self._signal(signal.SIGCONT)

    def close(self):
        """Whatever state it is in: gone. For the end of a test."""
        if self.running:
            self._signal(signal.SIGKILL)
        self.wait(10)

    def _signal(self, number):
        if self.running:
            os.kill(self.process.pid, number)

    def memory_peak_kb(self):
        """VmHWM of the running process."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(command, *args, timeout=120, **kwargs):
    """Runs to the end and returns the finished Walferry."""
    process = Walferry(command, *args, **kwargs)
    try:
        process.wait(timeout)
    except AssertionError:
        process.close()
        raise
    return process


def _matches(value, wanted):
    return wanted(value) if callable(wanted) else str(value) == str(wanted)
