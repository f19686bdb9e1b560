"""Terminal sessions in documents, run as they stand: a fenced block of `$ command` lines, each with what it prints.

A document's LSNs, times, ids and process ids stand for those of the test: an LSN means the same one wherever it appears,
in commands too. `…` at the end of a line leaves out its rest, alone on a line any number of lines."""
import os
import re
import subprocess

from . import system, walferry

_TOKENS = re.compile(r"(?P<lsn>\b[0-9A-F]+/[0-9A-F]+\b)|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z)"
                     r"|(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)|(?P<run>\b[0-9a-f]{16}\b)"
                     r"|(?P<xid>(?<=xid )\d+|(?<=backend=)\d+|(?<=  )\d{3,}$)|(?P<size>\d+\.\d MB)")


class Session:
    """The blocks of a document's section, for a shop of any name: `shop` in the document is that name."""

    def __init__(self, document, heading, shop):
        text = (system.ROOT / document).read_text()
        start = text.index(f"\n## {heading}\n")
        end = text.find("\n## ", start + 1)
        self.shop, self.meaning = shop, {}
        self.blocks = re.findall(r"^```console\n(.*?)^```", text[start:end if end > 0 else None], re.S | re.M)
        bin_dir = os.path.dirname(os.path.abspath(walferry.binary()))
        self.env = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}", "KAFKA_BROKERS": shop.kafka.brokers,
                                 "PGHOST": "127.0.0.1", "PGPORT": str(shop.postgres.port), "PGUSER": "postgres"}

    def run(self, number):
        """Runs block `number`; AssertionError where it prints something else. Returns what each command printed."""
        return [self._command(*step) for step in self._steps(self.blocks[number])]

    def _steps(self, block):
        steps = []
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps[-1][0].endswith("\\"):
                steps[-1] = (steps[-1][0][:-1] + line.strip(), [])
            else:
                steps[-1][1].append(line)
        return steps

    def _here(self, text):
        return re.sub(r"(?<![a-z])shop(?![a-z])", self.shop.name, text)

    def _command(self, command, wanted):
        actual = self._here(_TOKENS.sub(lambda m: self.meaning.get(m[0], m[0]), command))
        actual = re.sub(r"(walferry \w+ \S+\.yaml)", r"\1 --log-format text", actual)  # as on a terminal
        self.shop.write_config(name=f"{self.shop.name}.yaml")
        done = subprocess.run(["bash", "-c", actual], cwd=self.shop.dir, env=self.env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120)
        printed = done.stdout.replace(str(self.shop.dir) + "/", "").replace(self.shop.name, "shop")
        # Of what goes to stderr only failures and refusals are shown in a document.
        lines = [line for line in printed.splitlines()
                 if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn) ", line)]
        assert self._same(wanted, lines), "\n".join([f"$ {command}", *lines, "--- the document has", *wanted])
        return done.stdout

    def _same(self, wanted, lines):
        if not wanted or not lines:
            return all(line == "…" for line in wanted) and not lines
        if wanted[0] == "…":
            return len(wanted) == 1 or any(self._same(wanted[1:], lines[n:]) for n in range(len(lines)))
        return self._line(wanted[0], lines[0]) and self._same(wanted[1:], lines[1:])

    def _line(self, wanted, line):
        rest = wanted.endswith("…")
        wanted = wanted.removesuffix("…").rstrip() if rest else wanted.rstrip()
        pattern, at, groups = "", 0, []
        for token in _TOKENS.finditer(wanted):
            pattern += re.escape(wanted[at:token.start()]) + f"(?P<t{len(groups)}>{self._token(token)})"
            groups.append(token)
            at = token.end()
        pattern += re.escape(wanted[at:]) + (".*" if rest else r"\s*")
        pattern = re.sub(r"(\\ ){2,}", r" +", pattern)  # columns are as wide as the longest value
        found = re.fullmatch(pattern, line)
        if found is None:
            return False
        meanings = {}
        for n, token in enumerate(groups):
            if token.lastgroup in ("lsn", "uuid", "run"):
                known = self.meaning.get(token[0], meanings.get(token[0], found[f"t{n}"]))
                if known != found[f"t{n}"]:
                    return False
                meanings[token[0]] = known
        self.meaning.update(meanings)
        return True

    @staticmethod
    def _token(token):
        return {"lsn": r"[0-9A-F]+/[0-9A-F]+", "time": r"\d{4}-\d\d-\d\dT[\d:.]+Z", "uuid": r"[0-9a-f-]{36}", "run": r"[0-9a-f]{16}",
                "xid": r"\d+", "size": r"\d+\.\d MB"}[token.lastgroup]
