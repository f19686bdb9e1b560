"""The harness itself, without walferry: a test that fails for want of a working proxy would accuse the wrong program."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness import system, wire
from harness.shop import yaml
from harness.servers import SqlError, lsn_number, lsn_text
from harness.walferry import Walferry

pytestmark = pytest.mark.decoder("pgoutput")  # what is tested here knows of none

def test_postgres_is_set_up_for_logical_decoding(postgres):
    assert postgres.value("show wal_level") == "logical"
    assert postgres.value("show wal_sender_timeout") == "5s"
    for plugin in ("pgoutput", "wal2json"):
        postgres.value(f"select pg_create_logical_replication_slot('probe_{plugin}', '{plugin}')")
        assert postgres.slot(f"probe_{plugin}")["plugin"] == plugin
        postgres.drop_slot(f"probe_{plugin}")
        assert postgres.slot(f"probe_{plugin}") is None


def test_sql_errors_are_raised_with_the_servers_text(postgres):
    with pytest.raises(SqlError, match="does not exist"):
        postgres.psql("select * from nothing")


def test_a_session_holds_a_transaction_open(shop):
    with shop.session() as session:
        session.run("begin")
        session.run("insert into outbox (aggregatetype, aggregateid, type) values ('orders', 'k', 'T')")
        assert shop.outbox_ids() == set()
        session.run("commit")
        assert len(shop.outbox_ids()) == 1
        with pytest.raises(SqlError):
            session.run("select 1/0")


def test_inserted_ids_are_those_in_the_outbox_and_a_rollback_leaves_none(shop):
    ids = shop.insert(3)
    shop.insert(2, rollback=True)
    assert shop.outbox_ids() == set(ids)


@pytest.mark.parametrize("mode", ["fast", "smart", "immediate"])
def test_postgres_stops_and_comes_back_with_its_data(shop, mode):
    ids = shop.insert(1)
    shop.postgres.stop(mode)
    assert not shop.postgres.running
    shop.postgres.start()
    assert shop.outbox_ids() == set(ids)


def test_postgres_survives_kill9_with_what_was_committed(shop):
    ids = shop.insert(5)
    children = shop.postgres.children()
    shop.postgres.kill9()
    assert children and not any(map(system.alive, children))
    shop.postgres.start()
    assert shop.outbox_ids() == set(ids)


def test_a_frozen_postgres_answers_again_after_sigcont(postgres):
    postgres.sigstop()
    with pytest.raises(subprocess.TimeoutExpired):
        postgres.psql("select 1", timeout=1)
    postgres.sigcont()
    assert postgres.value("select 1") == "1"


def test_a_disk_image_brings_the_old_state_back(fresh_postgres):
    server = fresh_postgres()
    server.psql("create table t (n int); insert into t values (1)")
    server.stop()
    image = server.copy_data()
    server.start()
    server.psql("insert into t values (2)")
    server.stop()
    server.restore_data(image)
    server.start()
    assert server.psql("select n from t") == "1"


def test_lsn_text_and_number_are_inverse():
    assert lsn_number("1/A") == (1 << 32) + 10
    assert lsn_text(lsn_number("16/B374D848")) == "16/B374D848"


def test_records_come_back_with_key_payload_and_headers(kafka):
    topic = "harness.records"
    kafka.create_topic(topic, 2)
    kafka.produce(topic, "first", key="k", headers={"id": "1", "type": "T"}, partition=0)
    kafka.produce(topic, None, key="k", partition=0)
    kafka.produce(topic, "\u2028", partition=1)
    records = kafka.consume(topic)
    in_0 = [r for r in records if r["partition"] == 0]
    assert [(r["key"], r["payload"], r["offset"]) for r in in_0] == [("k", "first", 0), ("k", None, 1)]
    assert in_0[0]["headers"] == {"id": "1", "type": "T"}
    assert [r["payload"] for r in records if r["partition"] == 1] == ["\u2028"]
    assert kafka.end_offsets(topic) == {0: 2, 1: 1}
    assert kafka.consume("harness.no_such_topic") == []


def test_topics_are_created_configured_grown_truncated_and_deleted(kafka):
    topic = "harness.topic"
    kafka.create_topic(topic, 1, cleanup_policy="compact", max_message_bytes=2000)
    assert kafka.topic_config(topic)["cleanup.policy"] == "compact"
    kafka.set_topic_config(topic, max_message_bytes=3000, cleanup_policy=None)
    assert kafka.topic_config(topic)["max.message.bytes"] == "3000"
    assert kafka.topic_config(topic)["cleanup.policy"] == "delete"
    kafka.add_partitions(topic, 3)
    assert kafka.topics()[topic] == 3
    kafka.produce(topic, "x", partition=0)
    kafka.delete_records(topic)
    assert kafka.consume(topic) == []
    with pytest.raises(wire.KafkaError):
        wire.create_topic(kafka.port, topic)
    kafka.delete_topic(topic)
    assert topic not in kafka.topics()


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_the_broker_comes_back_on_its_port_with_its_records(kafka, how):
    topic = f"harness.restart.{how}"
    kafka.create_topic(topic)
    kafka.produce(topic, "kept")
    time.sleep(0.3)
    getattr(kafka, how)()
    assert not kafka.answers()
    started = time.monotonic()
    kafka.start()
    assert time.monotonic() - started < 20
    assert [r["payload"] for r in kafka.consume(topic)] == ["kept"]


def test_a_frozen_broker_answers_again_after_sigcont(kafka):
    kafka.sigstop()
    assert not kafka.answers()
    kafka.sigcont()
    system.wait_for(kafka.answers, 15, "the broker answers")


def test_a_client_of_the_proxy_stays_on_it(kafka):
    def brokers():
        metadata = subprocess.run(["kcat", "-b", kafka.proxy_brokers, "-L", "-J"], capture_output=True, timeout=20).stdout
        return [b["name"] for b in json.loads(metadata)["brokers"]]
    # None for a moment: a broker that was frozen answers before its own controller has fenced it and let it in again.
    assert system.wait_for(brokers, 15, "a broker in the metadata") == [kafka.proxy_brokers]
    assert kafka.proxy.seen[wire.API["metadata"]] > 0


def test_a_proxy_cuts_delays_swallows_refuses_and_heals(shop, postgres_proxy):
    through = shop.postgres.conninfo(shop.db, port=postgres_proxy.port)

    def ask(timeout=20):
        return subprocess.run(["psql", "-XAtqc", "select 1", through], capture_output=True, text=True, timeout=timeout)
    assert ask().stdout == "1\n"

    sleeping = subprocess.Popen(["psql", "-XAtqc", "select pg_sleep(60)", through], stderr=subprocess.PIPE)
    system.wait_for(lambda: shop.psql("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'") == "1",
                    20, "asleep")
    postgres_proxy.cut()
    assert sleeping.wait(20) != 0
    sleeping.stderr.close()

    postgres_proxy.delay = 0.2
    started = time.monotonic()
    assert ask(20).stdout == "1\n"
    assert time.monotonic() - started > 0.4
    postgres_proxy.heal()

    postgres_proxy.blackhole()
    with pytest.raises(subprocess.TimeoutExpired):
        ask(1)
    postgres_proxy.heal()

    postgres_proxy.refuse()
    assert ask().returncode != 0
    postgres_proxy.heal()
    assert ask().stdout == "1\n"


def test_a_single_request_is_held_back_and_reaches_the_broker_late(kafka):
    topic = "harness.held"
    kafka.create_topic(topic)
    held = kafka.proxy.hold_next("produce")
    client = subprocess.Popen(["kcat", "-b", kafka.proxy_brokers, "-P", "-t", topic, "-X", "retries=0",
                               "-X", "message.timeout.ms=3000", "-X", "message.send.max.retries=0"],
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    client.communicate(b"late\n", timeout=20)
    held.wait(1)
    assert kafka.consume(topic) == []
    assert held.release()
    assert [r["payload"] for r in kafka.consume(topic)] == ["late"]


def test_a_held_end_of_transaction_decides_whether_records_are_committed(kafka):
    topic = "harness.transaction"
    kafka.create_topic(topic)
    held = kafka.proxy.hold_next("end_txn")
    client = subprocess.Popen(["kcat", "-b", kafka.proxy_brokers, "-P", "-t", topic, "-X", "transactional.id=harness"],
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    client.stdin.write(b"in doubt\n")
    client.stdin.close()
    held.wait(20)
    client.kill()
    client.wait()
    assert kafka.consume(topic) == []
    assert [r["payload"] for r in kafka.consume(topic, isolation="read_uncommitted")] == ["in doubt"]
    assert kafka.end_offsets(topic, committed=True) == {0: 0}
    assert held.release()
    assert held.error_code() == 0
    system.wait_for(lambda: [r["payload"] for r in kafka.consume(topic)] == ["in doubt"], 10, "committed after all")


def test_a_request_held_without_a_cut_is_only_late(kafka):
    topic = "harness.waiting"
    kafka.create_topic(topic)
    held = kafka.proxy.hold_next("produce", cut=False)
    client = subprocess.Popen(["kcat", "-b", kafka.proxy_brokers, "-P", "-t", topic], stdin=subprocess.PIPE)
    client.stdin.write(b"patient\n")
    client.stdin.close()
    held.wait(10)
    assert kafka.consume(topic) == []
    held.release()
    assert client.wait(10) == 0
    assert [r["payload"] for r in kafka.consume(topic)] == ["patient"]


def test_a_request_can_take_effect_while_its_answer_is_lost(kafka):
    topic = "harness.unanswered"
    kafka.create_topic(topic)
    cut = kafka.proxy.cut_after("produce")
    subprocess.run(["kcat", "-b", kafka.proxy_brokers, "-P", "-t", topic, "-X", "retries=0"], input=b"taken\n",
                   stderr=subprocess.DEVNULL, timeout=20)  # what it makes of the lost answer is its own affair
    cut.wait(1)
    assert cut.release()
    assert [r["payload"] for r in kafka.consume(topic)] == ["taken"]


def test_nothing_is_left_when_the_test_process_is_killed(tmp_path):
    script = ("from harness.servers import Postgres\n"
              "p = Postgres().start(); print(p.pid, p.dir, flush=True)\n"
              "import time; time.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                               cwd=system.ROOT / "tests", env={**os.environ, "PYTHONPATH": "."})
    pid, folder = process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    system.wait_for(lambda: not os.path.exists(folder), 15, "folder removed")
    assert not system.alive(int(pid))


@pytest.fixture
def pretender(tmp_path):
    """A program that logs as walferry does, then waits for SIGTERM or does what its first argument says."""
    path = tmp_path / "pretender"
    path.write_text(r"""#!/bin/bash
echo '{"ts":"t","level":"info","event":"relay.streaming","slot":"s","n":1}' >&2
echo data
[ "$1" != refuse ] || { echo '{"ts":"t","level":"error","event":"relay.refused","code":"slot_missing"}' >&2; exit 3; }
trap 'echo "{\"event\":\"bye\"}" >&2; exit 0' TERM
echo not json >&2
while :; do sleep 0.05; done
""")
    path.chmod(0o755)
    return str(path)


def test_a_run_is_followed_by_its_log_events(pretender):
    with Walferry("relay", binary_path=pretender) as run:
        assert run.wait_event("relay.streaming", slot="s", n=1)["level"] == "info"
        run.wait_event("relay.streaming", n=lambda n: n > 0)
        mark = run.mark()
        with pytest.raises(AssertionError, match="no event relay.streaming.*1 s are over"):
            run.wait_streaming(1, after=mark)
        run.sigstop()
        run.sigcont()
        assert run.memory_peak_kb() > 0
        assert run.terminate() == 0
        assert run.find("bye") and "not json" in run.lines and run.stdout == b"data\n"


def test_a_kill_and_a_refusal_are_told_apart(pretender):
    with Walferry("relay", binary_path=pretender) as run:
        run.wait_streaming()
        assert run.kill9() == -signal.SIGKILL
        with pytest.raises(AssertionError, match="exit code -9"):
            run.wait_event("never")
    with Walferry("refuse", binary_path=pretender) as run:
        assert run.expect_refused("slot_missing")["level"] == "error"
        with pytest.raises(AssertionError):
            run.expect_exit(0)


def test_exactly_once_is_denied_for_lost_repeated_and_foreign_records(shop):
    one, two = shop.insert(2)
    shop.kafka.create_topic(shop.topic(), 2)
    shop.kafka.produce(shop.topic(), "x", headers={"correlation_id": "c", "id": one})
    with pytest.raises(AssertionError, match="1 lost"):
        shop.assert_exactly_once()
    shop.kafka.produce(shop.topic(), "x", headers={"id": two})
    shop.assert_exactly_once()
    shop.kafka.produce(shop.topic(), "x", headers={"id": two})
    with pytest.raises(AssertionError, match="1 repeated"):
        shop.assert_exactly_once()
    with pytest.raises(AssertionError, match="1 that were never committed"):
        shop.assert_exactly_once([one])


def test_configs_are_written_as_block_yaml():
    assert yaml({"a": {"b": [{"c": 1, "d": ["x"]}, {"e": True}], "f": []}, "g": "no"}) == (
        'a:\n  b:\n    - c: 1\n      d:\n        - "x"\n    - e: true\n  f: []\ng: "no"\n')


def test_a_file_that_is_written_again_is_never_seen_half(tmp_path):
    path, seen, over = tmp_path / "config.yaml", set(), threading.Event()
    system.write_file(path, "a" * 5000)

    def look():
        while not over.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for letter in "abcdefghij" * 50:
        system.write_file(path, letter * 5000)
    over.set()
    reader.join()
    assert {len(text) for text in seen} == {5000} and [p.name for p in tmp_path.iterdir()] == ["config.yaml"]
