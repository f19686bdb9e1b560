"""Bench: the servers that all parts share, set up as in production and not as in tests, and what is around them."""
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness import system
from harness.kafka import Kafka
from harness.postgres import Postgres
from harness.walferry import binary

POSTGRES_SETTINGS = {
    "fsync": "on", "shared_buffers": "256MB", "wal_sender_timeout": "60s", "track_commit_timestamp": "on",
    "max_wal_size": "16GB", "checkpoint_timeout": "30min",  # none in the middle of a run: one is made before each
    "autovacuum": "off",  # nor that
    "max_replication_slots": "100", "max_wal_senders": "40",
    "log_replication_commands": "on", "log_line_prefix": "%n [%p] %q%a ",  # %n: seconds since 1970, with ms
}
KAFKA_SETTINGS = {"broker.session.timeout.ms": 9000, "broker.heartbeat.interval.ms": 2000}  # its own defaults
# What Kafka's own scripts start a broker with, and nothing for Debezium Server, whose script says nothing.
JVM = {"WALFERRY_KAFKA_JVM": "-Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35",
       "WALFERRY_DEBEZIUM_JVM": ""}


class Bench:
    """options: what __main__.py parsed. postgres, kafka: running servers of tests/harness."""

    def __init__(self, options):
        self.options = options
        self.postgres = self.kafka = None
        self.measured = {}  # drain.py: what each workload came to
        self._began = time.monotonic()
        os.environ |= JVM

    def __enter__(self):
        self.progress("starting Postgres and Kafka")
        self.dir = system.temp_dir("bench")
        self.postgres = Postgres(POSTGRES_SETTINGS).start()
        self.kafka = Kafka(KAFKA_SETTINGS).start()
        return self

    def __exit__(self, *_):
        servers = [server for server in (self.postgres, self.kafka) if server]
        for server in servers:
            if self.options.keep:
                server.stop()
            else:
                server.destroy()
        if not self.options.keep:
            system.remove_dir(self.dir)
            return
        for kept in (self.dir, *(server.dir for server in servers)):
            system.keep_dir(kept)
            self.progress(f"kept {kept}")

    def progress(self, text):
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", file=sys.stderr, flush=True)

    def program(self, name):
        """The path of a program of this folder: tests/bench/<name>.c is bench_<name>."""
        path = Path(binary()).parent / "tests" / f"bench_{name}"
        if not path.exists():
            raise FileNotFoundError(f"{path}: scripts/build release makes it")
        return path

    def rows(self, share):
        """A workload's size, as a share of the main one's."""
        return max(1000, round(self.options.rows * share / 1000) * 1000)

    def wanted(self, contestant):
        return not self.options.contestants or contestant in self.options.contestants

    def found(self, topic):
        """What a read_committed consumer finds in a topic: the last line of bench_records as a dict."""
        done = subprocess.run([self.program("records"), self.kafka.brokers, topic], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def appended(self, topic, committed=False):
        """Records in all partitions, transaction markers included; committed: only what a read_committed reader gets."""
        return sum(self.kafka.end_offsets(topic, committed).values())

    def stored_bytes(self, topic):
        """In the broker's log, transaction markers included."""
        return sum(path.stat().st_size for path in (self.kafka.dir / "data").glob(f"{topic}-*/*.log"))

    @contextlib.contextmanager
    def follow(self, topic, count):
        """bench_records as a process that waits for count records: prints a line for the first and one in the end, also
        when none came for a minute. Gone when the `with` is left."""
        process = system.spawn([self.program("records"), self.kafka.brokers, topic, str(count)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            with process:
                try:
                    yield process
                finally:
                    process.kill()
        finally:
            system.forget(process)
