"""One test's world: a database, an instance name of its own, topics that nobody else writes to, and a config file."""
import copy
import json
import re
import time
import uuid

from . import system, walferry

_ID = re.compile(r"(?:^|,)id=([^,]*)")  # in kcat's form of headers

OUTBOX_SQL = """
create table {table} (
  id            uuid primary key default gen_random_uuid(),
  aggregatetype text not null,
  aggregateid   text not null,
  type          text not null,
  payload       jsonb
);
"""


class Shop:
    """config is a dict; change it, then write_config(). Everything about topics is derived from name."""

    def __init__(self, postgres, kafka, name=None, db=None, pg_port=None, brokers=None, decoder="pgoutput",
                 create_table=True):
        """pg_port and brokers: a proxy's, where the relay should go through one."""
        self.postgres, self.kafka, self.decoder = postgres, kafka, decoder
        self.name = name or "shop" + uuid.uuid4().hex[:10]
        self.db = db or self.name
        self.slot = f"walferry_{self.name}"
        self.publication = f"walferry_{self.name}"
        self.quarantine_topic = f"{self.name}.quarantine"
        self.dir = system.temp_dir("shop")
        self.runs = []
        self.config = {
            "name": self.name,
            "postgres": {"conninfo": postgres.conninfo(self.db, port=pg_port), "slot": self.slot,
                         "publication": self.publication, "decoder": decoder, "create": True},
            "kafka": {"brokers": brokers or kafka.brokers,
                      "topics": {"create": True, "partitions": 3, "replication": 1}},
            "relay": {"tables": [{"table": "public.outbox",
                                  "columns": {"key": "aggregateid", "aggregate": "aggregatetype"}}],
                      "messages": ["walferry"], "envelope": "standard",
                      "routes": [{"type": "*", "topic": self.name + ".${aggregate}.events.v1"}],
                      "on_invalid": "quarantine", "quarantine_topic": self.quarantine_topic},
        }
        if db is None:
            postgres.psql(f'create database "{self.db}"')
        if create_table:
            self.create_table()

    # Config

    @property
    def config_path(self):
        return self.dir / "walferry.yaml"

    def write_config(self, config=None, name="walferry.yaml"):
        path = self.dir / name
        system.write_file(path, yaml(config or self.config))
        return path

    def changed(self, **sections):
        """A deep copy of the config with sections merged in: changed(relay={"on_invalid": "stop"})."""
        config = copy.deepcopy(self.config)
        for section, values in sections.items():
            if isinstance(values, dict):
                config.setdefault(section, {}).update(values)
            else:
                config[section] = values
        return config

    # Walferry

    def start(self, command="relay", *args, config=None, **kwargs):
        """Starts walferry COMMAND CONFIG ARGS; ended by close() if the test does not. kwargs: failpoint, env, ..."""
        path = self.write_config() if config is None else self.write_config(config, f"run{len(self.runs)}.yaml")
        run = walferry.Walferry(command, path, *args, **kwargs)
        self.runs.append(run)
        return run

    def relay(self, *args, wait=True, timeout=30, **kwargs):
        """Starts the relay and waits until it streams."""
        run = self.start("relay", *args, **kwargs)
        if wait:
            run.wait_streaming(timeout)
        return run

    def run(self, command="relay", *args, timeout=120, **kwargs):
        """Runs to the end."""
        run = self.start(command, *args, **kwargs)
        run.wait(timeout)
        return run

    def init(self, *args, **kwargs):
        return self.run("init", *args, **kwargs).expect_exit(0)

    def drain(self, timeout=120, **kwargs):
        """relay --until now: everything committed so far is in Kafka and acked."""
        run = self.run("relay", "--until", "now", timeout=timeout, **kwargs).expect_exit(0)
        self.wait_markers()
        return run

    def wait_markers(self, timeout=5):
        """A commit returns before its markers are in all partitions; only then does a read_committed reader see it. Bounded:
        somebody else's transaction may stay open."""
        def settled(topic):
            return self.kafka.end_offsets(topic) == self.kafka.end_offsets(topic, committed=True)
        deadline = time.monotonic() + timeout
        for topic in [t for t in self.kafka.topics() if t.startswith(self.name + ".")]:
            while not settled(topic) and time.monotonic() < deadline:
                time.sleep(0.02)

    # The database

    def psql(self, sql, **kwargs):
        return self.postgres.psql(sql, self.db, **kwargs)

    def query(self, sql, **kwargs):
        return self.postgres.query(sql, self.db, **kwargs)

    def session(self):
        return self.postgres.session(self.db)

    def create_table(self, table="public.outbox"):
        self.psql(OUTBOX_SQL.format(table=table))

    def insert(self, count=1, aggregate="orders", type="OrderPlaced", key=None, payload=None, table="public.outbox",
               rollback=False):
        """One transaction of count events; returns their ids. Keys: `key`, or k0..k9 in turn."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        rows = ",\n".join(
            f"('{id}', {quote(aggregate)}, {quote(key if key is not None else f'k{n % 10}')}, {quote(type)}, "
            f"{quote(json.dumps(payload if payload is not None else {'n': n}))})" for n, id in enumerate(ids))
        self.psql(f"begin; insert into {table} (id, aggregatetype, aggregateid, type, payload) values {rows};"
                  f"{'rollback' if rollback else 'commit'};")
        return ids

    def insert_many(self, count, aggregate="orders", keys=10, payload_bytes=0, table="public.outbox"):
        """One large transaction, made by the server."""
        payload = "jsonb_build_object('n', n" + (f", 'fill', repeat('x', {payload_bytes})" if payload_bytes else "") + ")"
        self.psql(f"insert into {table} (aggregatetype, aggregateid, type, payload) "
                  f"select {quote(aggregate)}, 'k' || n % {keys}, 'OrderPlaced', {payload} "
                  f"from generate_series(1, {count}) n", timeout=600)

    def outbox_ids(self, table="public.outbox"):
        return set(self.psql(f"select id from {table}").split())

    def confirmed_flush(self):
        return self.postgres.confirmed_flush(self.slot)

    # The topics

    def topic(self, aggregate="orders"):
        return f"{self.name}.{aggregate}.events.v1"

    def events(self, aggregate="orders", topic=None, isolation="read_committed"):
        """Committed records of the aggregate's topic (or any), each with `event`: its payload as JSON, where it is."""
        records = self.kafka.consume(topic or self.topic(aggregate), isolation)
        for record in records:
            try:
                record["event"] = json.loads(record["payload"]) if record["payload"] is not None else None
            except ValueError:
                record["event"] = None
        return records

    def event_topics(self):
        """The topics of this instance that exist, without position, quarantine and dead letters."""
        return sorted(t for t in self.kafka.topics()
                      if t.startswith(self.name + ".") and t != self.quarantine_topic and not t.endswith(".dlq"))

    def record_ids(self, isolation="read_committed"):
        """The `id` headers of all events of all topics of the instance, in no order, repeats included."""
        return [_ID.search(line)[1] for topic in self.event_topics()
                for line in self.kafka.consume_format(topic, "%h", isolation)]

    def quarantined(self):
        return self.events(topic=self.quarantine_topic)

    def position(self):
        return self.kafka.position(self.name)

    def assert_exactly_once(self, wanted=None):
        """Every committed outbox row (or the wanted ids) is one record, and there is no other."""
        wanted = set(wanted) if wanted is not None else self.outbox_ids()
        found = self.record_ids()
        missing, extra = wanted - set(found), set(found) - wanted
        repeated = len(found) - len(set(found))
        assert not missing and not extra and not repeated, (
            f"{len(wanted)} committed, {len(found)} records: {len(missing)} lost {sorted(missing)[:3]}, "
            f"{repeated} repeated, {len(extra)} that were never committed {sorted(extra)[:3]}")

    def close(self):
        for run in self.runs:
            run.close()
        if self.postgres.running:
            self.postgres.drop_database(self.db)
        system.remove_dir(self.dir)


def quote(text):
    return "'" + str(text).replace("'", "''") + "'"


def yaml(value, indent=0):
    """Block YAML of dicts, lists and scalars; strings are always quoted."""
    pad = "  " * indent
    text = ""
    for key, item in value.items() if isinstance(value, dict) else [(None, item) for item in value]:
        head = f"{pad}-" if key is None else f"{pad}{key}:"
        if not isinstance(item, (dict, list)) or not item:
            text += f"{head} {json.dumps(item, ensure_ascii=False)}\n"
        elif key is None:
            text += f"{head} {yaml(item, indent + 1).lstrip()}"
        else:
            text += f"{head}\n{yaml(item, indent + 1)}"
    return text
