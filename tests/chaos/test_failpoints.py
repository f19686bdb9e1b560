"""Each moment between produce, commit, position and ack, on every run: walferry is killed exactly there, started again, and
nobody outside can tell. The names are those of FAILPOINT in bridge/."""
import re
import signal
import time

import pytest

from chaos import verify
from harness import system

PUBLISHER = ["publisher.after_begin", "publisher.after_produce", "publisher.after_position", "publisher.after_commit",
             "publisher.after_ack"]
SNAPSHOT = ["relay.after_work_list", "relay.before_work_list_dropped", "relay.after_work_list_dropped"]
REPLAY_TABLE = ["replay.after_work_list", "replay.before_work_list_dropped", "replay.after_work_list_dropped"]
CREATING = ["relay.after_intent", "relay.after_slot_created", "relay.after_first_position"]
TIDYING = ["tidy.before_statement", "tidy.after_statement"]  # killed there by integration/test_after_publish.py
STARTING = ["relay.after_producer_init", "relay.after_position_read"]


def test_the_names_here_are_those_in_the_sources():
    """A renamed fail point would otherwise never be hit by a test that waits for a kill in vain."""
    found = set()
    for source in (system.ROOT / "bridge").rglob("*.c"):
        found |= set(re.findall(r'FAILPOINT\("([^"]+)"\)', source.read_text()))
    assert set(PUBLISHER + CREATING + SNAPSHOT + REPLAY_TABLE + STARTING + TIDYING + ["source.before_feedback"]) <= found


def expect_killed(run, name, timeout=30):
    """It died at that fail point and of nothing else."""
    run.expect_exit(-signal.SIGKILL, timeout)
    hit = run.find("failpoint.hit", name=name, action="kill")
    assert hit is not None, f"killed, but not at {name}\n{run.log_tail()}"


def feed_until_dead(shop, run, timeout=30):
    """Small transactions until the relay is dead. Each waits for its turn, so that they do not end in one batch."""
    deadline = time.monotonic() + timeout
    while run.running and time.monotonic() < deadline:
        shop.insert(2)
        shop.insert(1, rollback=True)
        time.sleep(0.25)


def assert_delivered(shop, wanted=None):
    """The whole outside view: drains, then every row once, in order of commit per key, slot not ahead."""
    sampler = verify.Sampler(shop)
    try:
        shop.drain()
        shop.assert_exactly_once(wanted)
        assert shop.quarantined() == []
        assert verify.check_positions(verify.read_positions(shop)) == []
        assert sampler.sample() is not None
        assert sampler.problems == []
    finally:
        sampler.stop()


def wait_delivered(shop):
    wanted = len(shop.outbox_ids())
    system.wait_for(lambda: len(shop.record_ids()) >= wanted, 60, f"{wanted} rows delivered", interval=0.2)


def make_ready(shop):
    """Slot, topics and first position are there, a few rows are delivered, and a few are not."""
    run = shop.relay()
    shop.insert(3)
    wait_delivered(shop)
    assert run.terminate() == 0
    shop.insert(5)
    shop.insert(2, rollback=True)
    return shop


@pytest.fixture
def ready(shop):
    return make_ready(shop)


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("name", PUBLISHER)
def test_killed_in_the_publisher(ready, name, hit):
    run = ready.start("relay", failpoint=f"{name}=kill@{hit}")
    feed_until_dead(ready, run)
    expect_killed(run, name)
    ready.insert(4)
    assert_delivered(ready)


@pytest.mark.parametrize("name", PUBLISHER)
def test_killed_there_again_and_again(ready, name):
    """Each start dies at its first hit; what it achieved before adds up, and nothing twice."""
    for _ in range(3):
        run = ready.start("relay", failpoint=f"{name}=kill")
        feed_until_dead(ready, run)
        expect_killed(run, name)
    assert_delivered(ready)


@pytest.mark.parametrize("hit", [1, 2, 4])
def test_killed_before_it_reports_to_the_server(ready, hit):
    run = ready.start("relay", failpoint=f"source.before_feedback=kill@{hit}")
    feed_until_dead(ready, run)
    expect_killed(run, "source.before_feedback")
    ready.insert(4)
    assert_delivered(ready)


@pytest.mark.parametrize("name", STARTING)
def test_killed_while_it_takes_over(ready, name):
    """The one before was killed too, in the middle of its transaction."""
    before = ready.start("relay", failpoint="publisher.after_position=kill")
    expect_killed(before, "publisher.after_position")
    run = ready.start("relay", failpoint=f"{name}=kill")
    expect_killed(run, name)
    ready.insert(4)
    assert_delivered(ready)


@pytest.mark.parametrize("name", CREATING + STARTING)
def test_killed_in_its_very_first_start(shop, name):
    run = shop.start("relay", failpoint=f"{name}=kill")
    expect_killed(run, name)
    slot = shop.postgres.slot(shop.slot)
    assert (slot is not None) == (name in ("relay.after_slot_created", "relay.after_first_position")), slot
    since = shop.insert(3) if slot is not None else []  # before the slot exists nothing is promised
    run = shop.relay()
    since += shop.insert(4)
    system.wait_for(lambda: len(shop.record_ids()) >= len(since), 30, "delivered")
    assert run.terminate() == 0
    assert_delivered(shop, since)


def test_killed_at_every_step_of_its_first_start_in_turn(shop):
    for name in CREATING:
        expect_killed(shop.start("relay", failpoint=f"{name}=kill"), name)
    ids = shop.insert(3)
    assert_delivered(shop, ids)


def paused(shop, name):
    """A relay that waits at that fail point, and the file it waits for."""
    file = shop.dir / "pause"
    run = shop.start("relay", failpoint=f"{name}=pause:{file}")
    system.wait_for(file.exists, 30, f"a pause at {name}")
    return run, file


WATCH_SECONDS = 3  # a relay looks at its slot and publication so often; a zombie that slept longer looks first


@pytest.mark.parametrize("name", PUBLISHER + STARTING)
def test_a_zombie_wakes_up_there(ready, name):
    """A stands still at that moment, its backend is gone, B takes over and publishes; then A goes on. That its slot and
    position have moved is B's doing and no reason to refuse."""
    a, file = paused(ready, name)
    ready.postgres.terminate_slot_user(ready.slot)
    b = ready.relay()
    ready.insert(3)
    wait_delivered(ready)
    time.sleep(WATCH_SECONDS + 0.5)
    file.unlink()
    # A notices: its slot is another's. Fenced, it leaves with 4; otherwise it stands by.
    system.wait_for(lambda: not a.running or a.find("relay.standby"), 30, "A has noticed")
    assert a.exit_code in (None, 4), a.log_tail()
    ready.insert(2)
    wait_delivered(ready)
    b.kill9()
    if a.running:
        ready.insert(2)
        wait_delivered(ready)  # the standby has taken over
        assert a.terminate() == 0
    assert_delivered(ready)


@pytest.mark.parametrize("name", PUBLISHER)
def test_postgres_crashes_there(ready, name):
    run, file = paused(ready, name)
    ready.postgres.stop("immediate")
    ready.postgres.start()
    ready.insert(3)
    file.unlink()
    wait_delivered(ready)
    assert run.terminate() == 0
    assert_delivered(ready)


@pytest.mark.parametrize("name", PUBLISHER)
def test_the_broker_is_killed_there(ready, name):
    run, file = paused(ready, name)
    ready.kafka.kill9()
    file.unlink()
    ready.kafka.start()
    ready.insert(3)
    wait_delivered(ready)
    assert run.terminate() == 0
    assert_delivered(ready)


# What a transaction asks of the broker, and what a start asks.
REQUESTS = ["add_partitions_to_txn", "produce", "end_txn", "init_producer_id", "find_coordinator", "list_offsets", "fetch"]


@pytest.mark.parametrize("reaches", [True, False], ids=["answer_lost", "request_lost"])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_the_connection_breaks_at_a_single_request(make_shop, request_name, reaches):
    shop = make_ready(make_shop(kafka_proxy=True))
    proxy = shop.kafka.proxy
    broken = proxy.cut_after(request_name) if reaches else proxy.hold_next(request_name)
    run = shop.start("relay")
    broken.wait(30)
    if not reaches:
        broken.drop()
    shop.insert(3)
    wait_delivered(shop)
    assert run.terminate() == 0
    proxy.heal()
    assert_delivered(shop)


HUGE_ROWS = 60_000  # of 500 bytes; a Kafka transaction takes some 6,000 of them


@pytest.mark.parametrize("name, hit", [("publisher.after_commit", 2), ("publisher.after_commit", 4),
                                       ("publisher.after_produce", 3), ("publisher.after_position", 3)])
def test_killed_in_the_middle_of_a_huge_transaction(ready, name, hit):
    assert_delivered(ready)
    before = len(ready.record_ids())
    ready.insert_many(HUGE_ROWS, payload_bytes=500, keys=50)
    ready.insert(3)
    run = ready.start("relay", failpoint=f"{name}=kill@{hit}")
    expect_killed(run, name, 60)

    position = ready.position()  # also waits for nothing: a transaction cut off is open, not committed
    assert not position["complete"] and 0 < position["next_index"] < HUGE_ROWS, position
    flush = ready.confirmed_flush()
    assert flush <= verify.ack_lsn(position), "an incomplete transaction does not move the slot"
    assert len(ready.record_ids()) - before == position["next_index"], "resuming starts at the index"

    assert_delivered(ready)
    order = {}
    for record in ready.events():
        n = record["event"]["payload"].get("n")
        if record["event"]["payload"].get("fill"):
            order.setdefault(record["key"], []).append(n)
    assert len(order) == 50 and all(ns == sorted(ns) for ns in order.values())


def test_a_huge_transaction_survives_a_kill_in_each_of_its_parts(ready):
    ready.insert_many(HUGE_ROWS, payload_bytes=500)
    kills = 0
    while kills < 20:
        run = ready.start("relay", "--until", "now", failpoint="publisher.after_commit=kill")
        if run.wait(60) == 0:
            break
        expect_killed(run, "publisher.after_commit")
        kills += 1
    assert kills >= 5
    assert_delivered(ready)
