"""What must be true, seen from outside: of the records in the end, of slot and position all the while."""
import collections
import json
import re
import subprocess
import threading
import time

from harness.postgres import SqlError, lsn_number, lsn_text

Record = collections.namedtuple("Record", "topic partition offset id key seq doomed")

_ID = re.compile(r"(?:^|,)id=([^,]*)")
_SHOWN = 5


def read_records(shop):
    """Every committed record of every topic of the instance, each partition in the order of its offsets."""
    records = []
    for topic in shop.event_topics():
        for line in shop.kafka.consume_format(topic, "%p %o %k %h %s"):
            partition, offset, key, headers, payload = line.split(" ", 4)
            found = _ID.search(headers)
            inner = (json.loads(payload).get("payload") or {}) if payload else {}
            records.append(Record(topic, int(partition), int(offset), found[1] if found else None, key,
                                  inner.get("seq"), bool(inner.get("doomed"))))
    return records


def _problems():
    """A list, and what adds to it where there is something to report."""
    problems = []

    def report(what, items):
        items = list(items)
        if items:
            shown = ", ".join(str(i) for i in items[:_SHOWN])
            problems.append(f"{len(items)} {what}: {shown}" + (", ..." if len(items) > _SHOWN else ""))
    return problems, report


def check_records(committed, records, failed=()):
    """Problems as texts; none means exactly once, in order, nothing else.

    committed: {id: (topic, key, seq)}; records: each partition's in the order of its offsets; failed: ids that have none.
    """
    problems, report = _problems()
    times = collections.Counter(r.id for r in records)
    report("lost", [f"{id} {committed[id]}" for id in committed if id not in times and id not in failed])
    report("that failed, and are there all the same", [id for id in failed if id in times])
    report("repeated", [f"{id} {n} times" for id, n in times.items() if n > 1])
    report("rolled back or not transactional, and published all the same", [r for r in records if r.doomed])
    report("never committed", [r for r in records if r.id not in committed and not r.doomed])
    report("with another topic, key or sequence than their row",
           [r for r in records if r.id in committed and committed[r.id] != (r.topic, r.key, r.seq)])

    partitions = collections.defaultdict(set)
    last = {}
    left_out = {committed[id] for id in failed if id in committed}
    swapped, gaps = [], []
    for r in records:
        if r.seq is None or r.doomed:
            continue
        partitions[r.topic, r.key].add(r.partition)
        before = last.get((r.topic, r.key), 0)
        while (r.topic, r.key, before + 1) in left_out and r.seq > before + 1:
            before += 1
        if r.seq <= before:
            swapped.append(f"{r.key} at {r.topic}/{r.partition}/{r.offset}: {r.seq} after {before}")
        elif r.seq != before + 1:
            gaps.append(f"{r.key} at {r.topic}/{r.partition}/{r.offset}: {r.seq} after {before}")
        last[r.topic, r.key] = max(before, r.seq)
    report("out of order in their key", swapped)
    report("gaps in the sequence of a key", gaps)
    report("keys in several partitions", [f"{key} in {sorted(p)}" for key, p in partitions.items() if len(p) > 1])
    return problems


def check_committed(committed):
    """The writers' own promise, without which the above proves little: each key's sequence is 1, 2, 3, ..."""
    sequences = collections.defaultdict(list)
    for topic, key, seq in committed.values():
        sequences[topic, key].append(seq)
    return [f"the writers left a broken sequence for {key}" for key, seqs in sequences.items()
            if sorted(seqs) != list(range(1, len(seqs) + 1))]


def check_inbox(ledger, lost=()):
    """Problems as texts, of an inbox that is through with its topic. lost: places that may be dead letters, though their
    events are none that must fail."""
    records = ledger.records()
    return (check_effects(records, ledger.effects(), ledger.letter_places(), ledger.marks(), lost)
            + check_offsets(records, ledger.inbox.offsets(), ledger.inbox.kafka.end_offsets(ledger.inbox.topic))
            + [f"left behind in {what}: {rows[:_SHOWN]}" for what, rows in (
                ("inbox_attempts", ledger.attempts()), ("inbox_parked", ledger.parked()),
                ("inbox_offsets, dirty", ledger.dirty())) if rows])


def check_effects(records, effects, letters, marks, lost=()):
    """Each event's effect once and in order, each that fails one dead letter for each of its records, and nothing else.

    records: (partition, offset, key, source, id, fails), each partition's in the order of its offsets; effects:
    (source, id, key, times) in the order in which they came about; letters: (partition, offset); marks: (source, id)."""
    problems, report = _problems()
    places = collections.defaultdict(set)  # partitions of each event
    wanted = {}  # event: key, in the order of the first records
    failing = set(lost)
    for partition, offset, key, source, id, fails in records:
        if fails:
            failing.add((partition, offset))
        elif (partition, offset) not in failing:
            places[source, id].add(partition)
            wanted.setdefault((source, id), key)
    found = {(source, id): times for source, id, _, times in effects}
    report("lost", [e for e in wanted if e not in found])
    report("handled more than once", [f"{e} {times} times" for e, times in found.items() if times != 1])
    report("handled that were never sent, or fail", [e for e in found if e not in wanted])
    report("handled with another key", [(s, i) for s, i, key, _ in effects if wanted.get((s, i), key) != key])
    report("out of order in their key", _out_of_order(
        {e: key for e, key in wanted.items() if e in found and len(places[e]) == 1}, effects))

    times = collections.Counter(letters)
    report("without a dead letter", sorted(failing - set(times)))
    report("dead letters too many", [f"{place} {n} times" for place, n in times.items()
                                     if n > 1 or place not in failing])
    report("handled without a mark", sorted(set(found) - marks))
    report("marked without having been handled", sorted(marks - set(found)))
    return problems


def _out_of_order(wanted, effects):
    """Per key: the first effect that is not the one which its records have at that place."""
    sent, made = collections.defaultdict(list), collections.defaultdict(list)
    for event, key in wanted.items():
        sent[key].append(event)
    for source, id, key, _ in effects:
        if (source, id) in wanted:
            made[key].append((source, id))
    return [next(f"{key}: {b} where {a} was due" for a, b in zip(sent[key], made[key]) if a != b)
            for key in sent if sent[key] != made[key]]


def check_offsets(records, offsets, ends):
    """Each stored offset is behind the last record, and not behind the end of the log: {partition: offset}."""
    behind = dict.fromkeys(ends, 0)
    for record in records:
        behind[record[0]] = record[1] + 1
    return [f"partition {p} stands at {offsets.get(p)}, its last record before {behind[p]}, its end is {ends[p]}"
            for p in ends if not behind[p] <= offsets.get(p, -1) <= ends[p]]


def ack_lsn(position):
    """How far a position allows the slot to be."""
    return max(lsn_number(position["end_lsn"]), lsn_number(position["idle_end_lsn"]))


def check_positions(positions):
    """All committed values of the position topic, oldest first: it only moves forward."""
    problems = []
    before = None
    for position in positions:
        if position.get("state") == "intent":
            continue
        here = (ack_lsn(position), lsn_number(position["commit_lsn"]),
                float("inf") if position["complete"] else position["next_index"])
        if before is not None and (here[0] < before[0] or here[1:] < before[1:]):
            problems.append(f"the position moved backwards: from {before} to {here} ({position})")
        before = here
    return problems[:_SHOWN]


def read_positions(shop):
    lines = shop.kafka.consume_format(f"walferry.position.{shop.name}", "%k %s")
    return [json.loads(value) for key, _, value in (line.partition(" ") for line in lines) if key == "current" and value]


class Sampler:
    """Reads confirmed_flush_lsn, then the committed position, again and again; the first must never be ahead.

    The order matters: both only grow, so a position read later may be further, but never behind what was acked."""

    def __init__(self, shop, interval=0.25, broker_is_fresh=lambda: False):
        """broker_is_fresh: whether it was restarted or frozen a moment ago. Then a reader may for a moment be shown an
        older end of the topic, so that a position that seems behind is read once more."""
        self._shop = shop
        self._interval = interval
        self._broker_is_fresh = broker_is_fresh
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._session = None
        self.samples = 0
        self.missed = 0  # a server was away
        self.moved = 0  # samples in which the slot was further than before
        self.problems = []

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._session is not None:
            self._session.close()
            self._session = None

    def sample(self):
        """One sample. None when a server does not answer, else (slot, position)."""
        flush = self._confirmed_flush()
        position = self._position() if flush is not None else None
        if position is None:
            return None
        allowed = ack_lsn(position)
        if flush > allowed and self._broker_is_fresh():
            time.sleep(1)
            position = self._position()
            if position is None:
                return None
            allowed = ack_lsn(position)
        if flush > allowed:
            self.problems.append(f"confirmed_flush {lsn_text(flush)} is ahead of the committed position "
                                 f"{lsn_text(allowed)}: {position}")
        return flush, allowed

    def _run(self):
        before = 0
        while not self._stop.is_set():
            seen = self.sample()
            if seen is None:
                self.missed += 1
            else:
                self.samples += 1
                self.moved += seen[0] > before
                before = seen[0]
            if len(self.problems) > 20:
                return
            self._stop.wait(self._interval)

    def _confirmed_flush(self):
        try:
            self._session = self._session or self._shop.postgres.session()
            text = self._session.run(
                f"select confirmed_flush_lsn from pg_replication_slots where slot_name = '{self._shop.slot}'", timeout=10)
            return lsn_number(text) if "/" in text else None
        except (SqlError, OSError, ValueError, TimeoutError):
            if self._session is not None:
                self._session.close()
                self._session = None
            return None

    def _position(self):
        """The newest committed one. Looks at the end of the topic only: it is read several times a second."""
        for tail in ("-60", "beginning"):
            try:
                done = subprocess.run(
                    ["kcat", "-b", self._shop.kafka.brokers, "-C", "-t", f"walferry.position.{self._shop.name}",
                     "-p", "0", "-o", tail, "-e", "-q", "-u", "-f", "%k %s\n", "-X", "isolation.level=read_committed",
                     "-X", "auto.offset.reset=earliest", "-X", "fetch.wait.max.ms=50"],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=8)
            except subprocess.TimeoutExpired:
                return None
            if done.returncode != 0:
                return None
            values = [line.partition(" ")[2] for line in done.stdout.decode().splitlines()
                      if line.startswith("current ")]
            if values:
                return json.loads(values[-1])
        return None
