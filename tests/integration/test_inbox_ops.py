"""The operator's commands for an inbox, alone and beside a relay: `init`, `check`, `status` and `drop` against real servers.
What the inbox has done is written into its tables by hand here, with its own statements where they matter."""
import json

import pytest

from harness import system, wire
from harness.shop import quote
from test_check import Report
from test_inbox_sql import dump
from test_roles_acls import PRINCIPAL, least  # noqa: F401 a fixture

pytestmark = pytest.mark.decoder("pgoutput")  # nothing here is read from the WAL

HANDLERS = """
create schema app;
create function app.on_event(e jsonb) returns void language plpgsql as $$ begin end $$;
"""


class Inbox:
    """A config with an inbox alone, whose role may log in and no more."""

    def __init__(self, shop):
        self.shop, self.kafka, self.name = shop, shop.kafka, shop.name
        self.role, self.topic, self.group = f"reader_{shop.name}", f"{shop.name}.in", f"accounting-{shop.name}"
        del shop.config["relay"]
        shop.config["postgres"] = {"conninfo": shop.postgres.conninfo(shop.db, user=self.role)}
        shop.config["inbox"] = {"group": self.group, "topics": [self.topic],
                                "handlers": [{"type": "Order*", "call": "app.on_event"}, {"type": "Noise", "ignore": True}]}
        self.admin = shop.postgres.conninfo(shop.db)

    def init(self, *args):
        return self.shop.init("--admin", self.admin, *args).stdout.decode()

    def set_up(self, partitions=2):
        """Everything that a start needs."""
        self.init()
        self.shop.psql(HANDLERS + f'grant usage on schema app to "{self.role}"')
        self.kafka.create_topic(self.topic, partitions)
        return self

    def check(self, exit_code=0):
        run = self.shop.run("check", "--json")
        assert run.exit_code == exit_code, f"exit code {run.exit_code}\n{run.stdout.decode()}\n{run.log_tail()}"
        return Report(run)

    def status(self, exit_code=0):
        run = self.shop.run("status", "--json")
        assert run.exit_code == exit_code, f"exit code {run.exit_code}\n{run.stdout.decode()}\n{run.log_tail()}"
        found = json.loads(run.stdout)
        assert found["ok"] == (exit_code == 0)
        return found

    def produce(self, count, partition=0, start=0):
        for n in range(start, start + count):
            self.kafka.produce(self.topic, "{}", key="k", headers={"id": f"e-{n}"}, partition=partition)

    def read_up_to(self, offset, partition=0, cluster=None, record=True):
        """What the inbox stores once it has handled all before offset."""
        found = [r for r in self.kafka.consume(self.topic) if r["partition"] == partition and r["offset"] == offset - 1]
        last = (found[0]["offset"], found[0]["ts"], quote(found[0]["headers"]["id"])) if found and record else ("null",) * 3
        self.shop.psql(f"""
            insert into walferry.inbox_offsets (consumer, topic, partition, next_offset, cluster_id, record_offset,
              record_timestamp, record_id)
            values ({quote(self.group)}, {quote(self.topic)}, {partition}, {offset}, {quote(cluster) if cluster else 'null'},
              {last[0]}, {last[1]}, {last[2]})
            on conflict (consumer, topic, partition) do update set next_offset = excluded.next_offset,
              cluster_id = excluded.cluster_id, record_offset = excluded.record_offset,
              record_timestamp = excluded.record_timestamp, record_id = excluded.record_id""")

    def close(self):
        self.shop.psql(f"""do $$ begin if to_regrole('"{self.role}"') is not null then
                             execute 'drop owned by "{self.role}"; drop role "{self.role}"'; end if; end $$""")


@pytest.fixture
def inbox(make_shop):
    made = Inbox(make_shop(create_table=False))
    yield made
    made.close()


# init


def test_init_of_an_inbox_alone_makes_its_tables_and_nothing_else(inbox):
    topics = inbox.kafka.topics().keys()
    said = inbox.init()
    shop = inbox.shop
    assert "ok  inbox tables and functions\n" in said and f"ok  role {inbox.role}\n" in said
    assert f"--  topic {inbox.topic} (is read" in said and "--  handlers" in said
    assert "slot" not in said and "outbox" not in said and "publication" not in said
    assert shop.query("select 1 from pg_proc where pronamespace = 'walferry'::regnamespace and proname like 'emit%'") == []
    assert shop.query("select 1 from pg_publication") == []
    assert shop.postgres.query(f"select 1 from pg_replication_slots where database = '{shop.db}'") == []
    assert shop.query(f"select rolreplication, rolsuper from pg_roles where rolname = '{inbox.role}'") == [
        {"rolreplication": False, "rolsuper": False}]
    assert not {t for t in inbox.kafka.topics() if shop.name in t} - topics
    before = dump(shop.postgres, shop.db)
    inbox.init()
    assert "left as it was" in shop.init().stdout.decode()  # without rights to make anything: what is there will do
    assert dump(shop.postgres, shop.db) == before


def test_what_is_printed_for_an_inbox_alone_is_enough(inbox):
    printed = inbox.shop.init("--print").stdout.decode()
    assert "emit" not in printed and "slot" not in printed and "REPLICATION" not in printed
    inbox.shop.psql(printed)
    inbox.shop.psql(HANDLERS)
    grants = [line[3:] for line in printed.splitlines() if line.startswith("-- GRANT ")]
    assert len(grants) == 1  # nothing for the ignored type
    inbox.shop.psql("revoke execute on function app.on_event from public;" + grants[0])
    inbox.kafka.create_topic(inbox.topic, 1)
    assert inbox.check().failures() == []
    acls = [line for line in printed.splitlines() if line.startswith("-- kafka-acls.sh")]
    assert len(acls) == 2 and f"--group {inbox.group}" in acls[0] and f"--topic {inbox.topic}" in acls[1]
    assert not any("Write" in acl or "Create" in acl for acl in acls)


def test_with_both_sections_init_makes_both(make_shop):
    shop = make_shop(create_table=False)
    shop.config["inbox"] = {"group": "g", "topics": [f"{shop.name}.in"], "handlers": [{"type": "*", "call": "app.f"}]}
    said = shop.init().stdout.decode()
    for words in ("table public.outbox", "inbox tables and functions", f"slot {shop.slot}", f"topic {shop.quarantine_topic}"):
        assert f"ok  {words}" in said, said
    assert f"{shop.name}.in" not in shop.kafka.topics()


def test_a_config_with_neither_section_is_refused(inbox):
    del inbox.shop.config["inbox"]
    for command in ("init", "check", "status"):
        run = inbox.shop.run(command).expect_exit(2)
        assert any("neither a relay nor an inbox" in line for line in run.lines), run.log_tail()


# check


def test_check_of_an_inbox_that_can_start(inbox):
    inbox.set_up()
    report = inbox.check()
    for start in ("connection", "server version", "brokers", "writable", "inbox tables", "rights on the tables",
                  "handler of Order*", "handler of Noise", f"group {inbox.group}", f"source {inbox.topic}"):
        report.expect(start, "ok")
    report.expect("offsets of", "ok", "read from its start")
    report.expect("walferry.emit", "ok", "is not there")
    relays = {"slot", "position", "publication", "wal_level", "max_wal_senders", "transaction timeout"}
    assert not relays & set(report.lines)
    assert inbox.shop.query("select 1 from walferry.inbox_offsets") == []


def test_check_before_init(inbox):
    inbox.shop.psql(f'create role "{inbox.role}" login')
    report = inbox.check(3)
    assert report.expect("inbox tables", "fail", "walferry init")["code"] == "inbox_not_set_up"
    assert report.expect("handler of Order*", "fail")["code"] == "handler_missing"
    report.expect(f"source {inbox.topic}", "warn", "waits for it")


BROKEN_HANDLERS = {
    "handler_missing": ("drop function app.on_event", 3, "CREATE FUNCTION"),
    "handler_returns_set": ("drop function app.on_event; create function app.on_event(jsonb) returns setof int language sql "
                            "volatile as 'select 1'", 3, "DROP FUNCTION"),
    "handler_not_volatile": ("alter function app.on_event stable", 3, "ALTER FUNCTION"),
    "handler_not_executable": ("revoke execute on function app.on_event from public", 2, "GRANT EXECUTE"),
}


@pytest.mark.parametrize("code", BROKEN_HANDLERS)
def test_a_handler_that_cannot_be_called_is_named_with_the_sql_that_helps(inbox, code):
    damage, exit_code, word = BROKEN_HANDLERS[code]
    inbox.set_up()
    inbox.shop.psql(damage)
    line = inbox.check(exit_code).expect("handler of Order*", "fail", word)
    assert line["code"] == code
    if code in ("handler_not_volatile", "handler_not_executable"):  # the remedy is SQL as it stands
        inbox.shop.psql(line["remedy"])
        inbox.check()


def test_a_schema_that_may_not_be_used(inbox):
    inbox.set_up()
    inbox.shop.psql(f'revoke usage on schema app from "{inbox.role}"')
    line = inbox.check(2).expect("handler of Order*", "fail", "GRANT USAGE")
    inbox.shop.psql(line["remedy"])
    inbox.check()


@pytest.mark.parametrize("revoked, needed", [
    ("insert on walferry.inbox_processed_messages", "GRANT INSERT ON walferry.inbox_processed_messages"),
    ("update on walferry.inbox_offsets", "GRANT UPDATE ON walferry.inbox_offsets"),
    ("execute on function walferry.inbox_maintain(interval)", "GRANT EXECUTE ON FUNCTION walferry.inbox_maintain(interval)")])
def test_a_right_that_is_missing_is_named(inbox, revoked, needed):
    inbox.set_up()
    inbox.shop.psql(f'revoke {revoked} from "{inbox.role}"')
    line = inbox.check(2).expect("rights on the tables", "fail", needed)
    inbox.shop.psql(line["remedy"])
    inbox.check()


def test_no_right_at_all_on_the_schema(inbox):
    inbox.set_up()
    inbox.shop.psql(f'revoke usage on schema walferry from "{inbox.role}"')
    inbox.check(2).expect("inbox tables", "fail", "walferry init", "--admin")


def test_a_topic_that_forgets_soon_is_warned_of(inbox):
    inbox.set_up()
    inbox.kafka.set_topic_config(inbox.topic, retention_ms=3600000)
    inbox.check().expect(f"source {inbox.topic}", "warn", "1.0 hours", "retention.ms")
    inbox.kafka.set_topic_config(inbox.topic, cleanup_policy="compact")
    inbox.check().expect(f"source {inbox.topic}", "ok", "compacted")


# Stored offsets


def offset_line(inbox, exit_code=3):
    return inbox.check(exit_code).expect(f"offset of {inbox.topic}/0", "fail")


def test_offsets_that_fit_their_log(inbox):
    inbox.set_up()
    inbox.produce(5)
    inbox.read_up_to(3)
    inbox.check().expect("offsets of", "ok", "2 of 2 partitions fit", "1 of them")
    inbox.read_up_to(5)
    inbox.check().expect("offsets of", "ok", "2 of 2")
    inbox.kafka.delete_records(inbox.topic, {0: 5})  # what was handled may go
    inbox.check().expect("offsets of", "ok", "2 of 2")


def test_records_that_were_deleted_before_they_were_read(inbox):
    inbox.set_up()
    inbox.produce(5)
    inbox.read_up_to(3)
    inbox.kafka.delete_records(inbox.topic, {0: 4})
    line = offset_line(inbox)
    assert line["code"] == "offset_deleted" and "up to 1 record" in line["message"]
    inbox.shop.psql(line["remedy"][line["remedy"].index("DELETE"):].split(";")[0])
    inbox.check()


@pytest.mark.parametrize("again", [0, 2, 5])
def test_a_topic_that_was_made_again(inbox, again):
    """With nothing in it, with less than was read, and with other records at the same offsets."""
    inbox.set_up(1)
    inbox.produce(5)
    inbox.read_up_to(3)
    inbox.kafka.delete_topic(inbox.topic)
    inbox.kafka.create_topic(inbox.topic, 1)
    inbox.produce(again, start=100)
    assert offset_line(inbox)["code"] == "topic_recreated"
    inbox.shop.psql("update walferry.inbox_offsets set next_offset = 0, cluster_id = null, record_offset = null, "
                    "record_timestamp = null, record_id = null")  # as explain says it
    inbox.check()


def test_offsets_of_another_cluster(inbox):
    inbox.set_up()
    inbox.produce(5)
    inbox.read_up_to(3, cluster="elsewhere")
    line = offset_line(inbox)
    assert line["code"] == "kafka_cluster_changed" and "elsewhere" in line["message"]
    inbox.shop.psql("update walferry.inbox_offsets set cluster_id = null")
    inbox.check()


def test_offsets_of_partitions_that_are_gone(inbox):
    inbox.set_up()
    inbox.read_up_to(0, partition=7)
    inbox.check().expect("partitions of", "warn", "1 more")


# status


def test_status_of_an_inbox_alone(inbox):
    found = inbox.set_up().status()
    assert set(found) == {"instance", "ok", "postgres", "inbox"}
    empty = found["inbox"]
    assert empty["group"] == inbox.group and empty["set_up"] is True and empty["members"] == 0 and empty["lag"] == 0
    assert [p["next_offset"] for p in empty["partitions"]] == [None, None]
    assert empty["dead_letters"] == {"open": 0, "codes": []}
    inbox.produce(5)
    inbox.read_up_to(3)
    inbox.shop.psql(f"""
        insert into walferry.inbox_dead_letters (consumer, topic, partition, record_offset, record_timestamp, key, code,
          message, attempts, first_failure, last_failure, state, resolved_at)
        select {quote(inbox.group)}, 't', 0, n, 0, 'k', case when n = 1 then 'unmatched_type' else 'handler_failed' end, 'm', 1,
          ('2026-01-0' || n || 'Z')::timestamptz, ('2026-01-0' || n || 'Z')::timestamptz, case when n = 4 then 'discarded' else 'open' end,
          case when n = 4 then now() end from generate_series(1, 4) n;
        insert into walferry.inbox_dead_letters (consumer, topic, partition, record_offset, record_timestamp, code, message,
          attempts, first_failure, last_failure) values ('another', 't', 0, 1, 0, 'handler_failed', 'm', 1, now(), now());
        insert into walferry.inbox_holds (consumer, topic, key, dead_letter)
        select consumer, topic, key, min(id) from walferry.inbox_dead_letters where key is not null group by 1, 2, 3;
        insert into walferry.inbox_parked (consumer, topic, partition, record_offset, record_timestamp, key)
        select {quote(inbox.group)}, 't', 0, n, 0, 'k' from generate_series(5, 6) n;
        insert into walferry.inbox_attempts (consumer, topic, partition, record_offset, attempts)
        values ({quote(inbox.group)}, 't', 0, 9, 2)""")
    found = inbox.status()["inbox"]
    first, second = found["partitions"]
    assert (first["topic"], first["partition"], first["next_offset"], first["log_start"], first["log_end"], first["lag"]) == (
        inbox.topic, 0, 3, 0, 5, 2)
    assert first["updated_at"].endswith("Z") and first["in_use"] is False and first["code"] is None
    assert second["updated_at"] is None and found["lag"] == 2
    assert found["dead_letters"] == {"open": 3, "codes": [
        {"code": "handler_failed", "open": 2, "oldest": "2026-01-02T00:00:00Z"},
        {"code": "unmatched_type", "open": 1, "oldest": "2026-01-01T00:00:00Z"}]}
    assert (found["held_keys"], found["parked"], found["retrying"]) == (1, 2, 1)
    text = inbox.shop.run("status").expect_exit(0).stdout.decode()
    for words in (f"{inbox.topic}/0  next offset 3, lag 2", f"{inbox.topic}/1  not read yet", "dead letters  3 open",
                  "held keys     1, with 2 messages", "retrying    1 message"):
        assert words in text, text
    assert "slot" not in text and "quarantine" not in text


def test_status_names_what_is_refused(inbox):
    inbox.set_up()
    inbox.produce(5)
    inbox.read_up_to(3)
    inbox.kafka.delete_records(inbox.topic, {0: 4})
    assert inbox.status()["inbox"]["partitions"][0]["code"] == "offset_deleted"
    assert "REFUSED: offset_deleted" in inbox.shop.run("status").stdout.decode()


def test_status_before_init(inbox):
    inbox.shop.psql(f'create role "{inbox.role}" login')
    found = inbox.status()["inbox"]
    assert found["set_up"] is False and "partitions" not in found
    assert "not in this database" in inbox.shop.run("status").expect_exit(0).stdout.decode()


def test_status_shows_the_half_that_can_be_reached(inbox):
    inbox.set_up()
    inbox.read_up_to(0, record=False)
    inbox.shop.config["kafka"]["brokers"] = "127.0.0.1:1"
    found = inbox.status(1)["inbox"]
    assert found["partitions"][0]["next_offset"] == 0 and found["partitions"][0]["lag"] is None and found["lag"] is None
    assert found["kafka_error"]


def test_both_halves_are_shown(make_shop):
    shop = make_shop()
    shop.config["inbox"] = {"group": f"g-{shop.name}", "topics": [f"{shop.name}.in"], "handlers": [{"type": "*", "call": "a.f"}]}
    shop.init()
    found = json.loads(shop.run("status", "--json").expect_exit(0).stdout)
    assert found["slot"]["exists"] and found["position"]["state"] == "position" and found["inbox"]["set_up"] is True
    report = Report(shop.run("check", "--json").expect_exit(3))
    assert report.codes() == {"handler_missing"}
    assert report.lines["position"]["status"] == "ok"


# With an authorizer: the printed ACLs are enough for all that is asked, and what is missing is named


def test_the_group_and_topics_need_their_acls(least):
    least.create_role()
    topic, group = f"{least.name}.in", f"accounting-{least.name}"
    del least.config["relay"]
    for key in ("slot", "publication", "decoder", "create"):
        del least.config["postgres"][key]
    least.config["inbox"] = {"group": group, "topics": [topic], "handlers": [{"type": "*", "ignore": True}]}
    least.init("--admin", least.postgres.conninfo(least.db))
    least.kafka.create_topic(topic, 1)

    def check(exit_code):
        return Report(least.run("check", "--json").expect_exit(exit_code))

    report = check(1)
    assert "not authorised" in report.expect(f"group {group}", "fail", f"grant Read and Describe on group {group}")["message"]
    report.expect(f"source {topic}", "fail", topic)
    least.run("status").expect_exit(1)
    least.apply_acls(least.init("--print").stdout.decode())
    system.wait_for(lambda: len(wire.acls(least.kafka.port, PRINCIPAL)) == 5, 10, "ACLs in force")
    report = check(0)
    report.expect(f"group {group}", "ok")
    report.expect(f"source {topic}", "ok")
    least.run("status").expect_exit(0)
    least.assert_no_secret_said()


# drop


def test_drop_says_what_to_do_with_an_inbox(inbox):
    inbox.init()
    run = inbox.shop.run("drop", "--confirm", inbox.name).expect_exit(2)
    event = run.find("drop.failed")
    assert "no relay section" in event["error"] and "Removing an instance" in event["remedy"]
    assert inbox.shop.query("select version from walferry.inbox_layout")
