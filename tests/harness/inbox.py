"""A world for the inbox: a database with handlers, a topic that nobody else writes to, and a config file."""
import copy
import json
import uuid

from . import system, walferry
from .shop import yaml

HANDLERS_SQL = """
create schema app;
create table app.seen (n bigint generated always as identity, id text, type text, key text, payload jsonb);
create function app.on_event(e jsonb) returns void language plpgsql as $$
begin
  insert into app.seen (id, type, key, payload)
  values (e->>'id', e->>'type', e->'metadata'->>'partition_key', e->'payload');
end $$;
"""


class Inbox:
    """config is a dict; change it, then start(). The handler app.on_event notes in app.seen what it was called with."""

    def __init__(self, postgres, kafka, partitions=3, sql=HANDLERS_SQL, pg_port=None, brokers=None, init=True):
        self.postgres, self.kafka = postgres, kafka
        self.name = "inbox" + uuid.uuid4().hex[:10]
        self.db = self.topic = self.group = self.name
        self.dir = system.temp_dir("inbox")
        self.runs = []
        self.config = {
            "name": self.name,
            "postgres": {"conninfo": postgres.conninfo(self.db, port=pg_port)},
            "kafka": {"brokers": brokers or kafka.brokers, "properties": ["session.timeout.ms=6000"]},
            "inbox": {"group": self.group, "topics": [self.topic],
                      "handlers": [{"type": "*", "call": "app.on_event"}],
                      "retry": {"max_attempts": 3, "backoff_ms": 20, "backoff_max_ms": 100}, "timeout_ms": 5000},
        }
        postgres.psql(f'create database "{self.db}"')
        if sql:
            self.psql(sql)
        if partitions:
            kafka.create_topic(self.topic, partitions)
        if init:
            walferry.run("init", self.write_config(self.config, "init.yaml")).expect_exit(0)

    def write_config(self, config, name):
        path = self.dir / name
        system.write_file(path, yaml(config))
        return path

    def changed(self, **values):
        """A deep copy of the config with keys of the inbox section replaced."""
        config = copy.deepcopy(self.config)
        config["inbox"].update(values)
        return config

    def start(self, *args, config=None, command="inbox", **kwargs):
        """Starts walferry inbox; ended by close() if the test does not."""
        path = self.write_config(config or self.config, f"run{len(self.runs)}.yaml")
        run = walferry.Walferry(command, path, *args, **kwargs)
        self.runs.append(run)
        return run

    def drain(self, code=0, config=None, timeout=60, **kwargs):
        """walferry inbox --until-end."""
        return self.start("--until-end", config=config, **kwargs).expect_exit(code, timeout)

    def psql(self, sql):
        return self.postgres.psql(sql, self.db)

    def query(self, sql):
        return self.postgres.query(sql, self.db)

    def produce(self, *events, key="k", type="Happened", headers=None, partition=None, topic=None):
        """Each event is a payload, or a dict with id and payload: an envelope of the layout `standard`; kcat sends them in
        one go. Returns their ids."""
        ids = []
        lines = []
        for event in events:
            event = event if isinstance(event, dict) and "payload" in event else {"payload": event}
            envelope = {"id": uuid.uuid4().hex, "type": type, "occurred_at": "2026-11-21T10:00:00Z", "source": "test",
                        "metadata": {"partition_key": key}} | event
            ids.append(envelope["id"])
            lines.append(json.dumps(envelope))
        self.kafka.produce_lines(topic or self.topic, lines, key=key, headers=headers, partition=partition)
        return ids

    def seen(self):
        """(id, key, payload) of each call of app.on_event, in order of the calls."""
        return [(r["id"], r["key"], r["payload"]) for r in self.query("select * from app.seen order by n")]

    def seen_ids(self):
        return [i for i, _, _ in self.seen()]

    def letters(self):
        return self.query("select * from walferry.inbox_dead_letters order by id")

    def offsets(self):
        """partition -> next_offset"""
        return {r["partition"]: r["next_offset"] for r in self.query("select * from walferry.inbox_offsets")}

    def close(self):
        for run in self.runs:
            run.close()
        if self.postgres.running:
            self.postgres.drop_database(self.db)
        system.remove_dir(self.dir)
