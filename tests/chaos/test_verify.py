"""The checks of the chaos test, on wrongs planted by hand: a check that cannot fail proves nothing."""
import json
import random
import re

import pytest

from chaos import verify, writers
from chaos.verify import Record, Sampler, check_committed, check_effects, check_offsets, check_positions, check_records
from harness import system
from harness.postgres import lsn_text

TOPIC = "t"


def world():
    """Ten events of each of three keys, as committed and as records."""
    committed, records = {}, []
    for key in ("a", "b", "c"):
        for seq in range(1, 11):
            id = f"{key}-{seq}"
            committed[id] = (TOPIC, key, seq)
            records.append(Record(TOPIC, 0, len(records), id, key, seq, False))
    return committed, records


def test_a_faithful_relay_has_no_problems():
    committed, records = world()
    random.Random(1).shuffle(records)
    records.sort(key=lambda r: r.seq)  # keys interleave in any way
    assert check_records(committed, records) == []
    assert check_committed(committed) == []


@pytest.mark.parametrize("wrong, complaint", [
    (lambda c, r: r.append(r[3]._replace(offset=99)), "repeated"),
    (lambda c, r: r.pop(3), "lost"),
    (lambda c, r: r.pop(), "lost"),  # the last of a key: no gap betrays it
    (lambda c, r: r.pop(3), "gaps"),
    (lambda c, r: r.insert(3, r.pop(4)), "out of order"),
    (lambda c, r: r.append(Record(TOPIC, 0, 99, "x", "a", 11, False)), "never committed"),
    (lambda c, r: r.append(Record(TOPIC, 0, 99, "x", "a", 11, True)), "rolled back"),
    (lambda c, r: r.append(Record(TOPIC, 0, 99, None, "a", 11, False)), "never committed"),
    (lambda c, r: r.__setitem__(9, r[9]._replace(partition=1)), "several partitions"),
    (lambda c, r: r.__setitem__(9, r[9]._replace(key="b")), "another topic, key or sequence"),
    (lambda c, r: r.__setitem__(9, r[9]._replace(topic="u")), "another topic, key or sequence"),
])
def test_a_planted_wrong_is_found(wrong, complaint):
    committed, records = world()
    wrong(committed, records)
    assert any(complaint in p for p in check_records(committed, records))


def test_writers_that_break_their_promise_are_found():
    committed, _ = world()
    del committed["b-4"]
    assert check_committed(committed)


def position(end, commit=None, idle=0, complete=True, index=0):
    return {"state": "position", "commit_lsn": lsn_text(commit if commit is not None else end - 1),
            "end_lsn": lsn_text(end), "idle_end_lsn": lsn_text(idle), "complete": complete, "next_index": index}


@pytest.mark.parametrize("positions, sound", [
    ([position(10), position(20), position(20, idle=30), position(40)], True),
    ([position(10), position(10, commit=15, complete=False, index=5), position(10, commit=15, complete=False, index=9),
      position(20, commit=15)], True),
    ([position(20), position(10)], False),
    ([position(20, idle=30), position(40, idle=30)], True),
    ([position(20, idle=30), position(20)], False),
    ([position(10, commit=15, complete=False, index=5), position(10, commit=15, complete=False, index=4)], False),
    ([position(20, commit=15), position(20, commit=15, complete=False, index=4)], False),
])
def test_a_position_that_moves_backwards_is_found(positions, sound):
    assert (check_positions(positions) == []) == sound


def wrapped(id, seq, doomed=False):
    return json.dumps({"id": id, "type": "Counted", "payload": {"seq": seq, "doomed": doomed}})


def test_the_whole_way_from_writers_to_the_verdict(shop):
    """The writers against a real Postgres, a perfect relay made of kcat, then one wrong of each sort in the real topic."""
    shop.psql(writers.SETUP)
    crew = writers.Writers(shop, "verify", count=3, pause=0.001).start()
    system.wait_for(lambda: crew.transactions > 150, 60, "transactions")
    crew.stop()
    writers.quiesced(shop)
    assert crew.complaints == []
    committed = writers.committed(shop)
    assert len(committed) > 100 and check_committed(committed) == []
    assert int(shop.psql("select count(*) from outbox")) < len(committed), "messages and tidy events are among them"

    topics = {topic for topic, _, _ in committed.values()}
    assert topics == {shop.topic("orders"), shop.topic("payments")}
    for topic in topics:
        shop.kafka.create_topic(topic, 1)
    chosen = sorted(committed.items(), key=lambda item: item[1])
    for id, (topic, key, seq) in chosen[:20]:
        shop.kafka.produce(topic, wrapped(id, seq), key=key, headers={"source": "s", "id": id})
    some = dict(chosen[:20])
    assert check_records(some, verify.read_records(shop)) == []

    id, (topic, key, seq) = chosen[19]
    shop.kafka.produce(topic, wrapped(id, seq), key=key, headers={"id": id})
    shop.kafka.produce(topic, wrapped("gone", seq + 1, doomed=True), key=key, headers={"id": "gone"})
    found = " ".join(check_records(dict(chosen[:21]), verify.read_records(shop)))
    assert all(re.search(rf"\b1 {what}", found) for what in ("lost", "repeated", "rolled back", "out of order")), found


def test_a_huge_transaction_keeps_the_sequences(shop):
    shop.psql(writers.SETUP)
    crew = writers.Writers(shop, "huge", count=2).start()
    crew.huge()
    crew.huge()
    crew.stop()
    committed = writers.committed(shop)
    assert check_committed(committed) == []
    assert len(committed) >= writers.HUGE_ROWS


def test_an_ack_ahead_of_the_position_is_seen(shop):
    shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', '{shop.decoder}')")
    topic = f"walferry.position.{shop.name}"
    sampler = Sampler(shop)
    shop.kafka.create_topic(topic, 1, cleanup_policy="compact")
    assert sampler.sample() is None, "no position yet"
    flush = shop.confirmed_flush()
    for end, idle, sound in ((flush, 0, True), (0, flush, True), (flush - 1, 0, False), (flush - 1, flush + 1, True)):
        shop.kafka.produce(topic, json.dumps(position(end, commit=0, idle=idle)), key="current")
        sampler.problems.clear()
        assert sampler.sample() == (flush, max(end, idle))
        assert (sampler.problems == []) == sound
    for n in range(100):  # the newest of many
        shop.kafka.produce(topic, json.dumps(position(flush + n + 2, commit=0)), key="current")
    assert sampler.sample()[1] == flush + 101
    sampler.stop()


def test_events_that_fail_leave_gaps_that_are_none():
    committed, records = world()
    failed = {"a-1", "b-4", "b-5", "c-10"}
    left = [r for r in records if r.id not in failed]
    assert check_records(committed, left, failed) == []
    assert any("gaps" in p for p in check_records(committed, [r for r in left if r.id != "b-6"], failed))
    assert any("all the same" in p for p in check_records(committed, records, failed))


class Inbox:
    """Six events of two keys in two partitions, the fourth of them poison; the first once more at the end, and one in both
    partitions."""

    def __init__(self):
        sent = [(p, key, f"{key}-{n}") for n in range(1, 4) for p, key in enumerate(("a", "b"))]
        sent += [(0, "a", "a-1"), (0, "w", "w"), (1, "w", "w")]
        self.records = []
        for partition, key, id in sent:
            offset = sum(1 for r in self.records if r[0] == partition)
            self.records.append((partition, offset, key, "one", id, id == "b-2"))
        self.letters = [(1, 1)]
        self.effects = [("one", id, key, 1) for key, id in
                        (("w", "w"), ("b", "b-1"), ("a", "a-1"), ("a", "a-2"), ("b", "b-3"), ("a", "a-3"))]
        self.marks = {(e[0], e[1]) for e in self.effects}

    def problems(self):
        return check_effects(self.records, self.effects, self.letters, self.marks)

    def handled(self, n, **changes):
        """Replaces what is known of one effect."""
        names = ("source", "id", "key", "times")
        self.effects[n] = tuple(changes.get(name, was) for name, was in zip(names, self.effects[n]))


def test_a_faithful_inbox_has_no_problems():
    assert Inbox().problems() == []


@pytest.mark.parametrize("wrong, complaint", [
    (lambda i: i.effects.pop(), "lost"),
    (lambda i: i.handled(2, times=2), "handled more than once"),
    (lambda i: i.effects.append(("other", "a-1", "a", 1)), "never sent"),
    (lambda i: i.effects.append(("one", "b-2", "b", 1)), "or fail"),
    (lambda i: i.handled(2, key="b"), "another key"),
    (lambda i: i.effects.insert(2, i.effects.pop(3)), "out of order"),
    (lambda i: i.letters.clear(), "without a dead letter"),
    (lambda i: i.letters.append((1, 1)), "too many"),
    (lambda i: i.letters.append((0, 0)), "too many"),
    (lambda i: i.marks.pop(), "without a mark"),
    (lambda i: i.marks.add(("one", "b-2")), "marked without"),
])
def test_each_wrong_of_an_inbox_is_found(wrong, complaint):
    inbox = Inbox()
    wrong(inbox)
    assert any(complaint in problem for problem in inbox.problems()), inbox.problems()


def test_an_event_in_two_partitions_has_no_place_of_its_own():
    inbox = Inbox()
    inbox.effects.append(inbox.effects.pop(0))
    assert inbox.problems() == []


def test_offsets_stand_behind_the_last_record():
    records = Inbox().records
    assert check_offsets(records, {0: 5, 1: 4, 2: 0}, {0: 5, 1: 6, 2: 0}) == []
    for wrong in ({0: 4, 1: 4, 2: 0}, {0: 5, 1: 7, 2: 0}, {0: 5, 1: 4}):
        assert len(check_offsets(records, wrong, {0: 5, 1: 6, 2: 0})) == 1
