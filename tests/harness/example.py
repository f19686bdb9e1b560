"""One of the worlds in config/examples/: its files as they stand there, its ports and decoder from the environment."""
import json

from . import system, walferry

EXAMPLES = system.ROOT / "config" / "examples"


class Example:
    """The servers' database, roles and topics of this name are the example's alone, and are gone after close()."""

    def __init__(self, name, postgres, kafka, decoder, set_up=True):
        self.name, self.postgres, self.kafka = name, postgres, kafka
        self.path = EXAMPLES / name / f"{name}.yaml"
        self.env = {"PGHOST": "127.0.0.1", "PGPORT": postgres.port, "KAFKA_BROKERS": kafka.brokers, "DECODER": decoder}
        self.topics_before = set(kafka.topics())
        self.runs = []
        if set_up:
            self.set_up()

    def set_up(self):
        self.postgres.psql(f"create database {self.name}")
        self.run("init", "--admin", self.postgres.conninfo(self.name)).expect_exit(0)
        for file in ("schema.sql", "handlers.sql", "handlers.sql"):  # the handlers can be replaced at any time
            self.psql((self.path.parent / file).read_text())

    def run(self, command, *args, **kwargs):
        self.runs.append(walferry.Walferry(command, self.path, *args, env=self.env, **kwargs))
        return self.runs[-1]

    def relay(self):
        run = self.run("relay")
        run.wait_streaming()
        return run

    def inbox(self, **kwargs):
        return self.run("inbox", **kwargs)

    def psql(self, sql):
        return self.postgres.psql(sql, self.name)

    def query(self, sql):
        return self.postgres.query(sql, self.name)

    def rows(self, sql):
        return [tuple(row.values()) for row in self.query(sql)]

    def settle(self):
        """Until every event that was emitted is published, every record is handled, and nothing more comes of it."""
        def counts():
            records = sum(len(self.kafka.consume(topic)) for topic in self.event_topics())
            return self.psql("select count(*) from outbox"), records
        last = None
        while last != counts():
            last = counts()
            self.run("relay", "--until", "now").expect_exit(0)
            self.run("inbox", "--until-end").expect_exit(0, 90)

    def event_topics(self):
        return [t for t in set(self.kafka.topics()) - self.topics_before
                if not t.startswith("walferry.position.") and not t.startswith("__") and not t.endswith(".quarantine")]

    def records(self, topic):
        records = self.kafka.consume(topic)
        for record in records:
            record["event"] = json.loads(record["payload"])
        return records

    def send_again(self, topic):
        """Each record of the topic once more, as it is: what a producer that repeats does."""
        for record in self.kafka.consume(topic):
            self.kafka.produce(topic, record["payload"], record["key"], record["headers"], record["partition"])

    def letters(self):
        return self.query("select * from walferry.inbox_dead_letters order by id")

    def close(self):
        for run in self.runs:
            run.close()
        self.postgres.drop_database(self.name)
        self.postgres.psql("drop role if exists walferry")
        for topic in set(self.kafka.topics()) - self.topics_before:
            if not topic.startswith("__"):
                self.kafka.delete_topic(topic)
