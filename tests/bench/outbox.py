"""Outbox: one workload's database, with the slots that contestants get copies of. Knows nothing of Kafka."""
import concurrent.futures
import re

from harness.postgres import lsn_text

PUBLICATION = "bench"
PLUGINS = ("pgoutput", "wal2json")
KEYS = 1000
VARIANTS = 20_000  # payloads that differ in all but their field names; fewer where they are large
VARIANTS_BYTES = 40_000_000

# Orders as JSON: names, numbers, and words up to the size asked for, which jsonb's text then has exactly.
SAMPLES = """
create function words(count int) returns text language sql volatile as $$
  select string_agg((array['amber','bicycle','canal','delivery','evening','fragile','garden','handle','indigo','jacket',
    'kettle','lantern','morning','narrow','orchard','parcel','quarter','return','saddle','towards','upstairs','village',
    'window','yellow','zipper','left','with','the','neighbour','please','ring','twice','behind','gate','code','and'])
    [1 + floor(random() * 36)::int], ' ') from generate_series(1, count)
$$;
create function sample_payload(bytes int) returns jsonb language plpgsql volatile as $$
declare base jsonb; room int;
begin
  base := jsonb_build_object('n', 10000000, 'order_id', gen_random_uuid(), 'currency', 'EUR',
    'customer', jsonb_build_object('id', 1 + floor(random() * 99999)::int, 'city', words(1), 'street', words(2),
                                   'email', words(1) || floor(random() * 9999) || '@example.com'),
    'total', round((random() * 900)::numeric, 2), 'placed_at', clock_timestamp() - random() * interval '300 days',
    'lines', (select jsonb_agg(jsonb_build_object('sku', upper(substr(md5(random()::text), 1, 8)), 'quantity',
                1 + floor(random() * 9)::int, 'price', round((random() * 99)::numeric, 2), 'title', words(2)))
              from generate_series(1, greatest(1, least(bytes / 500, 100)))), 'note', '');
  room := bytes - octet_length(base::text);
  if room < 0 then raise 'a payload has % bytes at least', bytes - room; end if;
  return base || jsonb_build_object('note', left(repeat(words(least(1 + room / 2, 20000)), 1 + room / 20000), room));
end $$;
create unlogged table sample as select n, sample_payload({bytes}) payload from generate_series(1, {variants}) n;
create unique index on sample (n);
analyze sample;
"""

# rows A to B of the run; each has a number of its own, in place of the sample's, of the same length.
ROWS = """
select gen_random_uuid() id, 'order' aggregatetype, 'customer-' || g % {keys} aggregateid, 'OrderPlaced' type,
       (s.payload || jsonb_build_object('n', 10000000 + g)) payload
from generate_series({first}, {last}) g join sample s on s.n = 1 + g % {variants}"""
AS_ROWS = """insert into outbox (id, aggregatetype, aggregateid, type, payload)
select id, aggregatetype, aggregateid, type, payload::{type} from ({rows}) r"""
AS_MESSAGES = """perform pg_logical_emit_message(true, 'walferry', json_build_object('id', id, 'type', type,
'aggregate', aggregatetype, 'key', aggregateid, 'occurred_at', now(), 'payload', payload)::text) from ({rows}) r"""

# The plans that a planner makes who knows nothing of the numbers in a function are worse by far.
PLANS = "set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;"

LOAD = """
create procedure load(first int, last int, per int) language plpgsql as $$
begin
  while first <= last loop
    {statement};
    commit;
    first := first + per;
  end loop;
end $$;
"""


class Outbox:
    """bytes: of each payload as text. payload: type of its column. messages: logical messages and no rows."""

    def __init__(self, bench, name, bytes=500, payload="jsonb", messages=False):
        self.bench, self.db, self.postgres, self.kafka = bench, f"bench_{name}", bench.postgres, bench.kafka
        self.written = 0
        self._runs = 0
        self.postgres.psql(f'create database "{self.db}"')
        variants = max(1, min(VARIANTS, VARIANTS_BYTES // bytes, bench.options.rows))
        rows = ROWS.format(keys=KEYS, variants=variants, first="first", last="least(first + per - 1, last)")
        statement = AS_MESSAGES.format(rows=rows) if messages else AS_ROWS.format(rows=rows, type=payload)
        self.psql(f"""
            create table outbox (id uuid primary key, aggregatetype text not null, aggregateid text not null,
                                 type text not null, payload {payload});
            create publication {PUBLICATION} for table outbox
              with (publish = 'insert', publish_via_partition_root = true);""")
        self.psql(SAMPLES.replace("{bytes}", str(bytes)).replace("{variants}", str(variants)) +
                  LOAD.replace("{statement}", statement), timeout=300)
        for plugin in PLUGINS:
            self.psql(f"select pg_create_logical_replication_slot('{self.slot(plugin)}', '{plugin}')")

    def psql(self, sql, timeout=600):
        return self.postgres.psql(sql, self.db, timeout=timeout)

    def slot(self, plugin):
        """The slot that is copied, and never read."""
        return f"{self.db}_{plugin}"

    def run_name(self, contestant):
        """For slot, topic and instance of one run; no other has it."""
        self._runs += 1
        return f"{self.db}_{self._runs}_{re.sub('[^a-z0-9]', '_', contestant)}"

    def copy_slot(self, plugin, name):
        self.psql(f"select pg_copy_logical_replication_slot('{self.slot(plugin)}', '{name}')")

    def advance(self):
        """Copies of the slots that are made from now on yield nothing of what was written so far."""
        for plugin in PLUGINS:
            self.psql(f"select pg_replication_slot_advance('{self.slot(plugin)}', pg_current_wal_flush_lsn())")

    def write(self, count, per_transaction):
        """More events, from two sessions where there is more than one transaction. What the server does in the background
        after that is done before this returns."""
        middle, last = self.written + count // 2 // per_transaction * per_transaction, self.written + count
        parts = [(first, to) for first, to in ((self.written + 1, middle), (middle + 1, last)) if first <= to]
        self.written = last
        with concurrent.futures.ThreadPoolExecutor(len(parts)) as sessions:
            list(sessions.map(lambda part: self.psql(f"""set synchronous_commit = off; {PLANS}
                call load({part[0]}, {part[1]}, {per_transaction})""", 1800), parts))
        self.psql("checkpoint")

    def write_steadily(self, per_second, seconds, per_transaction):
        """The same at a pace; returns when it is over."""
        first = self.written + 1
        self.written += round(per_second * seconds)
        self.psql(f"""{PLANS}
            create procedure pg_temp.pace() language plpgsql as $$
            declare began timestamptz := clock_timestamp(); at int := {first}; due timestamptz;
            begin
              while at <= {self.written} loop
                call load(at, least(at + {per_transaction} - 1, {self.written}), {per_transaction});
                at := at + {per_transaction};
                due := began + (at - {first}) * interval '1 second' / {per_second};
                perform pg_sleep(extract(epoch from due - clock_timestamp()));
              end loop;
            end $$;
            call pg_temp.pace()""", timeout=seconds * 2 + 60)

    def end(self):
        """LSN up to which everything is in the WAL, as text."""
        return lsn_text(self.postgres.flush_lsn())

    def started_ms(self, slot):
        """Wall clock of every START_REPLICATION for the slot, from the server's own log."""
        wanted = re.compile(rb'^(\d+)\.(\d{3}) \[\d+\] .*received replication command: START_REPLICATION SLOT "?'
                            + slot.encode() + rb'"? ', re.M)
        return [int(s) * 1000 + int(ms) for s, ms in wanted.findall(self.postgres.log_path.read_bytes())]

    def close(self):
        self.postgres.drop_database(self.db)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

