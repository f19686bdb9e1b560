"""cmake --install: which files, and that man page, completions and program say the same."""
import os
import re
import subprocess
import time

import pytest

from harness import system

from . import usage


@pytest.fixture(scope="session")
def program(installed):
    return str(installed / "bin/walferry")


@pytest.fixture(scope="session")
def manual(installed):
    page = installed / "share/man/man1/walferry.1"
    text = subprocess.run(["mandoc", "-Tascii", "-Owidth=200", page], check=True, capture_output=True, text=True).stdout
    return re.sub(".\x08", "", text)  # bold and underlined letters are printed over each other


def section(manual, name):
    return re.search(rf"^{name}\n(.*?)(?=^[A-Z]|\Z)", manual, re.S | re.M)[1]


def test_everything_lands_where_it_is_looked_for(installed):
    found = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    docs = system.ROOT / "docs"
    pages = {f"share/doc/walferry/{p.relative_to(system.ROOT)}" for p in [*docs.iterdir(), *(docs / "events").iterdir()]
             if p.is_file()}
    config = {f"share/doc/walferry/{p.relative_to(system.ROOT)}" for folder in ("examples", "dashboards")
              for p in (system.ROOT / "config" / folder).rglob("*") if p.is_file()}
    assert found == pages | config | {
        "bin/walferry",
        "lib/systemd/system/walferry@.service",
        "lib/systemd/system/walferry-inbox@.service",
        "share/bash-completion/completions/walferry",
        "share/doc/walferry/CHANGELOG.md",
        "share/doc/walferry/CONTRIBUTING.md",
        "share/doc/walferry/LICENSE",
        "share/doc/walferry/README.md",
        "share/fish/vendor_completions.d/walferry.fish",
        "share/man/man1/walferry.1",
        "share/zsh/site-functions/_walferry",
    }


def test_the_links_of_the_documentation_lead_to_what_is_installed(installed):
    pages = list((installed / "share/doc/walferry").rglob("*.md"))
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) if ":" not in link]
    assert {link for _, link in links} >= {"docs/operations.md", "from-debezium.sql", "config/examples/shop.yaml"}
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


def test_the_program_and_the_unit_know_nothing_of_the_folder_they_were_built_in(installed):
    for name in ("bin/walferry", "lib/systemd/system/walferry@.service", "lib/systemd/system/walferry-inbox@.service"):
        assert str(system.ROOT).encode() not in (installed / name).read_bytes().replace(b"/usr/src", b""), name


def test_it_compiles_without_libsystemd():
    """WALFERRY_SYSTEMD=OFF differs in this one file."""
    done = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I.",
                           "bridge/ops/daemon.c"], cwd=system.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    naming = subprocess.run(["grep", "-rl", "WALFERRY_SYSTEMD\\|sd-daemon", "bridge", "config", "decoders"], cwd=system.ROOT,
                            capture_output=True, text=True).stdout.split()
    assert naming == ["bridge/ops/daemon.c"]


def test_help_names_commands_options_and_codes_that_can_be_compared(program):
    """The other tests compare with what was found here: nothing found would agree with everything."""
    assert {"relay", "init", "explain"} <= set(usage.commands(program))
    assert usage.options(program, "relay") >= {"--until", "--adopt-slot", "--help", "--log-format"}
    assert usage.exit_codes(program) == {"0", "1", "2", "3", "4"}


def test_the_manual_has_each_command_option_and_exit_code(program, manual):
    synopsis = section(manual, "SYNOPSIS")
    for command in usage.commands(program):
        lines = re.findall(rf"^ +walferry {command}\b.*(?:\n {{10,}}(?!walferry).*)*", synopsis, re.M)
        assert len(lines) == 1, f"{command} stands {len(lines)} times in the synopsis:\n{synopsis}"
        own = usage.options(program, command) - {"--help", "--log-format"}
        assert set(re.findall(r"--[a-z][a-z-]+", lines[0])) == own, command
        assert re.search(rf"^ {{3,}}{command}\s+[A-Z]", section(manual, "DESCRIPTION"), re.M), f"{command} is not described"
    described = set(re.findall(r"^ +(--[a-z][a-z-]+)", section(manual, "DESCRIPTION"), re.M))
    everything = usage.options(program).union(*(usage.options(program, c) for c in usage.commands(program)))
    assert described == everything
    assert set(re.findall(r"^ +(\d) ", section(manual, "EXIT STATUS"), re.M)) == usage.exit_codes(program)


@pytest.mark.parametrize("command", [["mandoc", "-Tlint", "-Wwarning"], ["groff", "-ww", "-mandoc", "-Tutf8", "-z"]],
                         ids=lambda c: c[0])
def test_the_manual_is_well_formed(installed, command):
    done = subprocess.run([*command, installed / "share/man/man1/walferry.1"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout + done.stderr == ""


# Completions: each shell is asked what it would offer.

def bash(installed, line):
    words = line.split(" ")
    script = (f"source {installed}/share/bash-completion/completions/walferry; COMP_WORDS=({' '.join(words)}); "
              f"[ -n '{words[-1]}' ] || COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _walferry; "
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    return set(subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split())


def fish(installed, line):
    script = f"source {installed}/share/fish/vendor_completions.d/walferry.fish; complete -C '{line}'"
    out = subprocess.run(["fish", "--no-config", "-c", script], check=True, capture_output=True, text=True,
                         env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}).stdout
    return {offer.split("\t")[0] for offer in out.splitlines()}


ZSH = r"""
zmodload zsh/zpty
zpty shell "stty -echo cols 160 rows 200; PS1=; PROMPT_SP= exec zsh -f -i"
zpty -w shell "PS1=; unsetopt prompt_sp zle_bracketed_paste; fpath=($1 \$fpath); autoload -Uz compinit; compinit -D -u; LISTMAX=0; print REA''DY"
zpty -r shell out '*READY*'
zpty -w -n shell "$2"$'\t\t'
while sleep 0.05; do
  while zpty -r -t shell out; do print -rn -- "$out"; done
done
"""


def zsh(installed, line):
    """There is no other way than to press the key: in a terminal of its own, until what it shows stays the same."""
    process = system.spawn(["zsh", "-f", "-c", ZSH, "zsh", installed / "share/zsh/site-functions", line],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, quiet = b"", 0
    try:
        os.set_blocking(process.stdout.fileno(), False)
        deadline = time.monotonic() + 20
        while quiet < 8 and time.monotonic() < deadline:
            more = process.stdout.read()
            out += more or b""
            quiet = 0 if more or b"--" not in out and b"relay" not in out else quiet + 1
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        system.forget(process)
    text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", out.decode(errors="replace"))
    return set(re.findall(r"^(\S+) +-- ", text, re.M))


SHELLS = [bash, fish, zsh]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s.__name__)
def test_each_shell_offers_each_command(installed, program, shell):
    offered = shell(installed, "walferry ")
    assert {o for o in offered if not o.startswith("-")} == set(usage.commands(program))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s.__name__)
def test_each_shell_offers_each_option_of_a_command_and_no_other(installed, program, shell):
    for command in usage.commands(program):
        assert shell(installed, f"walferry {command} --") == usage.options(program, command), command


def test_values_and_configs_are_offered(installed, tmp_path, monkeypatch):
    (tmp_path / "shop.yaml").touch()
    (tmp_path / "shop.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert bash(installed, "walferry relay sho") == {"shop.yaml"}
    assert "shop.yaml" in fish(installed, "walferry relay sho")  # fish offers other files behind it
    for shell in (bash, fish):
        assert shell(installed, "walferry relay shop.yaml --log-format ") >= {"text", "json"}
        assert shell(installed, "walferry relay shop.yaml --sink ") >= {"kafka", "stdout"}
