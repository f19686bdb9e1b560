"""Two instances, and servers that come and go: who holds the slot, who waits, and what resumes."""
import threading
import time

import pytest

from integration_checks import assert_ack_behind_position, assert_ends_whole, wait_acked, wait_records


def active_pid(shop):
    row = shop.postgres.slot(shop.slot)
    return row and row["active_pid"]


# The hot standby


def test_a_standby_takes_over_from_a_killed_instance(shop):
    first = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    second = shop.relay(wait=False)
    second.wait_event("relay.standby")
    shop.insert(5)
    wait_records(shop, 10)
    assert second.count("relay.streaming") == 0 and first.running
    first.kill9()
    shop.insert(5)
    second.wait_streaming(30)
    wait_records(shop, 15)
    third = shop.relay(wait=False)  # and so on
    third.wait_event("relay.standby")
    assert second.terminate() == 0
    third.wait_streaming(30)
    shop.insert(5)
    wait_records(shop, 20)
    assert_ends_whole(shop, third)
    assert_ack_behind_position(shop)


def test_a_standby_takes_over_while_events_pour_in(shop):
    first = shop.relay()
    second = shop.relay(wait=False)
    second.wait_event("relay.standby")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            shop.insert(20)
    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        time.sleep(1)
        first.kill9()
        second.wait_streaming(30)
        time.sleep(1)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    wait_records(shop, len(shop.outbox_ids()))
    assert_ends_whole(shop, second)


def test_a_standby_stops_on_request(shop):
    shop.relay()
    second = shop.relay(wait=False)
    second.wait_event("relay.standby")
    assert second.terminate(10) == 0


def test_a_standby_does_not_fence_the_one_that_works(shop):
    first = shop.relay()
    second = shop.relay(wait=False)
    second.wait_event("relay.standby")
    for n in range(3):
        shop.insert(2)
        wait_records(shop, 2 * (n + 1))
        time.sleep(1)
    assert first.count("relay.streaming") == 1, first.log_tail()
    assert second.count("relay.streaming") == 0


def test_with_until_a_held_slot_is_exit_4(shop):
    shop.relay()
    shop.run("relay", "--until", "now", timeout=90).expect_exit(4)


# Postgres goes


def fast_shutdown(shop):
    """Seconds that the server took to leave."""
    started = time.monotonic()
    shop.postgres.stop("fast", timeout=60)
    return time.monotonic() - started


def test_a_fast_shutdown_of_postgres_does_not_wait_for_us(shop):
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    shop.insert(5)
    assert fast_shutdown(shop) < 10
    time.sleep(1)
    assert relay.running
    mark = relay.mark()
    shop.postgres.start()
    relay.wait_streaming(30, after=mark)
    shop.insert(5)
    wait_records(shop, 15)
    assert_ends_whole(shop, relay)


def test_a_fast_shutdown_of_postgres_under_load(shop):
    relay = shop.relay()
    shop.insert_many(50_000)
    assert fast_shutdown(shop) < 10
    shop.postgres.start()
    wait_records(shop, 50_000, 60)
    assert_ends_whole(shop, relay)


@pytest.mark.parametrize("megabytes", [0, 6])
def test_a_fast_shutdown_of_postgres_while_kafka_is_frozen(shop, megabytes):
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    if megabytes:  # a row so large that nothing is read behind it
        shop.kafka.set_topic_config(shop.topic(), max_message_bytes="20000000")
        assert relay.terminate() == 0
        relay = shop.relay()
    wait_acked(shop, shop.postgres.flush_lsn())
    shop.kafka.sigstop()
    shop.insert_many(5, payload_bytes=megabytes << 20)  # nothing of it can be acked
    time.sleep(1)
    before = shop.confirmed_flush()
    assert fast_shutdown(shop) < 10
    shop.postgres.start()
    assert shop.confirmed_flush() <= before, "the slot was moved over what Kafka does not hold"
    shop.kafka.sigcont()
    wait_records(shop, 10, 90)
    shop.insert(5)
    wait_records(shop, 15)
    assert_ends_whole(shop, relay)


def test_a_fast_shutdown_of_postgres_while_kafka_is_gone(shop):
    relay = shop.relay()
    shop.kafka.kill9()
    shop.insert_many(30_000)
    time.sleep(1)
    assert fast_shutdown(shop) < 10
    shop.postgres.start()
    shop.kafka.start()
    wait_records(shop, 30_000, 90)
    assert_ends_whole(shop, relay)


def test_an_ended_walsender_is_started_over(shop):
    relay = shop.relay()
    for n in range(3):
        shop.insert(5)
        wait_records(shop, 5 * (n + 1))
        mark = relay.mark()
        shop.postgres.terminate_slot_user(shop.slot)
        relay.wait_streaming(30, after=mark)
    assert_ends_whole(shop, relay)


# Kafka goes


def test_a_broker_that_was_down_is_resumed_with(shop):
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    shop.kafka.stop()
    shop.insert(5)
    time.sleep(2)
    shop.insert(5)
    assert relay.running
    shop.kafka.start()
    wait_records(shop, 15, 60)
    assert_ends_whole(shop, relay)
    assert_ack_behind_position(shop)


def test_a_frozen_broker_is_resumed_with(shop):
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    shop.kafka.sigstop()
    shop.insert(5)
    time.sleep(15)  # more than the socket time-out
    shop.insert(5)
    shop.kafka.sigcont()
    wait_records(shop, 15, 60)
    assert_ends_whole(shop, relay)


def test_an_idle_broker_restart_does_not_cost_the_slot(shop):
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    wait_acked(shop, shop.postgres.flush_lsn())
    pid = active_pid(shop)
    assert pid
    shop.kafka.restart()
    time.sleep(3)
    assert active_pid(shop) == pid
    shop.insert(5)
    wait_records(shop, 10, 60)
    assert_ends_whole(shop, relay)


def test_a_cut_idle_connection_to_the_broker_does_not_cost_the_slot(make_shop):
    shop = make_shop(kafka_proxy=True)
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    wait_acked(shop, shop.postgres.flush_lsn())
    pid = active_pid(shop)
    for n in range(3):
        assert shop.kafka.proxy.cut() > 0
        time.sleep(1)
        shop.insert(2)
        wait_records(shop, 5 + 2 * (n + 1), 60)
        wait_acked(shop, shop.postgres.flush_lsn())
    assert active_pid(shop) == pid
    assert_ends_whole(shop, relay)


def test_a_relay_without_kafka_for_a_minute_releases_the_slot(make_shop):
    """So that a standby elsewhere may try. Slow: it is about that minute."""
    shop = make_shop(kafka_proxy=True)
    relay = shop.relay()
    shop.insert(5)
    wait_records(shop, 5)
    shop.kafka.proxy.refuse()
    shop.insert(5)
    started = time.monotonic()
    elsewhere = shop.start("relay", config=shop.changed(kafka={"brokers": shop.kafka.brokers}))
    elsewhere.wait_event("relay.standby")
    elsewhere.wait_streaming(90)
    assert time.monotonic() - started > 40
    wait_records(shop, 10)
    assert relay.running
    shop.kafka.proxy.heal()
    shop.insert(5)
    wait_records(shop, 15)
    assert elsewhere.running and relay.running
    elsewhere.kill9()
    shop.insert(5)
    wait_records(shop, 20, 60)
    assert_ends_whole(shop, relay)
