"""The inbox in trouble: messages that do not fit, gaps, kills, servers and handlers that are away."""
import ctypes
import os
import time

from harness import walferry
from test_inbox import moody, payloads, wait_until


def cpu_seconds(run):
    with open(f"/proc/{run.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def produce_aborted(kafka, topic, count, partition):
    """Records of a transaction that is aborted: a gap of count + 1 offsets for who reads what is committed."""
    lib = ctypes.CDLL("librdkafka.so.1")
    for name in "conf_new", "new", "topic_new", "init_transactions", "begin_transaction", "abort_transaction":
        getattr(lib, f"rd_kafka_{name}").restype = ctypes.c_void_p
    text = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
    for name, value in (("bootstrap.servers", kafka.brokers), ("transactional.id", f"gap-{topic}")):
        assert lib.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, ctypes.c_size_t(512)) == 0, text.value
    rk = ctypes.c_void_p(lib.rd_kafka_new(0, conf, text, ctypes.c_size_t(512)))
    assert rk, text.value
    assert lib.rd_kafka_init_transactions(rk, 30000) is None
    assert lib.rd_kafka_begin_transaction(rk) is None
    rkt = ctypes.c_void_p(lib.rd_kafka_topic_new(rk, topic.encode(), None))
    for _ in range(count):
        assert lib.rd_kafka_produce(rkt, partition, 2, b"{}", ctypes.c_size_t(2), None, ctypes.c_size_t(0), None) == 0
    assert lib.rd_kafka_flush(rk, 30000) == 0
    assert lib.rd_kafka_abort_transaction(rk, 30000) is None
    lib.rd_kafka_topic_destroy(rkt)
    lib.rd_kafka_destroy(rk)


def test_a_batch_leaves_out_a_partition_whose_message_does_not_fit(inbox):
    inbox.psql("create or replace function app.on_event(e jsonb) returns void language sql as $$ "
               "select pg_sleep(0.02); insert into app.seen (id) values (e->>'id') $$")
    inbox.produce(*["x" * 900000] * 8, partition=0)
    inbox.produce(*["x" * 490000] * 12, partition=1)
    inbox.produce(*range(100), partition=2)
    inbox.drain()
    assert len(inbox.seen()) == 120


def test_a_session_that_ends_while_nothing_is_to_be_done_is_noticed(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    mark = run.mark()
    inbox.postgres.stop()
    run.wait_event("inbox.recovering", after=mark, timeout=15)
    inbox.postgres.start()
    run.wait_event("inbox.streaming", after=mark)


def test_a_session_whose_server_takes_no_writes_is_left(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    inbox.produce("first", partition=0)
    wait_until(lambda: payloads(inbox) == ["first"])
    mark = run.mark()
    try:
        inbox.psql("alter system set default_transaction_read_only = on")
        inbox.psql("select pg_reload_conf()")
        inbox.produce("second", partition=0)
        run.wait_event("inbox.recovering", after=mark)
    finally:
        inbox.psql("alter system reset default_transaction_read_only")
        inbox.psql("select pg_reload_conf()")
    wait_until(lambda: payloads(inbox) == ["first", "second"])
    assert inbox.query("select * from walferry.inbox_attempts") == []


def test_it_does_not_spin_while_postgres_is_away(inbox):
    inbox.produce("first", partition=0)
    run = inbox.start()
    run.wait_event("inbox.streaming")
    mark = run.mark()
    inbox.postgres.stop()
    inbox.produce("second", partition=0)
    run.wait_event("inbox.recovering", after=mark)
    time.sleep(1)
    before = cpu_seconds(run)
    time.sleep(3)
    assert cpu_seconds(run) - before < 1
    inbox.postgres.start()
    wait_until(lambda: payloads(inbox) == ["first", "second"])


def test_what_kills_us_behind_a_gap_of_offsets_becomes_a_dead_letter(inbox):
    inbox.produce("before", partition=0)
    inbox.drain()
    produce_aborted(inbox.kafka, inbox.topic, 600, 0)
    poison, = inbox.produce("poison", partition=0)
    for _ in range(5):
        run = inbox.start("--until-end", failpoint="inbox.before_commit=kill")
        assert run.wait(30) == -9
    inbox.drain()
    assert payloads(inbox) == ["before"]
    letter, = inbox.letters()
    assert (letter["message_id"], letter["code"], letter["attempts"]) == (poison, "handler_crashed", 3)


def test_an_attempt_behind_a_marker_is_settled_with_its_message(make_inbox):
    inbox = moody(make_inbox)
    inbox.produce("before", partition=0)
    inbox.drain()
    produce_aborted(inbox.kafka, inbox.topic, 1, 0)
    inbox.produce({"payload": {"do": "twice"}}, partition=0)
    run = inbox.start(config=inbox.changed(retry={"max_attempts": 5, "backoff_ms": 60000, "backoff_max_ms": 60000}))
    run.wait_event("inbox.event_failed")
    assert run.terminate() == 0
    inbox.psql("select nextval('app.tries'), nextval('app.tries')")
    inbox.drain()
    assert payloads(inbox) == ["before", {"do": "twice"}]
    assert inbox.query("select * from walferry.inbox_attempts") == []


def test_a_stop_calls_no_more_handlers(make_inbox):
    inbox = moody(make_inbox)
    run = inbox.start(config=inbox.changed(timeout_ms=60000))
    run.wait_event("inbox.streaming")
    session = inbox.postgres.session(inbox.db)
    session.run("begin; lock table app.seen")  # until the messages of all partitions are there
    for partition in range(3):
        inbox.produce("first", partition=partition)
    for partition in range(3):
        inbox.produce({"payload": {"do": "sleep"}}, partition=partition)
    time.sleep(2)
    session.run("rollback")
    wait_until(lambda: inbox.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1")
    inbox.psql("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")  # each runs alone now
    wait_until(lambda: inbox.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1")
    assert run.terminate() == 0
    assert run.find("process.left_at_once") is None


def test_what_has_no_handler_waits_behind_a_held_key_too(make_inbox):
    inbox = moody(make_inbox)
    inbox.config["inbox"] |= {"dead_letter": {"hold_key": True}, "handlers": [{"type": "Happened", "call": "app.moody"}]}
    inbox.produce({"payload": {"do": "fail"}}, "second", partition=0, key="a")
    inbox.produce("third", partition=0, key="a", type="Unknown")
    inbox.produce("free", partition=0, key="b", type="Unknown")
    inbox.drain()
    assert [x["record_offset"] for x in inbox.letters()] == [0, 3]
    assert [x["record_offset"] for x in inbox.query("select * from walferry.inbox_parked order by id")] == [1, 2]
    assert inbox.offsets()[0] == 4
    inbox.psql("create or replace function app.moody(e jsonb) returns void language sql as 'select app.on_event(e)'")
    inbox.config["inbox"]["handlers"] = [{"type": "*", "call": "app.moody"}]
    path = inbox.write_config(inbox.config, "replay.yaml")
    walferry.run("dlq", path, "replay").expect_exit(0)
    assert [p for _, k, p in inbox.seen() if k == "a"] == [{"do": "fail"}, "second", "third"]


def test_a_function_that_is_made_again_loses_no_events(inbox):
    run = inbox.start()
    run.wait_event("inbox.streaming")
    inbox.psql("alter function app.on_event(jsonb) rename to aside")
    inbox.produce(*range(5), partition=0)
    time.sleep(2)
    inbox.psql("alter function app.aside(jsonb) rename to on_event")
    wait_until(lambda: inbox.offsets()[0] == 5)
    assert [x["code"] for x in inbox.letters()] == []
