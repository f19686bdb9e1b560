"""`walferry relay --sink stdout` and `--dry-run N`: what would be published, from a copy of the slot. The slot stays as it
is, and Kafka is not even asked: its address in these configs is one where nobody listens."""
import json
import os
import signal
import subprocess
import time

import pytest

from harness import system
from harness.servers import lsn_text
from harness.walferry import binary
from integration_checks import assert_refused, ready, wait_acked


@pytest.fixture
def kept(shop):
    """An instance that was stopped, so that its slot holds back what comes from now on."""
    return ready(shop)


def offline(shop, **sections):
    return shop.changed(**{"kafka": {"brokers": "127.0.0.1:1"}, **sections})


def lines(run):
    return [json.loads(line) for line in run.stdout.decode().splitlines()]


def preview(shop, *args, config=None, **kwargs):
    """To the end; nothing of the slot may have moved."""
    before = place(shop)
    run = shop.run("relay", "--sink", "stdout", *args, config=config or offline(shop), **kwargs)
    assert place(shop) == before
    return run


def place(shop):
    row = shop.postgres.slot(shop.slot)
    return row["confirmed_flush_lsn"], row["restart_lsn"], row["catalog_xmin"]


def copies(shop):
    return shop.query("select slot_name, confirmed_flush_lsn from pg_replication_slots where temporary and "
                      f"database = '{shop.db}'")


def wait_lines(run, count, timeout=20):
    system.wait_for(lambda: run.stdout.count(b"\n") >= count, timeout, f"{count} lines")


# What is printed


def test_what_is_printed_is_what_the_relay_publishes_then(kept):
    kept.psql("alter table outbox add headers jsonb, add partition int, add occurred_at timestamptz, "
              "alter payload type text")
    kept.insert(3)
    kept.psql("""insert into outbox (aggregatetype, aggregateid, type, payload, headers, partition, occurred_at) values
        ('orders', 'k"ü', 'OrderPaid', E'{\n  "amount": 1e400,\n  "text": "a\\\\nb"\n}', '{"x": "y"}', 2, '2026-11-20 08:00:00.5+00')""")
    kept.psql("begin; insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', 'Never'); rollback")
    kept.psql("select pg_logical_emit_message(true, 'walferry', "
              """'{"id":"m-1","type":"OrderNoted","aggregate":"orders","key":"k1","payload":{"n":1}}')""")
    topics, position = kept.kafka.topics(), kept.position()
    run = preview(kept, "--until", "now").expect_exit(0)
    assert kept.kafka.topics() == topics and kept.position() == position and not kept.events()
    printed = lines(run)
    assert len(printed) == 5 and [p["index"] for p in printed] == [0, 1, 2, 0, 0]

    kept.drain()
    published = {r["headers"]["id"]: r for r in kept.events()}
    assert len(published) == 5
    for line in printed:
        record = published[line["headers"]["id"]]
        assert {"topic": record["topic"], "key": record["key"], "timestamp": record["ts"]}.items() <= line.items()
        assert line["headers"] == record["headers"]
        assert line["value"] == record["event"]
        assert line["partition"] in (None, record["partition"])
        assert (line["lsn"], str(line["xid"])) == (record["headers"]["wf_lsn"], record["headers"]["wf_tx"])
    assert printed[3]["partition"] == 2 and printed[0]["partition"] is None
    assert b'"amount": 1e400' in run.stdout, "numbers stay as they were written"


def test_a_row_for_the_quarantine_is_printed_as_such(kept):
    kept.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', '', '{}')")
    kept.insert(1)
    run = preview(kept, "--until", "now").expect_exit(0)
    bad, good = lines(run)
    assert bad["topic"] == kept.quarantine_topic and bad["quarantined"] is True
    assert bad["headers"]["wf_error_code"] == bad["value"]["error"]["code"] == "missing_type"
    assert good["topic"] == kept.topic() and "quarantined" not in good
    assert run.find("preview.done", events=2, quarantined=1)


def test_with_on_invalid_stop_it_ends_where_the_relay_would(kept):
    kept.insert(2)
    kept.psql("insert into outbox (aggregatetype, aggregateid, type, payload) values ('orders', 'k', '', '{}')")
    run = preview(kept, "--until", "now", config=offline(kept, relay={"on_invalid": "stop"})).expect_exit(3)
    assert run.refusal["code"] == "row_invalid" and len(lines(run)) == 2


def test_a_transaction_larger_than_the_queue_is_printed_whole(kept):
    kept.insert_many(20_000, payload_bytes=500)
    run = preview(kept, "--until", "now").expect_exit(0)
    printed = lines(run)
    assert [p["index"] for p in printed] == list(range(20_000)) and len({p["xid"] for p in printed}) == 1


# Where it ends


def test_a_dry_run_ends_after_so_many_events(kept):
    kept.insert(3)
    kept.insert(3)
    before = place(kept)
    run = kept.run("relay", "--dry-run", "4", config=offline(kept)).expect_exit(0)
    assert [p["index"] for p in lines(run)] == [0, 1, 2, 0]
    assert run.find("preview.done", events=4)
    few = kept.run("relay", "--dry-run", "100", "--until", "now", config=offline(kept)).expect_exit(0)
    assert len(lines(few)) == 6 and place(kept) == before


def test_until_an_lsn_ends_there(kept):
    kept.insert(2)
    middle = kept.postgres.flush_lsn()
    kept.insert(2)
    run = preview(kept, "--until", lsn_text(middle)).expect_exit(0)
    assert len(lines(run)) == 2


def test_until_now_with_nothing_to_print_ends_too(kept):
    assert preview(kept, "--until", "now").expect_exit(0).stdout == b""


def test_it_follows_a_running_relay_until_it_is_stopped(shop):
    """The copy is made beside the relay that holds the slot, moves on while nothing comes, and is gone in the end."""
    relay = shop.relay()
    shop.insert(2)
    wait_acked(shop, shop.postgres.flush_lsn())
    follower = shop.start("relay", "--sink", "stdout", config=offline(shop))
    follower.wait_event("preview.streaming")
    ids = shop.insert(2)
    wait_lines(follower, 2)
    assert [p["headers"]["id"] for p in lines(follower)][-2:] == ids
    copy, = copies(shop)
    assert str(shop.postgres.query("select active_pid from pg_replication_slots where temporary")[0]["active_pid"]) in copy["slot_name"]
    shop.psql("create table elsewhere as select generate_series(1, 1000)")
    wanted = shop.postgres.flush_lsn()
    system.wait_for(lambda: shop.postgres.confirmed_flush(copy["slot_name"]) >= wanted, 30, "the copy moves on")
    assert follower.terminate() == 0
    system.wait_for(lambda: not copies(shop), 10, "the copy is gone")
    assert relay.running and relay.count("relay.streaming") == 1 and not relay.find("relay.recovering")
    assert relay.terminate() == 0
    shop.assert_exactly_once()


@pytest.mark.parametrize("more", [True, False])
def test_a_reader_that_has_enough_is_no_error(kept, more):
    """As with `| head -1`; the second case is one where nothing more comes that could fail to be written."""
    kept.insert(2000 if more else 1)
    path = kept.write_config(offline(kept), "head.yaml")
    reader, writer = os.pipe()
    walferry = system.spawn([binary(), "relay", str(path), "--sink", "stdout", "--log-format", "json"], stdout=writer,
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert json.loads(pipe.readline())["index"] == 0
    _, log = walferry.communicate(timeout=20)
    system.forget(walferry)
    assert walferry.returncode == 0, log.decode()
    assert not [line for line in log.decode().splitlines() if json.loads(line)["level"] in ("warn", "error")]


def test_output_that_cannot_be_written_is_exit_1(kept):
    kept.insert(1)
    path = kept.write_config(offline(kept), "full.yaml")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary(), "relay", str(path), "--sink", "stdout", "--until", "now"], stdout=full,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1 and b"stdout" in done.stderr


def test_a_slow_reader_costs_no_memory_and_loses_no_connection(kept):
    """Nobody reads for longer than the server waits for a silent client, and there is more than all queues hold."""
    kept.insert_many(60_000, payload_bytes=1000)
    conninfo = kept.config["postgres"]["conninfo"] + " options='-c wal_sender_timeout=2s'"
    path = kept.write_config(offline(kept, postgres={"conninfo": conninfo}), "slow.yaml")
    command = [binary(), "relay", str(path), "--sink", "stdout", "--until", "now", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        run.stdout.read(1000)
        time.sleep(5)
        assert run.poll() is None
        with open(f"/proc/{run.pid}/status") as status:
            peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        rest = run.stdout.read()
    assert run.returncode == 0 and rest.count(b"\n") == 60_000
    assert peak_kb < 60 * 1024, f"{peak_kb} kB"


def test_a_stop_is_heard_while_nobody_reads(kept):
    kept.insert_many(20_000, payload_bytes=1000)
    path = kept.write_config(offline(kept), "stuck.yaml")
    with subprocess.Popen([binary(), "relay", str(path), "--sink", "stdout"], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        run.stdout.read(1000)
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
    system.wait_for(lambda: not copies(kept), 10, "the copy is gone")


# What it refuses, and how it fails


def test_without_a_slot_there_is_nothing_to_copy(shop):
    event = assert_refused(shop.run("relay", "--sink", "stdout", config=offline(shop)), shop.slot, "walferry init",
                           codes=("slot_missing",))
    assert event and shop.postgres.slot(shop.slot) is None
    assert shop.query("select count(*) as n from pg_publication") == [{"n": 0}]


def test_a_slot_of_another_kind_is_refused(shop):
    shop.psql(f"select pg_create_logical_replication_slot('{shop.slot}', 'test_decoding')")
    assert_refused(shop.run("relay", "--dry-run", "1", config=offline(shop)), shop.slot, codes=("slot_mismatch",))


@pytest.mark.decoder("pgoutput")
def test_a_publication_taken_away_meanwhile_is_refused(kept):
    run = kept.start("relay", "--sink", "stdout", config=offline(kept))
    run.wait_event("preview.streaming")
    kept.psql(f"alter publication {kept.publication} drop table outbox")
    assert_refused(run, kept.publication, codes=("publication_incomplete",))


def test_a_lost_connection_is_exit_1(kept):
    """The copy is gone with it; to print all again would be a guess."""
    run = kept.start("relay", "--sink", "stdout", config=offline(kept))
    run.wait_event("preview.streaming")
    copy, = copies(kept)
    kept.postgres.terminate_slot_user(copy["slot_name"])
    run.expect_exit(1, timeout=20)
    assert run.find("relay.failed") and not copies(kept)


def test_a_server_that_is_away_is_exit_1(kept):
    port, = system.free_ports(1)
    config = offline(kept, postgres={"conninfo": kept.postgres.conninfo(kept.db, port=port)})
    kept.run("relay", "--dry-run", "1", config=config, timeout=30).expect_exit(1)
