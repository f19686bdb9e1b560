"""The Debian package: what is in it, and what it does to a system that has nothing else."""
import os
import subprocess

import pytest

from harness import system

from . import roots


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], check=True, capture_output=True, text=True).stdout.strip()


def listing(deb):
    """path: its mode, as ls writes it."""
    out = subprocess.run(["dpkg-deb", "-c", deb], check=True, capture_output=True, text=True).stdout
    lines = [line.split(maxsplit=5) for line in out.splitlines()]
    assert all(words[1] == "root/root" for words in lines)
    return {words[5].removeprefix("."): words[0] for words in lines}


def test_lintian_finds_no_error(deb):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", "--no-tag-display-limit", deb], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_holds_no_config_that_an_upgrade_would_ask_about(deb):
    files = listing(deb)
    assert [path for path in files if path.startswith("/etc/")] == ["/etc/", "/etc/walferry/"]
    assert field(deb, "Conffiles") == ""
    assert files["/usr/bin/walferry"] == "-rwxr-xr-x"
    for unit in ("walferry@.service", "walferry-inbox@.service"):
        assert files[f"/lib/systemd/system/{unit}"] == "-rw-r--r--"
    assert {"/usr/share/doc/walferry/copyright", "/usr/share/doc/walferry/changelog.Debian.gz",
            "/usr/share/doc/walferry/config/examples/shop.yaml", "/usr/share/man/man1/walferry.1.gz"} <= set(files)


def test_it_depends_on_the_package_of_each_library_that_the_program_is_linked_with(deb, installed):
    dynamic = subprocess.run(["readelf", "-d", installed / "bin/walferry"], check=True, capture_output=True, text=True).stdout
    libraries = [line.split("[")[1].split("]")[0] for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert len(libraries) >= 5
    depends = {alternative.split()[0] for alternative in field(deb, "Depends").split(", ")}
    folder = f"/lib/{subprocess.getoutput('gcc -print-multiarch')}"
    names = [os.path.basename(os.path.realpath(f"{folder}/{library}")) for library in libraries]
    owners = subprocess.run(["dpkg", "-S", *(f"*/{name}" for name in names)], check=True, capture_output=True, text=True).stdout
    for name in names:
        owner = next(line.split(":")[0] for line in owners.splitlines() if line.endswith("/" + name))
        assert owner in depends, name


def test_the_program_is_hardened(installed):
    said = subprocess.run(["readelf", "-dl", installed / "bin/walferry"], check=True, capture_output=True, text=True).stdout
    assert "BIND_NOW" in said and "PIE" in said and "GNU_RELRO" in said
    symbols = subprocess.run(["readelf", "-Ws", "--dyn-syms", installed / "bin/walferry"], check=True, capture_output=True,
                             text=True).stdout
    assert "__stack_chk_fail" in symbols and "_chk@" in symbols


@pytest.mark.skipif(roots.why_not() is not None, reason=str(roots.why_not()))
def test_it_installs_runs_and_leaves_nothing_behind_on_a_system_with_nothing_else(deb):
    root = roots.Root("deb")
    try:
        before = root.run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
        (root.dir / "tmp/walferry.deb").write_bytes(deb.read_bytes())
        root.install("/tmp/walferry.deb")
        assert root.run("walferry", "--version", uid=roots.UID).stdout.startswith(f"walferry {field(deb, 'Version').split('-')[0]} ")
        example = root.run("walferry", "init", "/usr/share/doc/walferry/config/examples/shop.yaml", "--print", uid=roots.UID)
        assert "CREATE PUBLICATION" in example.stdout
        assert (root.dir / "etc/walferry").is_dir()
        root.install("--reinstall", "/tmp/walferry.deb")  # as an upgrade does: the maintainer scripts run again

        (root.dir / "etc/walferry/shop.yaml").write_text("name: shop\n")
        files = [path for path in root.run("dpkg", "-L", "walferry").stdout.split() if not (root.dir / path.lstrip("/")).is_dir()]
        assert len(files) > 10
        root.run("dpkg", "--purge", "walferry")
        assert not [path for path in files if (root.dir / path.lstrip("/")).exists()]
        assert (root.dir / "etc/walferry/shop.yaml").exists(), "what the operator wrote is not the package's to remove"
        assert "walferry" not in root.run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
        assert set(before) <= set(root.run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split())
    finally:
        root.close()
