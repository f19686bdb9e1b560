"""Runs the steps of our Dockerfile without a Docker: each stage in a root file system of its own. Knows the instructions that
the file uses, and refuses any other."""
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from harness import system

from .roots import Root


def instructions(path):
    """(instruction, rest) in order; continued lines are joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", Path(path).read_text(), flags=re.M)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


class Image:
    """root: the file system of the last stage; entrypoint, command, user, workdir, labels: what is written beside it."""

    def __init__(self, path, context):
        self.context = Path(context)
        self.stages = {}
        self.root = None
        for word, rest in instructions(path):
            getattr(self, "_" + word.lower())(rest)

    def _from(self, rest):
        image, _, name = rest.partition(" AS ")
        assert image == "debian:bookworm-slim", f"no base file system stands for {image}"
        self.root = self.stages[name or "last"] = Root(f"image-{name or 'last'}")
        self.entrypoint, self.command, self.user, self.workdir, self.labels = [], [], "0:0", "/", {}

    def _run(self, rest):
        self.root.run("sh", "-c", rest, cwd=self.workdir)

    def _copy(self, rest):
        words = rest.split()
        source = self.stages[words.pop(0).removeprefix("--from=")].dir if words[0].startswith("--from=") else self.context
        *wanted, target = words
        for name in wanted:
            self._copy_one(source / name.lstrip("/"), self.root.dir / target.lstrip("/"), source is self.context)

    def _copy_one(self, source, target, from_context):
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            ignore = [f"--exclude-from={self._ignored()}"] if from_context else []
            pack = subprocess.Popen(["tar", "-C", source, *ignore, "-cf", "-", "."], stdout=subprocess.PIPE)
            subprocess.run(["tar", "-C", target, "--no-same-owner", "-xf", "-"], stdin=pack.stdout, check=True)
            assert pack.wait() == 0
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def _ignored(self):
        """.dockerignore in tar's words: a name without **/ counts at the top only."""
        path = self.root.dir / "tmp/ignored"
        lines = (self.context / ".dockerignore").read_text().split()
        path.write_text("".join(f"{line.removeprefix('**/')}\n" if line.startswith("**/") else f"./{line}\n" for line in lines))
        return path

    def _user(self, rest):
        self.user = rest

    def _workdir(self, rest):
        self.workdir = rest
        (self.root.dir / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _entrypoint(self, rest):
        self.entrypoint = json.loads(rest)

    def _cmd(self, rest):
        self.command = json.loads(rest)

    def _label(self, rest):
        self.labels |= dict(word.split("=", 1) for word in shlex.split(rest))

    def close(self):
        for root in self.stages.values():
            root.close()
