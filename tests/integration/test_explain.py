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


def anchor(heading):
    """Of a heading, as the pages that show Markdown make it."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def section(link):
    """The text below the heading that a page names, with what is below it."""
    path, _, name = link.partition("#")
    lines = (system.ROOT / path).read_text().splitlines()
    fenced = [sum(line.startswith("```") for line in lines[:i]) % 2 for i in range(len(lines))]
    heads = [(i, len(line.split(" ")[0])) for i, line in enumerate(lines)
             if re.match(r"#{1,4} ", line) and not fenced[i]]
    i, level = next(((i, level) for i, level in heads if anchor(lines[i][level + 1:]) == name), (None, 0))
    assert i is not None, f"there is no {link}"
    return "\n".join(lines[i:next((j for j, other in heads if j > i and other <= level), None)])


def test_every_page_leads_to_a_section_that_has_the_commands():
    for code in listed():
        page = walferry.run("explain", code).expect_exit(0).stdout.decode()
        link = page.split("\nThe documents on it\n  ")[1].strip()
        text = section(link)
        assert "```" in text or "`walferry " in text, f"{code}: {link} has no command"


def remedies():
    """[(file, text)]: what the sources tell to do, C's neighbouring strings as one."""
    found = []
    for path in sorted((system.ROOT / "bridge").rglob("*.c")):
        if path.parts[-2] in ("base", "event", "kafka", "postgres", "relay", "inbox") or path.name.startswith("check"):
            text = re.sub(r'"\s+(?:"|PRI\w+ ")', "", path.read_text())
            found += [(path.name, s) for s in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)]
    return found


def test_commands_in_remedies_can_be_typed_as_they_are():
    """With CONFIG and NAME, which are put in where the remedy is printed (bridge/ops/remedy.h)."""
    command = re.compile(r"walferry (?:relay|replay|inbox|init|check|status|dlq|position|drop)\b(?! CONFIG\b)")
    bad = [f"{name}: {text}" for name, text in remedies() if command.search(text)]
    assert bad == []
    assert [t for _, t in remedies() if "walferry drop CONFIG" in t and "--confirm NAME" not in t] == []


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
