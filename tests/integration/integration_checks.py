"""What several integration tests ask of walferry: a started instance, waiting, and how a refusal has to look."""
import json

from harness import system
from harness.servers import lsn_number

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(data):
    """The hash by which Kafka's Java clients place a key. Source: org.apache.kafka.common.utils.Utils.murmur2."""
    h = _SEED ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key, partitions):
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def ready(shop, **kwargs):
    """The instance with its slot, publication and first position: what is inserted from now on is relayed."""
    shop.drain(**kwargs)
    return shop


def wait_records(shop, count, timeout=30):
    """Until so many records can be read by a read_committed consumer (or more: that is for the test to judge)."""
    try:
        system.wait_for(lambda: len(shop.record_ids()) >= count, timeout, f"{count} records", interval=0.1)
    except TimeoutError:
        raise AssertionError(f"{len(shop.record_ids())} of {count} records after {timeout} s") from None


def ids(records):
    return [r["headers"].get("id") for r in records]


def position_lsn(shop):
    """Up to where the position committed in Kafka allows an ack; 0 without a position."""
    position = shop.position()
    return max(lsn_number(position["end_lsn"]), lsn_number(position["idle_end_lsn"])) if position else 0


def assert_ack_behind_position(shop):
    acked = shop.confirmed_flush()  # first: what is read second may only have grown
    assert acked <= position_lsn(shop), "the slot is ahead of what Kafka holds"


def wait_acked(shop, lsn, timeout=30):
    try:
        system.wait_for(lambda: shop.confirmed_flush() >= lsn, timeout, "ack")
    except TimeoutError:
        raise AssertionError(f"confirmed_flush {shop.confirmed_flush():X} has not reached {lsn:X} in {timeout} s") from None


def assert_ends_whole(shop, run):
    """The relay ends in good order, and once another has published what was left, every row is one record."""
    assert run.terminate() == 0
    shop.drain()
    shop.assert_exactly_once()


def find_key(value, *names):
    """The first value under any of the names, however deep in a JSON value."""
    if isinstance(value, dict):
        for name in names:
            if value.get(name) is not None:
                return value[name]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        found = find_key(item, *names)
        if found is not None:
            return found
    return None


class World:
    """What a refused run must leave as it was: the records, the quarantine, the position, the slot."""

    def __init__(self, shop, slot=True):
        self.shop, self.slot = shop, slot
        self.before = self._look()

    def _look(self):
        row = self.shop.postgres.slot(self.shop.slot) if self.slot else None
        return {"records": sorted(self.shop.record_ids()), "quarantined": len(self.shop.quarantined()),
                "position": self.shop.position(), "confirmed_flush": row and row["confirmed_flush_lsn"]}

    def assert_unchanged(self):
        assert self._look() == self.before

    def assert_nothing_published(self):
        """For runs that streamed for a while: their idle progress may have moved position and slot."""
        now = self._look()
        assert all(now[k] == self.before[k] for k in ("records", "quarantined"))


def assert_refused(run, *names, codes=(), timeout=60):
    """Exit 3; a relay.refused line with code, cause and remedy, which name the things concerned; nothing on stdout."""
    event = run.expect_refused(timeout=timeout)
    cause, remedy = event.get("error") or event.get("message") or "", event.get("remedy") or ""
    assert event.get("code") and cause.strip() and remedy.strip(), f"code, cause or remedy is missing: {event}"
    for name in names:
        assert name in cause + " " + remedy, f"{name} is not named in {event}"
    assert not codes or event["code"] in codes, f"{event['code']} is none of {codes}: {event}"
    assert run.stdout == b""
    return event


def said(run_or_stderr):
    """All text of a log, JSON strings decoded: a path in it looks as it does in the shell."""
    lines = run_or_stderr.splitlines() if isinstance(run_or_stderr, str) else run_or_stderr.lines
    text = []
    for line in lines:
        text.append(line)
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            text += [str(v) for v in event.values()]
    return "\n".join(text)
