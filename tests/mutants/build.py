"""Builds mutants in build/mutants. One tree serves all of them in turn, so that each compiles only what it changes."""
import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.system import ROOT

HERE = Path(__file__).resolve().parent
OUT = ROOT / "build" / "mutants"
TREE = OUT / "tree"
FOLDERS = ("bridge", "decoders", "config")
FILES = ("CMakeLists.txt", "CMakePresets.json", "config/systemd/unit.service.in", "scripts/packaging/deb.cmake")


def names():
    return sorted(p.stem for p in HERE.glob("*.patch"))


def build(name):
    """The path of the mutant's binary, made anew if sources or patch changed."""
    patch = HERE / f"{name}.patch"
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        binary, stamp, digest = OUT / name / "walferry", OUT / name / "stamp", _digest(patch)
        if binary.exists() and stamp.exists() and stamp.read_text() == digest:
            return binary
        with tempfile.TemporaryDirectory(prefix="walferry-mutant.") as temp:
            _copy_sources(Path(temp))
            _run(["patch", "-p1", "--no-backup-if-mismatch", "-i", str(patch)], temp, f"{patch.name} does not apply")
            _sync(Path(temp), TREE)
        _run(["cmake", "--preset", "test", "-DWALFERRY_TESTS=OFF"], TREE, f"{name} does not configure")
        _run(["cmake", "--build", "--preset", "test"], TREE, f"{name} does not build")
        binary.parent.mkdir(exist_ok=True)
        shutil.copy2(TREE / "build" / "test" / "walferry", binary)
        stamp.write_text(digest)
        return binary


def _sources(root):
    """Relative paths of all that the binary is made from."""
    found = [Path(f) for f in FILES]
    for folder in FOLDERS:
        found += [p.relative_to(root) for p in (root / folder).rglob("*") if p.suffix in (".c", ".h")]
    return sorted(found)


def _digest(patch):
    digest = hashlib.sha256(patch.read_bytes())
    for path in _sources(ROOT):
        digest.update(str(path).encode() + b"\0" + (ROOT / path).read_bytes())
    return digest.hexdigest()


def _copy_sources(target):
    for path in _sources(ROOT):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target / path)


def _sync(source, target):
    """Makes target's sources those of source, touching only what differs."""
    target.mkdir(parents=True, exist_ok=True)
    wanted = set(_sources(source))
    for path in (set(_sources(target)) if all((target / f).exists() for f in FILES) else set()) - wanted:
        (target / path).unlink()
    for path in wanted:
        content = (source / path).read_bytes()
        if not (target / path).exists() or (target / path).read_bytes() != content:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)


def _run(command, folder, what):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{what}:\n{done.stdout[-4000:]}")
