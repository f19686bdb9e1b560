import os
import subprocess

import pytest

from harness import system


@pytest.fixture(scope="session")
def deb():
    """The Debian package as scripts/package builds it."""
    done = subprocess.run([system.ROOT / "scripts/package"], capture_output=True, text=True)
    assert done.returncode == 0, f"scripts/package fails:\n{done.stdout}{done.stderr}"
    path = system.ROOT / done.stdout.splitlines()[-1]
    assert path.suffix == ".deb" and path.is_file()
    return path


@pytest.fixture(scope="session")
def installed(deb):
    """What `cmake --install` lays down for the prefix /usr, below a DESTDIR."""
    dest = system.temp_dir("destdir")
    done = subprocess.run(["cmake", "--install", system.ROOT / "build/package"], env={**os.environ, "DESTDIR": str(dest)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield dest / "usr"
    system.remove_dir(dest)
