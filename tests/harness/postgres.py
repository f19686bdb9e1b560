"""A throw-away Postgres for tests, and sessions on it through the psql binary. The set-up itself is scripts/lib/postgres.sh."""
import functools
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import system


class SqlError(Exception):
    """psql failed; the text is the server's."""


@functools.lru_cache
def bindir():
    """Where the server's own programs are. Those of /usr/bin are Debian's wrappers, in Perl."""
    done = subprocess.run(system.shell_library("postgres", "postgres_bindir"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


class Postgres(system.Server):
    library = "postgres"
    exec_function = "postgres_exec"

    def __init__(self, settings=None, version=None, data=None):
        """settings: more lines for postgresql.conf, as a dict. version: the major version, else what the environment says.
        data: the data folder of a stopped server of that version, to begin with a copy of it."""
        super().__init__("postgres")
        self.port, = system.free_ports(1)
        self.version = version
        chosen = f"WALFERRY_PG_VERSION={version} " if version else ""
        make = f"postgres_place '{self.dir}' {self.port} '{data}'" if data else f"postgres_prepare '{self.dir}' {self.port}"
        subprocess.run(system.shell_library("postgres", chosen + make), check=True)
        self.configure(settings or {})

    @property
    def data(self):
        return self.dir / "data"

    def program(self, name):
        """The path of one of the server's own programs. A fetched server has initdb, pg_ctl and postgres alone."""
        return Path((self.dir / "bindir").read_text().strip()) / name

    def configure(self, settings):
        """Appends to postgresql.conf; takes effect with reload() or the next start."""
        with open(self.data / "postgresql.conf", "a") as conf:
            for key, value in settings.items():
                conf.write(f"{key} = '{value}'\n")

    def reload(self):
        self._signal(signal.SIGHUP)

    def answers(self):
        return subprocess.run(["psql", "-XAtqc", "select 1", self.conninfo("postgres")], stdin=subprocess.DEVNULL,
                              capture_output=True, env=_environment(timeout=5)).returncode == 0

    # Life and death

    def stop(self, mode="fast", timeout=60):
        """smart: wait for clients; fast: end sessions, wait for walsenders; immediate: like a crash."""
        self.sigcont()
        self._signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
        self._wait_gone(timeout)

    def kill9(self):
        """Postmaster and every backend at once, like an OOM kill of the whole container."""
        if not self.running:
            return
        os.kill(self.pid, signal.SIGSTOP)  # no backend is started in between
        children = self.children()
        for pid in children:
            _kill(pid, signal.SIGKILL)
        super().kill9()
        system.wait_for(lambda: not any(map(system.alive, children)), 10, "backends gone")

    def children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
            return [int(pid) for pid in f.read().split()]

    def sigstop(self):
        """Freezes postmaster and backends."""
        if self.running:
            self._signal(signal.SIGSTOP)
            for pid in self.children():
                _kill(pid, signal.SIGSTOP)

    def sigcont(self):
        if self.running:
            for pid in self.children():
                _kill(pid, signal.SIGCONT)
            self._signal(signal.SIGCONT)

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def copy_data(self, name="image"):
        """A copy of the data folder beside it, taken while stopped: the disk image of a rollback test."""
        assert not self.running, "stop the server first"
        target = self.dir / name
        subprocess.run(["cp", "-a", str(self.data), str(target)], check=True)
        return target

    def restore_data(self, image):
        """Puts an image of copy_data in the place of the data folder; the image stays usable."""
        assert not self.running, "stop the server first"
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", str(image), str(self.data)], check=True)

    def standby(self, slot, settings=None):
        """A standby of this server, which is stopped here, as a copy with the physical slot of that name; not started.
        It synchronises failover slots, where the version can."""
        if self.running:
            self.value(f"select pg_create_physical_replication_slot('{slot}', true)")
            self.stop()
        other = Postgres(version=self.version, data=self.data, settings={
            "primary_conninfo": self.conninfo() + f" application_name={slot}", "primary_slot_name": slot,
            "hot_standby_feedback": "on", **({"sync_replication_slots": "on"} if self.version else {}), **(settings or {})})
        (other.data / "standby.signal").touch()
        os.chmod(other.data / "standby.signal", 0o666)
        return other

    def promote(self):
        self.value("select pg_promote()")
        system.wait_for(lambda: self.value("select pg_is_in_recovery()") == "f", 30, "promotion")

    # SQL

    def conninfo(self, db="postgres", user="postgres", port=None):
        return f"host=127.0.0.1 port={port or self.port} dbname={db} user={user}"

    def psql(self, sql, db="postgres", user="postgres", timeout=120):
        """Runs SQL (any number of statements, autocommit unless it says BEGIN); returns unaligned rows as text."""
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.conninfo(db, user)], input=sql, text=True,
                              capture_output=True, timeout=timeout, env=_environment())
        if done.returncode != 0:
            raise SqlError(done.stderr.strip() + (f"\nin: {sql}" if len(sql) < 2000 else ""))
        return done.stdout.strip("\n")

    def query(self, sql, db="postgres", **kwargs):
        """The rows of one SELECT as dicts; values as JSON has them (an LSN is text)."""
        text = self.psql(f"select coalesce(json_agg(row_to_json(q)), '[]') from ({sql}) q", db, **kwargs)
        return json.loads(text)

    def value(self, sql, db="postgres", **kwargs):
        """The only value of the only row, as text ('' for NULL)."""
        return self.psql(sql, db, **kwargs)

    def session(self, db="postgres", user="postgres"):
        return Session(self.conninfo(db, user))

    def slot(self, name):
        """The row of pg_replication_slots as a dict, or None."""
        rows = self.query(f"select * from pg_replication_slots where slot_name = '{name}'")
        return rows[0] if rows else None

    def confirmed_flush(self, slot):
        """confirmed_flush_lsn as a number, or None."""
        row = self.slot(slot)
        return lsn_number(row["confirmed_flush_lsn"]) if row and row["confirmed_flush_lsn"] else None

    def flush_lsn(self):
        return lsn_number(self.value("select pg_current_wal_flush_lsn()"))

    def terminate_slot_user(self, slot):
        """Ends the walsender that holds the slot, as an administrator would."""
        return self.value(f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'")

    def drop_slot(self, slot):
        """Ends whoever holds it, then drops it; no complaint when it does not exist."""
        def dropped():
            row = self.slot(slot)
            if row is None:
                return True
            try:
                if row["active_pid"]:
                    self.value(f"select pg_terminate_backend({row['active_pid']})")
                self.value(f"select pg_drop_replication_slot('{slot}')")
            except SqlError:
                return False
            return True
        system.wait_for(dropped, 15, f"drop slot {slot}")

    def drop_database(self, db):
        for row in self.query(f"select slot_name from pg_replication_slots where database = '{db}'"):
            self.drop_slot(row["slot_name"])
        self.psql(f'drop database if exists "{db}" with (force)')


class Session:
    """An open psql session, to hold a transaction open or to run something in the background.

    run(sql) waits for the result, send(sql) does not; wait() waits for everything sent."""

    def __init__(self, conninfo):
        self._process = system.spawn(["psql", "-XAtq", conninfo], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, env=_environment())
        self._lines = queue.Queue()
        self._marks = 0
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self):
        return self._process.pid

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def send(self, sql):
        self._process.stdin.write(sql.rstrip().rstrip(";") + ";\n")
        self._process.stdin.flush()

    def wait(self, timeout=60):
        """Everything printed until all that was sent is done, errors included, as text."""
        self._marks += 1
        mark = f"--done-{self._marks}--"
        self._process.stdin.write(f"\\echo {mark}\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + timeout
        lines = []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"psql: no answer within {timeout} s; so far: {lines}") from None
            if line is None:
                raise SqlError("psql ended: " + "\n".join(lines))
            if line == mark:
                return "\n".join(lines)
            lines.append(line)

    def run(self, sql, timeout=60):
        self.send(sql)
        text = self.wait(timeout)
        if "ERROR:" in text or "FATAL:" in text:
            raise SqlError(text)
        return text

    def close(self):
        if self._process.poll() is None:
            try:
                self._process.stdin.close()
                self._process.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        system.forget(self._process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def lsn_number(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number):
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


@functools.lru_cache
def _environment(timeout=20):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return env | {"PGCONNECT_TIMEOUT": str(timeout), "PGOPTIONS": "-c client_min_messages=warning"}


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
