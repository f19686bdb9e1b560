"""`walferry explain` and the sources stay in step: every code has a page, every page a code, and the docs say the same."""
import re

from harness import system, walferry

# Where a code stands in the sources.
CODES = [re.compile(p) for p in (
    r'error_refuse\(\s*&?\w+,\s*"([a-z_]+)"',
    r'problem_set\(\s*\w+,\s*"([a-z_]+)"',
    r'\bnote\(\s*\w+,\s*"([a-z_]+)"',
    r'reclassify\(\s*\w+,\s*ERROR_\w+,\s*"([a-z_]+)"',
    r'\bCODE_\w+\[\]\s*=\s*"([a-z_]+)"',
    r'(?:->|\.)code\s*=\s*"([a-z_]+)"',
    r'\*problem\s*=\s*"([a-z_]+)"',
    r'return quarantine\(\s*p,\s*record,\s*"([a-z_]+)"',
    r'return "(handler_[a-z]+)"', r'\?\s*"(handler_timeout)"\s*:', r':\s*"(retries_exhausted)"',
    r'\?\s*"(record_too_large)"\s*:', r':\s*"(record_refused)"')]


def codes_of_the_sources():
    text = "\n".join(p.read_text() for root in ("bridge", "decoders") for p in sorted((system.ROOT / root).rglob("*.c"))
                     if not p.name.startswith("explain"))
    return {code for pattern in CODES for code in pattern.findall(text)}


def listed():
    """{code: summary} as `walferry explain` lists them."""
    run = walferry.run("explain").expect_exit(0)
    found = re.findall(r"^  ([a-z_]+) +(\S.*)$", run.stdout.decode(), re.M)
    assert len(found) == len(dict(found)), "a code is listed twice"
    return dict(found)


def test_every_code_has_a_page_and_every_page_a_code():
    codes, pages = codes_of_the_sources(), set(listed())
    assert codes - pages == set(), "codes without a page in bridge/ops/explain_*.c"
    assert pages - codes == set(), "pages of codes that the sources do not have"


def table(path, heading):
    """{code: text} of the table behind a heading; a row may name several codes."""
    text = (system.ROOT / path).read_text().split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = {}
    for names, meaning in re.findall(r"^\| (`[^|]*) \| ([^|]*?) \|", text, re.M):
        rows |= {code: meaning for code in re.findall(r"`([a-z_]+)`", names)}
    return rows


def test_the_docs_have_the_same_codes_with_the_same_words():
    pages = listed()
    refusals = table("docs/operations.md", "## Refusals")
    assert refusals == {code: pages[code] for code in refusals}
    partitions = table("docs/operations.md", "## Partitions that the inbox does not read")
    assert partitions == {code: pages[code] for code in partitions}
    messages = table("docs/operations.md", "## Dead letters")
    assert messages == {code: pages[code] for code in messages}
    rows = table("README.md", "### Quarantine")
    assert set(refusals) | set(partitions) | set(rows) | set(messages) == set(pages)
    assert len(refusals) + len(partitions) + len(rows) + len(messages) == len(pages)


def test_a_page_tells_what_to_do():
    page = walferry.run("explain", "slot_missing").expect_exit(0).stdout.decode()
    assert page.startswith("slot_missing: ") and "What to do" in page and "walferry init" in page


def test_an_unknown_code():
    run = walferry.run("explain", "slot_mising").expect_exit(2)
    assert run.stdout == b"" and any("did you mean slot_missing" in line for line in run.lines)
