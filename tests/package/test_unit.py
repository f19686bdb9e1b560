"""The systemd units, judged by systemd itself; no systemd has to be running."""
import re
import subprocess

import pytest

from harness import system

EXPOSURE_MAX = 1.2  # of 10, as `systemd-analyze security` counts; what is left is that it uses the network


@pytest.fixture(scope="module", params=[("walferry", "relay"), ("walferry-inbox", "inbox")], ids=["relay", "inbox"])
def unit(request, installed):
    """With the program at the place where the unit looks for it, which is inside the DESTDIR here."""
    name, command = request.param
    work = system.temp_dir("unit")
    text = (installed / f"lib/systemd/system/{name}@.service").read_text()
    assert f"ExecStart=/usr/bin/walferry {command} /etc/walferry/%i.yaml\n" in text
    assert f"systemctl enable --now {name}@shop\n" in text and "@UNIT" not in text
    path = work / f"{name}@shop.service"
    path.write_text(text.replace("/usr/bin/walferry", str(installed / "bin/walferry")))
    yield path
    system.remove_dir(work)


def test_systemd_finds_nothing_wrong_with_it(unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_let_do_little(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True)
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert exposure <= EXPOSURE_MAX, done.stdout


def test_the_exit_codes_that_a_restart_does_not_help_are_those_of_the_program(unit, installed):
    said = re.search(r"^RestartPreventExitStatus=(.*)$", unit.read_text(), re.M)[1].split()
    text = subprocess.run([installed / "bin/walferry", "--help"], check=True, capture_output=True, text=True).stdout
    for code in said:
        assert re.search(rf"\b{code} (usage, config or credentials|refused for safety)", text), (code, text)
    assert len(said) == 2
