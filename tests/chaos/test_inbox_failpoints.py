"""Each moment between claim, call, COMMIT and its answer, on every run: walferry or the server is killed exactly there,
started again, and every event's effect is there once. The names are those of FAILPOINT in bridge/inbox/."""
import re
import signal

import pytest

from chaos import verify
from chaos.ledger import Ledger
from harness import system

BATCH = ["inbox.before_commit", "inbox.sent", "inbox.after_commit"]
STARTING = ["inbox.before_claim", "inbox.after_claim"]
LETTER = ["inbox.letter_written"]
CAREFUL = ["inbox.attempt_counted"]

POISON = {"poison": True}
CRASH = {"crash": True}  # of the server, each time it is called


def test_the_names_here_are_those_in_the_sources():
    found = set()
    for source in (system.ROOT / "bridge" / "inbox").glob("*.c"):
        found |= set(re.findall(r'FAILPOINT\("([^"]+)"\)', source.read_text()))
    assert set(BATCH + STARTING + LETTER + CAREFUL) == {name for name in found if name.startswith("inbox.")}


def expect_killed(run, name, timeout=30):
    """It died at that fail point and of nothing else."""
    run.expect_exit(-signal.SIGKILL, timeout)
    assert run.find("failpoint.hit", name=name, action="kill") is not None, f"killed, but not at {name}\n{run.log_tail()}"


def assert_handled(ledger, **kwargs):
    """The whole outside view after a drain."""
    ledger.inbox.drain(**kwargs)
    assert verify.check_inbox(ledger) == []


@pytest.fixture
def ledger(make_inbox):
    """One partition, so that where a test stands is certain; ten events of it are handled, ten more are waiting."""
    ledger = Ledger(make_inbox(sql=Ledger.SQL, partitions=1))
    ledger.inbox.produce(*range(10))
    ledger.inbox.drain()
    ledger.inbox.produce(*range(10, 20))
    return ledger


@pytest.mark.parametrize("name", BATCH + STARTING)
def test_killed_there(ledger, name):
    expect_killed(ledger.inbox.start(failpoint=f"{name}=kill"), name)
    ledger.inbox.produce(*range(20, 30))
    assert_handled(ledger)


@pytest.mark.parametrize("name", BATCH + STARTING)
def test_killed_there_again_and_again(ledger, name):
    """Each start dies at its first hit: as often as a message may be attempted, that nobody takes these for poison."""
    for _ in range(2):
        expect_killed(ledger.inbox.start(failpoint=f"{name}=kill"), name)
    assert_handled(ledger)


@pytest.mark.parametrize("ends", ["commits", "rolls_back"])
def test_killed_while_the_server_is_at_work(ledger, ends):
    """COMMIT is on its way behind a handler that waits: the server does all of it when nobody listens any more, or nothing."""
    with ledger.gate() as gate:
        run = ledger.inbox.start()
        backend = gate.wait_for_handler()
        run.kill9()
        if ends == "rolls_back":
            gate.terminate(backend)
    if ends == "commits":
        ledger.wait_handled(11)  # after a claim the first goes alone
    assert_handled(ledger)


@pytest.mark.parametrize("name", BATCH + STARTING)
def test_the_server_crashes_there(ledger, name):
    run, file = paused(ledger, name)
    ledger.inbox.postgres.stop("immediate")
    ledger.inbox.postgres.start()
    file.unlink()
    ledger.wait_handled(20)
    assert run.terminate() == 0
    assert_handled(ledger)


@pytest.mark.parametrize("name", BATCH + STARTING)
def test_the_broker_is_killed_there(ledger, name):
    run, file = paused(ledger, name)
    ledger.inbox.kafka.kill9()
    file.unlink()
    ledger.inbox.kafka.start()
    ledger.inbox.produce(*range(20, 25))
    ledger.wait_handled(25)
    assert run.terminate() == 0
    assert_handled(ledger)


@pytest.mark.parametrize("name", ["inbox.before_commit", "inbox.sent", "inbox.after_claim"])
def test_a_zombie_wakes_up_there(ledger, name):
    """A stands still at that moment until the group has forgotten it; B handles all there is; then A goes on."""
    a, file = paused(ledger, name)
    a.sigstop()
    b = ledger.inbox.start()
    ledger.inbox.produce(*range(20, 25))
    ledger.wait_handled(25)
    file.unlink()
    a.sigcont()
    ledger.inbox.produce(*range(25, 30))
    ledger.wait_handled(30)
    assert a.terminate() == 0
    assert b.terminate() == 0
    assert_handled(ledger)


def test_no_attempt_is_counted_by_who_lost_the_claim(ledger):
    """It counts attempts, as the one before it was killed; between two messages the partition is claimed by another, which
    settles the second (the same by hand, so that the group has no part in it)."""
    expect_killed(ledger.inbox.start(failpoint="inbox.before_commit=kill"), "inbox.before_commit")
    run, file = paused(ledger, "inbox.after_commit")
    assert run.find("inbox.careful")
    ledger.inbox.psql("update walferry.inbox_offsets set claim = claim + 1, next_offset = 20")
    file.unlink()
    run.wait_event("inbox.displaced")
    assert run.terminate() == 0
    assert ledger.attempts() == []
    assert ledger.inbox.offsets() == {0: 20}


def paused(ledger, name):
    file = ledger.inbox.dir / "pause"
    run = ledger.inbox.start(failpoint=f"{name}=pause:{file}")
    system.wait_for(file.exists, 30, f"a pause at {name}")
    return run, file


# Poison

@pytest.mark.parametrize("name, hit", [("inbox.before_commit", 2), ("inbox.letter_written", 1), ("inbox.before_commit", 4),
                                       ("inbox.after_commit", 2)])
def test_killed_around_a_dead_letter(ledger, name, hit):
    """The batch with it, the call of it alone, its row, the COMMIT of that: there is one letter, the neighbours' effects once.
    """
    ledger.inbox.produce(20, POISON, 21, 22)
    expect_killed(ledger.inbox.start(failpoint=f"{name}=kill@{hit}"), name)
    assert_handled(ledger)
    assert [letter["code"] for letter in ledger.inbox.letters()] == ["handler_failed"]


def test_poison_in_the_middle_of_a_batch(ledger):
    for n in range(20, 40, 4):
        ledger.inbox.produce(n, n + 1, POISON, n + 2)
    assert_handled(ledger)
    assert len(ledger.inbox.letters()) == 5


def test_walferry_dies_at_each_attempt(ledger):
    """The first of a batch; nobody can tell whether it was this one that walferry died of, until it died too often alone."""
    expect_killed(ledger.inbox.start(failpoint="inbox.before_commit=kill"), "inbox.before_commit")
    for attempt in range(1, 4):
        expect_killed(ledger.inbox.start(failpoint="inbox.attempt_counted=kill"), "inbox.attempt_counted")
        assert [(r["record_offset"], r["attempts"]) for r in ledger.attempts()] == [(10, attempt)]
    ledger.inbox.drain()
    letter, = ledger.inbox.letters()
    assert (letter["code"], letter["attempts"], letter["record_offset"]) == ("handler_crashed", 3, 10)
    assert verify.check_inbox(ledger, lost={(0, 10)}) == []


def test_an_attempt_counted_is_forgotten_where_it_succeeds(ledger):
    expect_killed(ledger.inbox.start(failpoint="inbox.before_commit=kill"), "inbox.before_commit")
    for _ in range(2):  # one less than it may have
        expect_killed(ledger.inbox.start(failpoint="inbox.attempt_counted=kill"), "inbox.attempt_counted")
    assert_handled(ledger)
    assert ledger.inbox.letters() == []


def test_a_handler_that_crashes_the_server(ledger):
    """Each call kills its backend, and the server restarts all of them. Its neighbours are handled once, and do not cost a
    crash each: one is that of the batch, one that of its first call alone, then they are counted."""
    ledger.inbox.produce(20, 21, CRASH, 22, 23)
    run = ledger.inbox.start()
    ledger.wait_handled(24, timeout=60)
    assert run.terminate() == 0
    assert run.count("inbox.careful") == 4
    assert 6 <= run.count("inbox.streaming") <= 8, run.log_tail()
    letter, = ledger.inbox.letters()
    assert (letter["code"], letter["attempts"]) == ("handler_crashed", 3)
    assert verify.check_inbox(ledger) == []


def test_two_that_crash_the_server_and_a_poison_beside_them(ledger):
    ledger.inbox.produce(20, CRASH, POISON, CRASH, 21)
    run = ledger.inbox.start()
    ledger.wait_handled(22, timeout=90)
    assert run.terminate() == 0
    assert [r["code"] for r in ledger.inbox.letters()] == ["handler_crashed", "handler_failed", "handler_crashed"]
    assert verify.check_inbox(ledger) == []
