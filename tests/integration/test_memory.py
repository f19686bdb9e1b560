"""Peak memory: 48 MB, and three times the largest row above 1 MB, in bytes on the wire."""
import pytest

from integration_checks import wait_acked

BASE_MB = 48
SHARES = 3
JSON_STRING = "'\"' || repeat('x', {bytes} - 2) || '\"'"
# Random hexadecimal digits: compressed, more than half is left.
NOISE = "'\"' || (select string_agg(md5(random()::text), '') from generate_series(1, ({bytes} - 2) / 32)) || '\"'"

# Type of the payload, its value, rows, MB of each, bytes on the wire for each of them: bytea travels in hex.
PAYLOADS = {"text": ("text", JSON_STRING, 3, 24, 1),
            "jsonb": ("jsonb", "to_jsonb(repeat('x', {bytes} - 2))", 3, 24, 1),
            "bytea": ("bytea", f"convert_to({JSON_STRING}, 'UTF8')", 3, 16, 2),
            "noise of 3 MB": ("text", NOISE, 16, 3, 1),
            "noise of 12 MB": ("text", NOISE, 6, 12, 1)}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_large_rows_in_a_row_stay_within_the_bound(shop, payload):
    type, value, rows, size_mb, on_wire = PAYLOADS[payload]
    shop.psql(f"alter table outbox alter payload type {type} using null, alter payload set storage external")
    relay = shop.relay()
    shop.insert(1)  # makes the topic, which is then to take what is large
    wait_acked(shop, shop.postgres.flush_lsn())
    shop.kafka.set_topic_config(shop.topic(), max_message_bytes="60000000")
    assert relay.terminate() == 0
    for _ in range(rows):
        shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) "
                  f"values ('orders', 'k', 'OrderPlaced', {value.format(bytes=size_mb << 20)})")
    relay = shop.relay()
    wait_acked(shop, shop.postgres.flush_lsn(), 90)
    peak_mb = relay.memory_peak_kb() / 1024
    assert relay.terminate() == 0
    assert len(shop.kafka.consume_format(shop.topic(), "%S")) == 1 + rows  # and none in the quarantine
    bound_mb = BASE_MB + SHARES * size_mb * on_wire
    print(f"{payload}: {peak_mb:.0f} MB of {bound_mb}")
    assert peak_mb < bound_mb, f"{peak_mb:.0f} MB, not within {bound_mb}"


def test_many_small_events_stay_within_the_bound(shop):
    shop.config["relay"]["envelope"] = "payload"
    relay = shop.relay()
    shop.insert(1)
    wait_acked(shop, shop.postgres.flush_lsn())
    assert relay.terminate() == 0
    for _ in range(3):
        shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) "
                  "select 'orders', 'k', 't', '{}' from generate_series(1, 100000)")
    relay = shop.relay()
    wait_acked(shop, shop.postgres.flush_lsn(), 90)
    peak_mb = relay.memory_peak_kb() / 1024
    assert relay.terminate() == 0
    assert sum(shop.kafka.end_offsets(shop.topic(), committed=True).values()) > 300_000
    print(f"small: {peak_mb:.0f} MB")
    assert peak_mb < BASE_MB, f"{peak_mb:.0f} MB, not within {BASE_MB}"


def test_a_snapshot_of_many_rows_stays_within_the_bound(shop):
    shop.config["relay"]["envelope"] = "payload"
    shop.insert_many(150_000, payload_bytes=300)
    run = shop.relay("--snapshot", timeout=120)
    peak_mb = run.memory_peak_kb() / 1024
    assert run.terminate() == 0
    assert sum(shop.kafka.end_offsets(shop.topic(), committed=True).values()) > 150_000
    print(f"snapshot: {peak_mb:.0f} MB")
    assert peak_mb < BASE_MB, f"{peak_mb:.0f} MB, not within {BASE_MB}"
