"""Who is compared. All have the same interface, and read copies of one slot of an Outbox (outbox.py):

    missing(name)                why a contestant cannot take part, or None
    run = enter(name, outbox)    before rows are written: slot, topic, what it stores. Made anew for each repetition
    run.start(until=None)        a Process, started; until: an LSN behind which it ends by itself, where it can
    run.process, run.slot        the last one started; where it reads
    run.topic                    where its records go; None where nothing goes anywhere
    run.wait_streaming()         until it has asked the server for changes
    run.started_ms()             when that was, by the server's log
    run.leave()                  whatever state it is in: gone, with its slot and topic
"""
import functools
import os
import shlex
import subprocess
from pathlib import Path

from harness import debezium, system
from harness.postgres import bindir
from harness.shop import Shop
from harness.walferry import binary

from .outbox import PLUGINS, PUBLICATION
from .process import Process

NAMES = ("walferry-pgoutput", "walferry-wal2json", "recvlogical-pgoutput", "recvlogical-wal2json", "debezium",
         "debezium-1ms", "producer", "producer-eager")
INBOX_NAMES = ("walferry-inbox", "pgbench", "pipeline", "consumer")  # of inbox.py, which is about another way
PARTITIONS = 3


@functools.lru_cache
def plugin_options(plugin):
    """[(name, value)]: what walferry asks the plugin for; pg_recvlogical asks the same, so that the server does as much."""
    tool = Path(binary()).parent / "tests" / "decode"
    lines = subprocess.run([tool, plugin, "--options", PUBLICATION], capture_output=True, text=True, check=True).stdout
    words = lines.split()
    return list(zip(words[::2], words[1::2]))


class Run:
    """What all have in common. make_topic: where records get the broker's time when they are appended."""

    plugin = None
    writes = True

    def __init__(self, name, outbox):
        self.contestant, self.outbox, self.bench = name, outbox, outbox.bench
        self.slot = outbox.run_name(name)
        self.process = None
        self.topic = f"{self.slot}.events" if self.writes else None
        self.log_path = self.bench.dir / f"{self.slot}.log"
        self._starts = 0
        outbox.copy_slot(self.plugin, self.slot)
        if self.topic:
            self.make_topic()

    def make_topic(self):
        self.outbox.kafka.create_topic(self.topic, PARTITIONS, message_timestamp_type="LogAppendTime")

    def command(self, until):
        raise NotImplementedError

    def start(self, until=None, **kwargs):
        self._starts = len(self.outbox.started_ms(self.slot))
        self.process = Process(self.command(until), self.log_path, **kwargs)
        return self.process

    def wait_streaming(self, timeout=60):
        def started():
            if not self.process.running():
                raise RuntimeError(f"{self.contestant} ended\n{system.tail(self.log_path)}")
            return len(self.outbox.started_ms(self.slot)) > self._starts
        system.wait_for(started, timeout, f"{self.contestant} streaming")

    def started_ms(self):
        """Of the last start: one time, or several where it began anew meanwhile."""
        return self.outbox.started_ms(self.slot)[self._starts:]

    def leave(self):
        if self.process and self.process.usage is None:
            self.process.kill9()
        self.outbox.postgres.drop_slot(self.slot)
        if self.topic:
            self.outbox.kafka.delete_topic(self.topic)


class Recvlogical(Run):
    """pg_recvlogical, which throws away what it gets: as fast as a slot can be read."""

    writes = False

    def __init__(self, name, outbox):
        self.plugin = name.split("-")[1]
        super().__init__(name, outbox)

    def command(self, until):
        options = [word for name, value in plugin_options(self.plugin) for word in ("-o", f"{name}={value}")]
        return [bindir() / "pg_recvlogical", "-d", self.outbox.postgres.conninfo(self.outbox.db), "-S", self.slot,
                "--start", "--no-loop", "-f", "/dev/null", *options, *(["--endpos", until] if until else [])]


class Walferry(Run):
    """With a position in Kafka, so that each start is a restart."""

    def __init__(self, name, outbox, properties=(), message_bytes=None, partitions=PARTITIONS):
        """properties: more of kafka.properties. message_bytes: the topic's limit."""
        self.plugin = name.split("-")[1]
        self._message_bytes, self._partitions = message_bytes, partitions
        super().__init__(name, outbox)
        self.shop = shop = Shop(outbox.postgres, outbox.kafka, self.slot, db=outbox.db, decoder=self.plugin,
                                create_table=False)
        shop.config["postgres"] |= {"slot": self.slot, "publication": PUBLICATION}
        shop.config["kafka"]["properties"] = list(properties)
        if not properties:
            del shop.config["kafka"]["properties"]
        shop.config["relay"]["routes"] = [{"type": "*", "topic": self.topic}]
        self.instance = shop.name
        self.position_topic = f"walferry.position.{shop.name}"
        here = outbox.postgres.slot(self.slot)["confirmed_flush_lsn"]
        usage = Process([*self.command(here), "--adopt-slot"], self.log_path).wait(60)
        if usage.exit_code != 0:
            raise RuntimeError(f"{name} does not start: exit code {usage.exit_code}\n{system.tail(self.log_path)}")

    def make_topic(self):
        limit = {"max_message_bytes": self._message_bytes} if self._message_bytes else {}
        self.outbox.kafka.create_topic(self.topic, self._partitions, message_timestamp_type="LogAppendTime", **limit)

    def command(self, until):
        config = self.shop.write_config()
        return [binary(), "relay", config, "--log-format", "json", *(["--until", until] if until else [])]

    def leave(self):
        super().leave()
        self.outbox.kafka.delete_topic(self.position_topic)
        system.remove_dir(self.shop.dir)


class Debezium(Run):
    """Debezium Server with the outbox event router and its defaults; with NAME-1ms it looks for changes every ms."""

    plugin = "pgoutput"
    # What the harness sets for tests, back to the server's defaults.
    DEFAULTS = {"source.offset.flush.interval.ms": None, "source.heartbeat.interval.ms": None,
                "source.poll.interval.ms": None, "source.slot.retry.delay.ms": None}

    def __init__(self, name, outbox):
        super().__init__(name, outbox)
        debezium.fetch()
        self.runs = []  # of a Shop, which this stands for
        self.postgres, self.kafka, self.db = outbox.postgres, outbox.kafka, outbox.db
        settings = self.DEFAULTS | {
            "source.publication.name": PUBLICATION, "source.publication.autocreate.mode": "disabled",
            "transforms.outbox.route.topic.replacement": self.topic}
        if name.endswith("-1ms"):
            settings |= {"source.poll.interval.ms": 1}
        self._server = debezium.Debezium(self, self.slot, settings=settings)

    def command(self, until):
        return system.shell_library("debezium", f"debezium_exec {shlex.quote(str(self._server.dir))}")

    def leave(self):
        super().leave()
        self.outbox.kafka.delete_topic(self._server.heartbeat_topic)
        self._server.destroy()


CLASSES = {"walferry": Walferry, "recvlogical": Recvlogical, "debezium": Debezium}


@functools.lru_cache
def missing(name):
    if name.startswith("debezium"):
        if subprocess.run(system.shell_library("debezium", "debezium_java_fetch"), stdin=subprocess.DEVNULL,
                          capture_output=True).returncode != 0:
            return debezium.MISSING
        os.environ["WALFERRY_JAVA21"] = debezium.java()  # found once: a start does not look for it again
        try:
            debezium.fetch()
        except subprocess.SubprocessError as e:
            return f"Debezium Server could not be fetched: {e}"
    return None


def enter(name, outbox, **kwargs):
    return CLASSES[name.split("-")[0]](name, outbox, **kwargs)


def anchor(name):
    """The contestant that reads with the same plugin and throws everything away, or None."""
    plugin = name.partition("-")[2]
    return f"recvlogical-{plugin}" if plugin in PLUGINS else None
