"""A topic that is deleted and made again: what stands at an offset now is not what stood there. Its partitions stop with
topic_recreated, and nothing of it is handled."""
import time

import pytest

from chaos import verify
from chaos.ledger import Ledger


@pytest.fixture
def ledger(make_inbox):
    ledger = Ledger(make_inbox(sql=Ledger.SQL, partitions=1))
    ledger.inbox.config["inbox"]["retry"] = {"max_attempts": 20, "backoff_ms": 4000, "backoff_max_ms": 8000}
    ledger.inbox.produce(*range(10))
    return ledger


def recreate(ledger, *events):
    """As an operator does who wants it empty; others have written to it before anybody looks."""
    inbox = ledger.inbox
    time.sleep(1)
    inbox.kafka.delete_topic(inbox.topic)
    inbox.kafka.create_topic(inbox.topic, 1)
    inbox.produce(*events)


def assert_untouched(ledger, old):
    """Only what was handled before: nothing of the new topic, and the offset where it stood."""
    assert [id for _, id, _, _ in ledger.effects()] == old
    assert ledger.inbox.offsets() == {0: 10}


@pytest.mark.parametrize("count", [3, 10, 30])
def test_made_again_while_the_inbox_is_down(ledger, count):
    """With less, as many and more records than there were."""
    ledger.inbox.drain()
    old = [id for _, id, _, _ in ledger.effects()]
    recreate(ledger, *range(count))
    run = ledger.inbox.drain(code=3)
    assert run.find("inbox.partition_stopped", code="topic_recreated"), run.log_tail()
    assert_untouched(ledger, old)


@pytest.mark.parametrize("count", [3, 11, 30])
def test_made_again_while_the_inbox_runs(ledger, count):
    run = ledger.inbox.start()
    ledger.wait_handled(10)
    old = [id for _, id, _, _ in ledger.effects()]
    recreate(ledger, *range(count))
    run.wait_event("inbox.partition_stopped", timeout=40, code="topic_recreated")
    assert_untouched(ledger, old)
    assert run.terminate() == 0


def test_made_again_with_as_many_records_while_the_inbox_runs(ledger):
    """Nothing is there to be handled, wrongly or not, until there is one more."""
    run = ledger.inbox.start()
    ledger.wait_handled(10)
    old = [id for _, id, _, _ in ledger.effects()]
    recreate(ledger, *range(10))
    time.sleep(1)
    ledger.inbox.produce("one more")
    run.wait_event("inbox.partition_stopped", timeout=40, code="topic_recreated")
    assert_untouched(ledger, old)
    assert run.terminate() == 0


def test_made_again_while_nothing_is_fetched(ledger):
    """An event is tried again and again, and its partition rests in between: nobody asks the brokers for anything."""
    run = ledger.inbox.start()
    ledger.wait_handled(10)
    old = [id for _, id, _, _ in ledger.effects()]
    ledger.luck(transient=1.0)
    ledger.inbox.produce("never handled")
    run.wait_event("inbox.event_failed")
    recreate(ledger, *range(30))
    ledger.luck()
    run.wait_event("inbox.partition_stopped", timeout=40, code="topic_recreated")
    assert_untouched(ledger, old)
    assert run.terminate() == 0


def test_an_event_after_a_pause_is_handled_all_the_same(ledger):
    """What is looked at again because nothing came for a while, is as it was."""
    run = ledger.inbox.start()
    ledger.wait_handled(10)
    for n in range(3):
        time.sleep(1.2)
        ledger.inbox.produce(n)
        ledger.wait_handled(11 + n)
    assert run.terminate() == 0
    assert verify.check_inbox(ledger) == []
