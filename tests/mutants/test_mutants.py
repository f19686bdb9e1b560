"""Each scenario passes on the product, and is caught on its mutant by the very judgement that is meant, on every run."""
import pytest

from harness.walferry import binary
from mutants import build, scenarios

MUTANTS = {  # name: what gives it away
    "ack_before_commit": r"confirmed_flush \S+ is ahead of the committed position",
    "no_dedupe": r" [1-9]\d* repeated",
    "position_before_init": r" [1-9]\d* repeated",
    "covered_by_end_lsn": r" [1-9]\d* lost",
    "no_new_producer": r" [1-9]\d* repeated",
    "tidied_before_commit": r"[1-9]\d* rows deleted and not published",
    "acked_before_tidied": r"[1-9]\d* rows published and not deleted",
    "covered_not_tidied": r"[1-9]\d* rows published and not deleted",
    "passed_over_tidied": r"[1-9]\d* rows deleted and not published",
}

INBOX_MUTANTS = {
    "inbox_offset_outside_transaction": r"[1-9]\d* lost",
    "inbox_no_compare_and_swap": r"[1-9]\d* dead letters too many",
    "inbox_mark_without_source": r"[1-9]\d* lost",
}


def test_every_mutant_has_its_scenario():
    assert build.names() == sorted(MUTANTS | INBOX_MUTANTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_the_product_passes(name, make_shop):
    getattr(scenarios, name)(scenarios.Lab(make_shop, binary()))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_is_caught(name, make_shop):
    with pytest.raises(scenarios.Broken, match=MUTANTS[name]):
        getattr(scenarios, name)(scenarios.Lab(make_shop, build.build(name)))


@pytest.mark.parametrize("name", INBOX_MUTANTS)
def test_the_product_passes_with_its_inbox(name, make_inbox):
    getattr(scenarios, name)(scenarios.InboxLab(make_inbox, binary()))


@pytest.mark.parametrize("name", INBOX_MUTANTS)
def test_the_mutant_of_the_inbox_is_caught(name, make_inbox):
    with pytest.raises(scenarios.Broken, match=INBOX_MUTANTS[name]):
        getattr(scenarios, name)(scenarios.InboxLab(make_inbox, build.build(name)))
