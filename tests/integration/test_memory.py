"""Peak memory with rows above 1 MB: 48 MB and three times the largest row, in bytes on the wire."""
import pytest

from integration_checks import wait_acked

BASE_MB = 48
SHARES = 3
JSON_STRING = "'\"' || repeat('x', {bytes} - 2) || '\"'"

# Type of the payload, its value, MB of it, bytes on the wire for each of them: bytea travels in hex.
PAYLOADS = {"text": ("text", JSON_STRING, 24, 1),
            "jsonb": ("jsonb", "to_jsonb(repeat('x', {bytes} - 2))", 24, 1),
            "bytea": ("bytea", f"convert_to({JSON_STRING}, 'UTF8')", 16, 2)}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_large_rows_in_a_row_stay_within_the_bound(shop, payload):
    type, value, size_mb, on_wire = PAYLOADS[payload]
    shop.psql(f"alter table outbox alter payload type {type} using null, alter payload set storage external")
    relay = shop.relay()
    shop.insert(1)  # makes the topic, which is then to take what is large
    wait_acked(shop, shop.postgres.flush_lsn())
    shop.kafka.set_topic_config(shop.topic(), max_message_bytes="60000000")
    assert relay.terminate() == 0
    for _ in range(3):
        shop.psql("insert into outbox (aggregatetype, aggregateid, type, payload) "
                  f"values ('orders', 'k', 'OrderPlaced', {value.format(bytes=size_mb << 20)})")
    relay = shop.relay()
    wait_acked(shop, shop.postgres.flush_lsn())
    peak_mb = relay.memory_peak_kb() / 1024
    assert relay.terminate() == 0
    assert len(shop.kafka.consume_format(shop.topic(), "%S")) == 1 + 3  # and none in the quarantine
    bound_mb = BASE_MB + SHARES * size_mb * on_wire
    print(f"{payload}: {peak_mb:.0f} MB of {bound_mb}")
    assert peak_mb < bound_mb, f"{peak_mb:.0f} MB, not within {bound_mb}"
