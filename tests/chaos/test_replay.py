"""A replay that is killed again and again, beside a relay that works and writers that write: in the end each window that was
asked for stands in its topics once more, record for record as the relay has published it. WALFERRY_CHAOS_SEED=N brings the
moments of a run back."""
import collections
import json
import os
import random
import re
import time

import pytest

from chaos import verify, writers
from harness.servers import lsn_number, lsn_text

KILLS = 10
HUGE_ROWS = 40_000
ROWS = 20_000
WRITE_SECONDS = 5

_LSN = re.compile(r"(?:^|,)wf_lsn=([^,]*)")


def test_ten_kills_leave_no_trace(shop, capfd):
    seed = int(os.environ.get("WALFERRY_CHAOS_SEED") or random.SystemRandom().randrange(1, 10**6))
    with capfd.disabled():
        print(f"WALFERRY_CHAOS_SEED={seed}", flush=True)
    rng = random.Random(f"replay/{seed}")
    shop.config["postgres"]["replay"] = {"keep": "1h"}
    shop.psql(writers.SETUP)
    shop.init()
    oldest = lsn_text(shop.postgres.confirmed_flush(shop.slot + "_replay"))
    relay = shop.relay()
    crew = writers.Writers(shop, f"replay{seed}", huge_rows=HUGE_ROWS)
    try:
        crew.start()
        crew.huge()
        time.sleep(WRITE_SECONDS)
        suffixes = replay_under_kills(shop, rng, "--from", oldest)
    finally:
        crew.stop()
    writers.quiesced(shop)
    assert relay.terminate() == 0, relay.log_tail()
    shop.drain()
    first = read(shop, "")
    assert verify.check_records(writers.committed(shop), verify_records(shop)) == []
    runs = {json.loads(r["payload"])["run"]["id"]: json.loads(r["payload"])["run"]
            for r in shop.kafka.consume(f"walferry.position.{shop.name}.replay")}
    assert len(runs) == len(suffixes) and all(run["finished"] for run in runs.values())
    for run, suffix in zip(sorted(runs.values(), key=lambda run: lsn_number(run["to"])), suffixes, strict=True):
        compare(first, read(shop, suffix), lsn_number(run["to"]), run["records"])


@pytest.mark.decoder("pgoutput")
def test_ten_kills_of_a_replay_of_rows_leave_no_trace(shop, capfd):
    """Each run has the rows of the moment at which it began: all that were there from the start, none twice."""
    seed = int(os.environ.get("WALFERRY_CHAOS_SEED") or random.SystemRandom().randrange(1, 10**6))
    with capfd.disabled():
        print(f"WALFERRY_CHAOS_SEED={seed}", flush=True)
    shop.psql(writers.SETUP)
    shop.init()
    shop.insert_many(ROWS)
    first = shop.outbox_ids()
    with shop.relay() as relay:
        crew = writers.Writers(shop, f"rows{seed}", huge_rows=0)
        try:
            crew.start()
            suffixes = replay_under_kills(shop, random.Random(f"rows/{seed}"), "--source", "table")
        finally:
            crew.stop()
        assert relay.running and relay.count("relay.recovering") == 0
    writers.quiesced(shop)
    stored = {}
    for record in shop.kafka.consume(f"walferry.position.{shop.name}.replay"):
        stored[record["key"]] = json.loads(record["payload"])["run"]
    assert len(stored) == len(suffixes) and all(run["finished"] for run in stored.values())
    rows = shop.outbox_ids()
    for run, suffix in zip(sorted(stored.values(), key=lambda run: run["list"]), suffixes, strict=True):
        ids = [line.split("id=", 1)[1].split(",", 1)[0] for aggregate in ("orders", "payments")
               for line in shop.kafka.consume_format(shop.topic(aggregate) + suffix, "%h")]
        assert len(ids) == len(set(ids)) == run["records"] and first <= set(ids) <= rows
    assert shop.psql("select count(*) from pg_class where relname like 'replay\\_%' and relkind = 'r'") == "0"


def replay_under_kills(shop, rng, *args):
    """The suffixes of the windows replayed; a new one whenever one was done, so that there is always something to kill."""
    suffixes, kills = [".r0"], 0
    while True:
        last = kills >= KILLS
        run = shop.start("replay", *args, "--topic-suffix", suffixes[-1])
        if last:
            run.expect_exit(0, 120)
            shop.wait_markers()
            return suffixes
        deadline = time.monotonic() + rng.uniform(0.1, 1.0)
        while run.running and time.monotonic() < deadline:
            time.sleep(0.005)
        if run.running:
            run.kill9()
            kills += 1
        else:
            run.expect_exit(0)
            suffixes.append(f".r{len(suffixes)}")


def verify_records(shop):
    return [r for r in verify.read_records(shop) if r.topic.endswith(".v1")]


def read(shop, suffix):
    """{(aggregate, partition): [(LSN, key, the rest)]} in the order of the offsets."""
    found = collections.defaultdict(list)
    for aggregate in ("orders", "payments"):
        for line in shop.kafka.consume_format(shop.topic(aggregate) + suffix, "%p %k %T %h %s"):
            partition, rest = line.split(" ", 1)
            rest = re.sub(r"wf_replay=[^, ]*,?", "", rest)
            found[aggregate, int(partition)].append((lsn_number(_LSN.search(rest.split(" ", 3)[2])[1]),
                                                      rest.replace(", ", " ")))
    return found


def compare(first, again, to, records):
    wanted = {place: [r for r in rows if r[0] <= to] for place, rows in first.items()}
    wanted = {place: rows for place, rows in wanted.items() if rows}
    assert {place: len(rows) for place, rows in again.items()} == {place: len(rows) for place, rows in wanted.items()}
    for place, rows in wanted.items():
        differ = next((i for i, pair in enumerate(zip(rows, again[place])) if pair[0] != pair[1]), None)
        assert differ is None, f"{place} at {differ}: {again[place][differ]}, not {rows[differ]}"
    assert sum(len(rows) for rows in wanted.values()) == records > 0
