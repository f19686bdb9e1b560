"""Processes, ports and temp folders of the tests. Knows nothing of Postgres or Kafka.

Whatever a test process starts is registered with a small reaper process. When the test process ends in any way, SIGKILL
included, the reaper kills what is left, by process id, and removes the temp folders.
"""
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_REAPER = r'''
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
def start_time(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None
pids, dirs = {}, set()
for line in sys.stdin:
    verb, _, rest = line.rstrip("\n").partition(" ")
    if verb == "pid":
        pids[int(rest)] = start_time(int(rest))
    elif verb == "forget":
        pids.pop(int(rest), None)
    elif verb == "dir":
        dirs.add(rest)
    elif verb == "gone":
        dirs.discard(rest)
children = {}
for entry in os.listdir("/proc"):
    if entry.isdigit():
        try:
            parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
def kill(pid):
    for child in children.get(pid, []):
        kill(child)
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
for pid, started in pids.items():
    if started is not None and start_time(pid) == started:
        kill(pid)
for path in dirs:
    shutil.rmtree(path, ignore_errors=True)
'''

_reaper = None
_reaper_lock = threading.Lock()


def _tell_reaper(line):
    global _reaper
    with _reaper_lock:
        if _reaper is None:
            _reaper = subprocess.Popen([sys.executable, "-c", _REAPER], stdin=subprocess.PIPE, text=True,
                                       start_new_session=True)
        try:
            _reaper.stdin.write(line + "\n")
            _reaper.stdin.flush()
        except BrokenPipeError:
            pass


@atexit.register
def _close_reaper():
    if _reaper is not None:
        _reaper.stdin.close()
        _reaper.wait()


def free_ports(count):
    """Free loopback ports below the ephemeral range: no outgoing connection takes one while its server restarts."""
    held = []
    while len(held) < count:
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", random.SystemRandom().randint(15000, 32000)))
            held.append(s)
        except OSError:
            s.close()
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def temp_dir(name):
    """A folder that the postgres user can enter too; the reaper removes it if nobody else does."""
    path = Path(tempfile.mkdtemp(prefix=f"walferry-{name}."))
    path.chmod(0o755)
    _tell_reaper(f"dir {path}")
    return path


def remove_dir(path):
    shutil.rmtree(path, ignore_errors=True)
    _tell_reaper(f"gone {path}")


def write_file(path, text):
    """Puts the whole file in its place at once: a process that is just starting may be reading it."""
    written = path.with_name(f".{path.name}.{threading.get_ident()}")
    written.write_text(text)
    written.replace(path)


def keep_dir(path):
    """Somebody wants to look at it: the reaper leaves it."""
    _tell_reaper(f"gone {path}")


def spawn(command, **kwargs):
    """subprocess.Popen in its own session (a ^C at the terminal reaches the tests only), known to the reaper."""
    process = subprocess.Popen(command, start_new_session=True, **kwargs)
    _tell_reaper(f"pid {process.pid}")
    return process


def forget(process):
    _tell_reaper(f"forget {process.pid}")


def wait_for(condition, timeout=30, what="condition", interval=0.05):
    """Polls until condition() is truthy and returns that value; TimeoutError naming `what` otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(interval)


def alive(pid):
    """False also for a zombie that nobody has reaped yet."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def tail(path, lines=30):
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as e:
        return str(e)


def shell_library(name, command):
    """A bash command line that runs `command` with scripts/lib/<name>.sh loaded."""
    lib = ROOT / "scripts" / "lib"
    return ["bash", "-c", f". '{lib}/common.sh'; . '{lib}/{name}.sh'; {command}"]


class Server:
    """What a Postgres and a broker have in common: one main process, restarted at the same port and folder."""

    library = ""  # scripts/lib/<library>.sh
    exec_function = ""  # the function in it that becomes the server

    def __init__(self, name):
        self.dir = temp_dir(name)
        self.log_path = self.dir / "server.log"
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, timeout=60):
        if self.running:
            return self
        with open(self.log_path, "ab") as log:
            self.process = spawn(shell_library(self.library, f"{self.exec_function} '{self.dir}'"),
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        while not self.answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.library} ended with {self.process.returncode}:\n{tail(self.log_path)}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.library} does not answer within {timeout} s:\n{tail(self.log_path)}")
            time.sleep(0.05)
        return self

    def answers(self):
        raise NotImplementedError

    def _signal(self, number):
        if self.running:
            os.kill(self.process.pid, number)

    def _wait_gone(self, timeout):
        if self.process is None:
            return
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.library} (pid {self.pid}) does not end within {timeout} s") from None
        forget(self.process)

    def ensure_running(self):
        """For the start of a test: whatever the last one did to the server, it runs and answers."""
        self.sigcont()
        return self.start() if not self.running else self

    def sigstop(self):
        self._signal(signal.SIGSTOP)

    def sigcont(self):
        self._signal(signal.SIGCONT)

    def kill9(self):
        self._signal(signal.SIGKILL)
        self._wait_gone(10)

    def destroy(self):
        """Gone for good, with its folder."""
        try:
            self.kill9()
        finally:
            remove_dir(self.dir)
