"""The rules behind scripts/check-style. Run from the root of the repository.

--junit FILE writes the result as a JUnit file, one test case a rule."""
import re
import subprocess
import sys
from pathlib import Path
from shutil import which
from xml.sax.saxutils import quoteattr

# A folder may include from these, besides system headers. main.c, cli.c and the wiring directly in bridge/ may include all.
LAYERS = {
    "bridge/base": ["bridge/base"],
    "decoders": ["bridge/base", "decoders"],
    "config": ["bridge/base", "config", "bridge/postgres/conninfo.h"],  # conninfo: pure text, kept where libpq is
    "bridge/event": ["bridge/base", "decoders", "bridge/event"],
    "bridge/postgres": ["bridge/base", "bridge/postgres"],
    "bridge/kafka": ["bridge/base", "bridge/kafka"],
    "bridge/relay": ["bridge/base", "decoders", "bridge/event", "bridge/postgres", "bridge/kafka", "bridge/relay"],
    "bridge/inbox": ["bridge/base", "bridge/event", "bridge/postgres", "bridge/kafka", "bridge/inbox"],
    "bridge/ops": ["bridge/base", "decoders", "config", "bridge/event", "bridge/postgres", "bridge/kafka", "bridge/relay",
                   "bridge/inbox", "bridge/ops"],
}
ONLY_HOME = {"libpq-fe.h": "bridge/postgres", "rdkafka.h": "bridge/kafka", "rdkafka_mock.h": "bridge/kafka",
             "sd-daemon.h": "bridge/ops"}
BANNED = ["atoi", "atol", "atoll", "atof", "scanf", "fscanf", "sscanf", "sprintf", "vsprintf", "strcpy", "stpcpy", "strcat",
          "strtok", "gets"]
ROOTS = ["bridge", "decoders", "config"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CALL = re.compile(r"(?<![A-Za-z0-9_.>])(" + "|".join(BANNED) + r")\s*\(")


def c_files(*roots):
    return sorted(p for root in roots for p in Path(root).rglob("*.[ch]"))


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if found := INCLUDE.match(line):
            yield number, found[1], found[2]


def code_lines(path):
    """Lines without comments and string contents, so that a word in a comment is no call."""
    text = path.read_text(errors="replace")
    blank = lambda m: re.sub(r"[^\n]", " ", m[0])
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return enumerate(text.splitlines(), 1)


def home_headers():
    """libpq-fe.h, rdkafka.h and sd-daemon.h stay in their folders"""
    for path in c_files(*ROOTS):
        for number, _, name in includes(path):
            home = ONLY_HOME.get(name.rsplit("/", 1)[-1])
            if home and not path.is_relative_to(home):
                yield f"{path}:{number}: {name} is included only under {home}/"


def layers():
    """includes point one way"""
    for path in c_files(*ROOTS):
        folder = next((f for f in sorted(LAYERS, key=len, reverse=True) if path.is_relative_to(f)), None)
        for number, quote, name in includes(path):
            if quote == '"' and folder and "/" in name and not any(name == f or name.startswith(f + "/") for f in LAYERS[folder]):
                yield f"{path}:{number}: {folder}/ must not include {name}"
        if folder is None and path.parent != Path("bridge"):
            yield f"{path}:1: this folder has no rule in scripts/lib/check_style.py"


def full_paths():
    """own headers are included by their path from the root"""
    for path in c_files(*ROOTS):
        for number, quote, name in includes(path):
            if quote == '"' and not Path(name).is_file():
                yield f'{path}:{number}: "{name}" is no header of ours, written in full from the root'
            if quote == "<" and name.startswith(("bridge/", "decoders/", "config/")):
                yield f'{path}:{number}: own headers are included in quotes: "{name}"'
            if name.endswith(".c"):
                yield f"{path}:{number}: {name} is not a header"


def banned_functions():
    """no atoi, sscanf, sprintf, strcpy, strtok and their kin"""
    for path in c_files(*ROOTS):
        for number, line in code_lines(path):
            if found := CALL.search(line):
                yield f"{path}:{number}: {found[1]} is banned (see bridge/base)"


def formatting():
    """clang-format leaves every C file as it is"""
    files = c_files(*ROOTS, "tests")
    if not files or not which("clang-format") or not Path(".clang-format").is_file():
        return
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *map(str, files)], capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if found := re.match(r"(.*?:\d+):\d+: error: code should be clang-formatted", line):
            yield f"{found[1]}: not as clang-format would have it"
    if done.returncode != 0 and "clang-formatted" not in done.stderr:
        yield f".clang-format:1: clang-format fails: {done.stderr.strip()[:300]}"


def shell_scripts():
    """shell scripts parse and are executable"""
    for path in sorted([*Path("scripts").rglob("*"), Path(".ci/run")]):
        if not path.is_file():
            continue
        first = path.read_bytes()[:100].split(b"\n")[0]
        is_script = first.startswith(b"#!") and first.rstrip().endswith(b"sh")
        if is_script or path.suffix == ".sh":
            done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
            for line in done.stderr.splitlines():
                found = re.match(r".*?: line (\d+): (.*)", line)
                yield f"{path}:{found[1]}: {found[2]}" if found else f"{path}:1: {line}"
        if is_script and not path.stat().st_mode & 0o111:
            yield f"{path}:1: not executable"


def python_files():
    """Python files compile"""
    for path in sorted(p for root in ("scripts", "tests") for p in Path(root).rglob("*.py")):
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            yield f"{path}:{getattr(error, 'lineno', 1)}: {error}"


RULES = [home_headers, layers, full_paths, banned_functions, formatting, shell_scripts, python_files]


def main(arguments):
    if not c_files(*ROOTS):
        sys.exit("check-style: no C files found; is this the root of the repository?")
    cases, failed = [], 0
    for rule in RULES:
        violations = list(rule())
        for violation in violations:
            print(violation)
        failed += bool(violations)
        detail = f"<failure message={quoteattr(chr(10).join(violations))}/>" if violations else ""
        cases.append(f"<testcase classname=\"style\" name={quoteattr(rule.__doc__)}>{detail}</testcase>")
    if arguments[:1] == ["--junit"]:
        Path(arguments[1]).write_text(f'<testsuite name="style" tests="{len(cases)}" failures="{failed}">'
                                      + "".join(cases) + "</testsuite>\n")
    if not failed:
        print(f"style: {len(RULES)} rules hold over {len(c_files(*ROOTS))} C files")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main(sys.argv[1:])
