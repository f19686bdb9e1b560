"""A throw-away broker for tests. The set-up itself is scripts/lib/kafka.sh; records are read and written through kcat."""
import json
import shlex
import signal
import subprocess

from . import system, wire
from .proxy import KafkaProxy


class Kafka(system.Server):
    """`brokers` is for everybody. Clients of `proxy_brokers` go through `proxy`, and stay on it, since that listener
    advertises the proxy's port."""

    library = "kafka"
    exec_function = "kafka_exec"

    def __init__(self, settings=None, format_arguments=()):
        """settings: more lines for server.properties; format_arguments: more of StorageTool's."""
        super().__init__("kafka")
        self.port, self.behind_proxy_port, controller = system.free_ports(3)
        self.proxy = KafkaProxy(self.behind_proxy_port)
        subprocess.run(system.shell_library(
            "kafka", f"kafka_prepare '{self.dir}' {self.port} {self.behind_proxy_port} {controller} {self.proxy.port} "
            + shlex.join(format_arguments)), check=True)
        self.configure(settings or {})

    def configure(self, settings):
        """Appends to server.properties; takes effect with the next start."""
        with open(self.dir / "server.properties", "a") as properties:
            for key, value in settings.items():
                properties.write(f"{key}={value}\n")

    @property
    def brokers(self):
        return f"127.0.0.1:{self.port}"

    @property
    def proxy_brokers(self):
        return f"127.0.0.1:{self.proxy.port}"

    def answers(self):
        try:
            brokers, _, _ = wire.metadata(self.port, timeout=3)
            return bool(brokers)
        except (OSError, wire.KafkaError):
            return False

    def stop(self, timeout=60):
        self.sigcont()
        self._signal(signal.SIGTERM)
        self._wait_gone(timeout)

    def restart(self):
        self.stop()
        return self.start()

    def destroy(self):
        self.proxy.close()
        super().destroy()

    def tool(self, java_class, *arguments, timeout=60):
        """Runs one of Kafka's own tools, which takes about two seconds; returns what it prints."""
        done = subprocess.run(system.shell_library("kafka", f"kafka_java '{self.dir}' {shlex.join([java_class, *arguments])}"),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"{java_class}: {done.stdout.strip()}\n{done.stderr.strip()}")
        return done.stdout

    # Topics

    def topics(self):
        """{name: partition count}, internal ones included."""
        return wire.metadata(self.port)[1]

    def create_topic(self, name, partitions=1, **config):
        """Config keys with underscores for dots: create_topic("t", 3, cleanup_policy="compact")."""
        wire.create_topic(self.port, name, partitions, {k.replace("_", "."): v for k, v in config.items()})
        system.wait_for(lambda: self.topics().get(name) == partitions, 15, f"topic {name} created")

    def delete_topic(self, name):
        wire.delete_topic(self.port, name)
        system.wait_for(lambda: name not in self.topics(), 15, f"topic {name} deleted")

    def add_partitions(self, name, total):
        wire.create_partitions(self.port, name, total)
        system.wait_for(lambda: self.topics().get(name) == total, 15, f"topic {name} at {total} partitions")

    def topic_config(self, name):
        return wire.describe_config(self.port, name)

    def set_topic_config(self, name, **config):
        wire.alter_config(self.port, name, {k.replace("_", "."): v for k, v in config.items()})

    def end_offsets(self, topic, committed=False):
        """{partition: offset}. Counts transaction markers too. committed: the last stable offset, which an open
        transaction holds back."""
        return wire.offsets(self.port, topic, self.topics()[topic], committed=committed)

    def delete_records(self, topic, before=None):
        """Truncates: all records, or those below {partition: offset}."""
        wire.delete_records(self.port, topic, before or {p: -1 for p in range(self.topics()[topic])})

    # Records

    def consume(self, topic, isolation="read_committed", timeout=120):
        """All records of a topic, oldest first in each partition: dicts with topic, partition, offset, ts (ms), key,
        payload (text or None) and headers (dict of text; the last of a repeated name). [] when there is no such topic."""
        return [_record(json.loads(line)) for line in self._kcat(topic, ["-J"], isolation, timeout)]

    def first_record(self, topic, timeout=30):
        """One that no other of its partition comes before, as consume has it."""
        return _record(json.loads(self._kcat(topic, ["-J", "-c", "1"], "read_committed", timeout)[0]))

    def consume_format(self, topic, fmt, isolation="read_committed", timeout=300):
        """Lines of kcat's own format (%k key, %s payload, %h headers, %p partition, %o offset): for very many records."""
        return self._kcat(topic, ["-f", fmt + "\n"], isolation, timeout)

    def consume_group(self, topic, group, timeout=60):
        """The values that a member of the group gets, from the group's committed offsets to the end."""
        done = subprocess.run(["kcat", "-b", self.brokers, "-q", "-e", "-X", "auto.offset.reset=earliest", "-G", group, topic],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True)
        return done.stdout.decode().splitlines()

    def consume_bytes(self, topic, isolation="read_committed", timeout=120):
        """All committed records with key and value as bytes, None where there is none: dicts with partition, key, value,
        headers (as consume has them; their values hold no commas and no line breaks) and raw_headers, as kcat writes them:
        name=value,name=value with NULL for none."""
        output = self._run_kcat(topic, ["-f", "%p %K %S\\n%k%s%h\\n"], isolation, timeout)
        records = []
        while output:
            sizes, _, output = output.partition(b"\n")
            partition, key_size, value_size = map(int, sizes.split())
            key, output = _take(output, key_size)
            value, output = _take(output, value_size)
            headers, _, output = output.partition(b"\n")
            records.append({"partition": partition, "key": key, "value": value, "raw_headers": headers,
                            "headers": dict(h.split("=", 1) for h in headers.decode(errors="replace").split(",") if h)})
        return records

    def _kcat(self, topic, output, isolation, timeout):
        # Not splitlines(): a payload may hold U+2028, which kcat's JSON leaves as it is.
        return self._run_kcat(topic, output, isolation, timeout).decode("utf-8", errors="replace").split("\n")[:-1]

    def _run_kcat(self, topic, output, isolation, timeout):
        if topic not in self.topics():
            return b""
        done = subprocess.run(
            ["kcat", "-b", self.brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-u", *output,
             "-X", f"isolation.level={isolation}", "-X", "check.crcs=true", "-X", "fetch.wait.max.ms=50",
             "-X", "topic.metadata.refresh.interval.ms=60000"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"kcat -t {topic}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def produce(self, topic, payload, key=None, headers=None, partition=None, count=1):
        """One record from outside (no transaction), or count of them; payload None is a tombstone."""
        self.produce_lines(topic, [payload] * count, key, headers, partition)

    def produce_lines(self, topic, payloads, key=None, headers=None, partition=None):
        """Several records, in this order."""
        command = ["kcat", "-b", self.brokers, "-P", "-t", topic, "-D", "\x01"]
        if key is not None:
            command += ["-K", "\x02"]
        if None in payloads:
            command += ["-Z"]
        if partition is not None:
            command += ["-p", str(partition)]
        for name, value in (headers or {}).items():
            command += ["-H", f"{name}={value}"]
        text = "\x01".join((f"{key}\x02" if key is not None else "") + (payload or "") for payload in payloads)
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=30)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())

    def position(self, instance):
        """The committed position of a walferry instance as a dict, or None."""
        records = [r for r in self.consume(f"walferry.position.{instance}") if r["key"] == "current"]
        return json.loads(records[-1]["payload"]) if records and records[-1]["payload"] else None


def _take(data, size):
    """The first size bytes and the rest; None for a size of -1, which is how kcat says NULL."""
    return (None, data) if size < 0 else (data[:size], data[size:])


def _record(raw):
    flat = raw.get("headers") or []
    return {"topic": raw["topic"], "partition": raw["partition"], "offset": raw["offset"], "ts": raw["ts"],
            "key": raw["key"], "payload": raw["payload"], "headers": dict(zip(flat[::2], flat[1::2]))}
