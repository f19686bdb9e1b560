"""A snapshot of an outbox that is written to all the while, killed at ten random moments: afterwards every event once, in
order, and nothing else. WALFERRY_CHAOS_SEED=N brings the delays back."""
import os
import random
import time

from chaos import verify, writers

KILLS_WHILE_STARTING, KILLS_WHILE_PUBLISHING = 4, 6
SEEDED = 1000  # events of each key that stand in the outbox at first

# Messages and tidied rows are in no table, so that no snapshot has them. occurred_at gives each key its order; it is the
# record's timestamp too, so it must not be one that the topic's retention has left behind.
ROWS_ONLY = f"""
alter table outbox add column occurred_at timestamptz not null default now();
create or replace function emit(k text, rows int, doomed bool) returns void language sql as $$
  with c as (update counters set seq = seq + rows where key = k returning *)
  insert into outbox (id, aggregatetype, aggregateid, type, payload, occurred_at)
  select gen_random_uuid(), aggregate, k, 'Counted', jsonb_build_object('seq', c.seq - rows + n, 'doomed', doomed),
         to_timestamp({int(time.time())} + (c.seq - rows + n) / 1000.0)
  from c, generate_series(1, rows) n order by n
$$;
create or replace function emit_tidily(k text, doomed bool) returns void language sql as $$ select emit(k, 1, doomed) $$;
create or replace function emit_as_message(k text, doomed bool) returns void language sql as $$ select emit(k, 1, doomed) $$;
select emit(key, {SEEDED}, false) from counters;
"""


def kill_at_random(shop, rng, after, seconds, **fields):
    """Whether it had come to the stream."""
    run = shop.start("relay", *(["--snapshot"] if rng.random() < 0.7 else []))
    run.wait_event(after, **fields)
    time.sleep(rng.uniform(0, seconds))
    assert run.running, run.log_tail()
    run.kill9()
    return run.find("relay.streaming") is not None


def test_a_snapshot_is_published_once_whatever_is_killed(shop, capfd):
    seed = int(os.environ.get("WALFERRY_CHAOS_SEED") or random.SystemRandom().randrange(1, 10**6))
    with capfd.disabled():
        print(f"WALFERRY_CHAOS_SEED={seed}", flush=True)
    rng = random.Random(seed)
    shop.psql(writers.SETUP + ROWS_ONLY)
    crew = writers.Writers(shop, seed, count=2).start()
    first = shop.start("relay", "--snapshot")  # the others may come without the option: the intent has it
    first.wait_event("relay.slot_created")
    first.kill9()
    for _ in range(KILLS_WHILE_STARTING - 1):
        kill_at_random(shop, rng, "process.started", 0.5)
    late = sum(kill_at_random(shop, rng, "position.committed", 0.05, records=lambda n: n > 0)
               for _ in range(KILLS_WHILE_PUBLISHING))
    crew.stop()
    writers.quiesced(shop)
    shop.drain()
    committed, records = writers.committed(shop), verify.read_records(shop)
    problems = (verify.check_committed(committed) + verify.check_records(committed, records)
                + verify.check_positions(verify.read_positions(shop)))
    assert not problems, "\n".join([f"seed {seed}", *problems])
    assert not crew.complaints and not shop.quarantined()
    marked = [line for topic in shop.event_topics() for line in shop.kafka.consume_format(topic, "%h")
              if "wf_snapshot=true" in line]
    assert len(records) > len(marked) >= SEEDED * writers.KEYS
    assert late <= KILLS_WHILE_PUBLISHING / 2, f"seed {seed}: {late} kills came when the snapshot was through"
