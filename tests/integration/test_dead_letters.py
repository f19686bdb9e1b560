"""Dead letters of the inbox on their way to Kafka: what its sessions emit is one record on <topic>.dlq each, byte for byte,
whatever else is in the transaction and whenever the relay dies. Here psql stands in for the inbox."""
import base64
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import walferry
from harness.shop import quote
from integration_checks import find_key, ready

ENVELOPE = b'{"id":"e-1","type":"Rental","occurred_at":"2026-11-21T08:01:58Z" ,\n "payload":{"a" : 1.50, "b":"\xc3\xbc"}}'
# key, value, headers
ORIGINALS = {
    "envelope": (b"r-17", ENVELOPE, [(b"id", b"e-1"), (b"type", b"Rental")]),
    "payload": (b"r-17", b'["\\u00fc \\"\\\\", 1e400]', [(b"wf_lsn", b"0/1")]),
    "tombstone": (b"r-17", None, [(b"id", b"e-2")]),
    "null": (b"r-17", b"null", []),
    "empty": (b"", b"", [(b"empty", b""), (b"none", None)]),
    "no key": (None, b" {}", [(b"twice", b"1"), (b"twice", None), (b"twice", b"1")]),
    "binary": (b"\x00\xff\n'\\", b"\x00\xff\xfe\n'\\\"", [(b"n\xff \xc3\xbc", b"\xff\xc3\xbc"), (b"wf_error_code", b"older")]),
}


@pytest.fixture
def shop(make_shop):
    return prepare(make_shop())


def prepare(shop, **inbox):
    """A `*` route to a single topic, and an inbox that nothing runs."""
    shop.config["relay"]["routes"] = [{"type": "*", "topic": shop.topic()}]
    shop.source = shop.name + ".rentals"
    shop.config["inbox"] = {"group": "accounting", "topics": [shop.source],
                            "handlers": [{"type": "*", "call": "app.on_event"}], **inbox}
    shop.dlq = shop.source + ".dlq"
    return shop


def letter(shop, key, value, headers, offset=42):
    """What the inbox emits for a consumed record."""
    def hexed(data):
        return "-" if data is None else data.hex()
    tool = Path(walferry.binary()).parent / "tests" / "dead_letter"
    return subprocess.run([tool, shop.source, "3", str(offset), "1795248118123", hexed(key), hexed(value),
                           *[hexed(part) for header in headers for part in header]],
                          stdout=subprocess.PIPE, text=True, check=True).stdout


def emit(text, transactional=True):
    return f"select pg_logical_emit_message({str(transactional).lower()}, 'walferry.dead_letter', {quote(text)});"


def row(id):
    return ("insert into outbox (id, aggregatetype, aggregateid, type, payload) values "
            f"('{id:0>8}-0000-0000-0000-000000000000', 'orders', 'k', 'T', '{{}}');")


def row_ids(shop):
    return [int(r["headers"]["id"][:8]) for r in shop.events()]


def letters(shop):
    """By offset in the original topic, each there once."""
    found = {}
    for record in shop.kafka.consume_bytes(shop.dlq):
        record["event"] = json.loads(record["value"])
        assert found.setdefault(record["event"]["original_offset"], record) is record, "a letter is there twice"
    return found


def original_value(record):
    """As bridge/event/dead_letter.h says: the member's own bytes. It stands between type and error."""
    names = [n for n in ("envelope", "payload", "payload_base64") if n in record["event"]]
    assert len(names) == 1
    head = record["value"].index(b'"%s":' % names[0].encode()) + len(names[0]) + 3
    raw = record["value"][head:record["value"].rindex(b',"error":{"code":')]
    if names[0] == "payload_base64":
        return base64.b64decode(json.loads(raw))
    return None if raw == b"null" else raw


def as_kcat_writes(headers):
    return b",".join(name + b"=" + (b"NULL" if value is None else value) for name, value in headers)


def assert_unharmed(shop, record, key, value, headers, offset, code="handler_failed"):
    assert record["key"] == key
    assert original_value(record) == value
    own = [(b"wf_error_code", code.encode()), (b"wf_error_message", find_key(record["event"], "message").encode()),
           (b"wf_origin", f"{shop.source}/3/{offset}".encode()), (b"wf_consumer", b"accounting")]
    assert record["raw_headers"] == as_kcat_writes(headers + own)
    event = record["event"]
    assert event["original_header_count"] == len(headers)
    assert (event["original_topic"], event["original_partition"]) == (shop.source, 3)
    assert (event["error"]["code"], event["attempts"], event["consumer"]) == (code, 5, "accounting")


# Once, and unharmed


def test_letters_arrive_byte_for_byte_beside_rows(shop):
    ready(shop)
    sql = "begin;" + row(1)
    for offset, original in enumerate(ORIGINALS.values()):
        sql += emit(letter(shop, *original, offset)) + row(10 + offset)
    shop.psql(sql + "commit;")
    shop.drain()
    found = letters(shop)
    assert set(found) == set(range(len(ORIGINALS)))
    for offset, (name, original) in enumerate(ORIGINALS.items()):
        code = {"binary": "payload_not_json", "empty": "payload_not_json"}.get(name, "handler_failed")
        assert_unharmed(shop, found[offset], *original, offset, code)
    assert row_ids(shop) == [1, *range(10, 10 + len(ORIGINALS))], "rows, and nothing of the letters"
    assert shop.quarantined() == []
    shop.drain()
    assert len(letters(shop)) == len(ORIGINALS)


def test_nothing_is_sent_of_what_was_rolled_back_or_is_no_part_of_a_transaction(shop):
    ready(shop)
    text = letter(shop, *ORIGINALS["envelope"])
    shop.psql("begin;" + row(1) + emit(text) + "rollback;")
    shop.psql("begin;" + row(2) + "savepoint s;" + emit(text) + "rollback to s;" + row(3) + "commit;")
    shop.psql("begin;" + row(4) + emit(text, transactional=False) + "commit;")
    shop.drain()
    assert row_ids(shop) == [2, 3, 4]
    assert letters(shop) == {} and shop.quarantined() == []


@pytest.mark.parametrize("name", ["publisher.after_begin", "publisher.after_produce", "publisher.after_position",
                                  "publisher.after_commit", "publisher.after_ack"])
def test_a_relay_that_is_killed_around_the_commit_sends_each_once(shop, name):
    ready(shop)
    run = shop.relay(failpoint=f"{name}=kill")
    original = ORIGINALS["binary"]
    shop.psql("begin;" + row(1) + emit(letter(shop, *original, 1)) + row(2) + "commit;"
              "begin;" + emit(letter(shop, *original, 2)) + "commit;")
    run.expect_exit(-signal.SIGKILL, 30)
    assert run.find("failpoint.hit", name=name) is not None
    shop.drain()
    found = letters(shop)
    assert set(found) == {1, 2} and row_ids(shop) == [1, 2]
    for offset, record in found.items():
        assert_unharmed(shop, record, *original, offset, "payload_not_json")


@pytest.mark.decoder("pgoutput")
def test_letters_survive_a_database_of_another_encoding(make_shop, postgres):
    db = f"latin{os.getpid()}"
    postgres.psql(f"create database {db} encoding 'LATIN1' template template0 locale 'C'")
    shop = ready(prepare(make_shop(db=db)))
    original = (b"\xc3\xbc", ENVELOPE.replace(b"1.50", '"€"'.encode()), [("ü".encode(), "€".encode())])
    shop.psql(emit(letter(shop, *original)))
    shop.drain()
    assert_unharmed(shop, letters(shop)[42], *original, 42)


# What is wrong


def test_what_the_inbox_did_not_write_is_quarantined(shop):
    ready(shop)
    good = letter(shop, *ORIGINALS["envelope"])
    bad = ["hello", json.dumps({"id": "x", "type": "T", "aggregate": "orders", "key": "k", "payload": {}}),
           good.replace(shop.dlq, "walferry.position." + shop.name), good[:-1]]
    shop.psql("begin;" + row(1) + "".join(map(emit, bad)) + emit(good) + row(2) + "commit;")
    shop.drain()
    assert row_ids(shop) == [1, 2]
    assert list(letters(shop)) == [42]
    quarantined = shop.quarantined()
    assert len(quarantined) == len(bad)
    for record in quarantined:
        assert record["event"]["error"]["code"] == "message_not_json"
        assert "dead letter" in record["event"]["error"]["message"]
        assert record["event"]["origin"] == record["headers"]["wf_origin"] == "walferry.dead_letter"
        assert "original_topic" not in record["event"], "the route is not for it"


def test_a_letter_too_large_for_its_topic_is_quarantined(shop):
    shop.kafka.create_topic(shop.dlq, 1, max_message_bytes=20_000)
    ready(shop)
    big = (b"k", os.urandom(30_000), [(b"wf_lsn", b"0/1")])
    shop.psql("begin;" + emit(letter(shop, *ORIGINALS["envelope"], 1)) + emit(letter(shop, *big, 2)) + row(1) + "commit;")
    shop.drain()
    assert list(letters(shop)) == [1] and row_ids(shop) == [1]
    record, = shop.quarantined()
    assert record["event"]["error"]["code"] == "record_too_large"
    assert record["event"]["original_topic"] == shop.dlq
    assert record["event"]["id"] == f"{shop.source}/3/2" and record["key"] == "k"
    assert record["headers"]["wf_lsn"] == record["event"]["lsn"] != "0/1"


@pytest.mark.decoder("pgoutput")
def test_without_an_inbox_the_prefix_is_nobodys(shop):
    text = letter(shop, *ORIGINALS["envelope"])
    del shop.config["inbox"]
    ready(shop)
    shop.psql("begin;" + emit(text) + row(1) + "commit;")
    shop.drain()
    assert row_ids(shop) == [1]
    assert shop.dlq not in shop.kafka.topics() and shop.quarantined() == []


@pytest.mark.decoder("pgoutput")
def test_the_prefix_cannot_be_taken_for_events(shop):
    shop.config["relay"]["messages"] = ["walferry", "walferry.dead_letter"]
    failed = shop.run("relay").expect_exit(2).find("config.failed")
    assert "kept for the dead letters" in failed["error"] and "take it out" in failed["remedy"]


# The other commands


@pytest.mark.decoder("pgoutput")
def test_init_makes_the_topics_and_check_knows_them(shop):
    shop.config["kafka"]["topics"]["overrides"] = [{"topic": "*.rentals*", "partitions": 5, "cleanup": "compact"}]
    shop.config["kafka"]["properties"] = ["sasl.username=ferry"]
    printed = shop.init("--print").stdout.decode()
    assert f"\n-- {shop.dlq}, 5, 1, cleanup.policy=delete\n" in printed
    assert [line.split("--operation", 1)[1] for line in printed.splitlines() if line.endswith(f"--topic {shop.dlq}")] == [
        f" Write --operation Describe --operation DescribeConfigs --operation Create --topic {shop.dlq}"]
    del shop.config["kafka"]["properties"]
    assert f"ok  topic {shop.dlq}\n" in shop.init().stdout.decode()
    assert shop.kafka.topics()[shop.dlq] == 5
    assert shop.kafka.topic_config(shop.dlq)["cleanup.policy"] == "delete"

    def line():
        report = json.loads(shop.run("check", "--json").stdout)
        return next(l for l in report["checks"] if l["name"] == f"dead letters {shop.dlq}")
    assert "5 partitions" in line()["message"]
    shop.kafka.set_topic_config(shop.dlq, cleanup_policy="compact")
    assert line()["status"] == "warn" and "compacted" in line()["message"]


def test_letters_are_printed_as_they_would_be_sent(shop):
    ready(shop)
    shop.psql("begin;" + row(1) + emit(letter(shop, *ORIGINALS["envelope"])) + "commit;")
    run = shop.run("relay", "--sink", "stdout", "--until", "now").expect_exit(0)
    printed = [json.loads(line) for line in run.stdout.decode().splitlines()]
    assert [p["topic"] for p in printed] == [shop.topic(), shop.dlq]
    assert printed[1]["key"] == "r-17" and printed[1]["value"]["envelope"]["payload"] == {"a": 1.5, "b": "ü"}
    assert printed[1]["headers"]["wf_consumer"] == "accounting"
    run = shop.run("relay", "--dry-run", "2").expect_exit(0)
    assert [json.loads(line) for line in run.stdout.decode().splitlines()] == printed
    assert letters(shop) == {}
