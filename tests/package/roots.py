"""A root file system of Debian with nothing but the base system, to install into and to run in. Needs root."""
import os
import shutil
import subprocess
from pathlib import Path

from harness import system

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "walferry"
UID = 65532  # nobody's on the machine


def os_release(key):
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == key:
            return value.strip('"')
    return None


def why_not():
    """Why no root can be made here, or None."""
    if os.getuid() != 0:
        return "debootstrap and chroot need root"
    if os_release("ID") != "debian":
        return "not on Debian"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return "mount namespaces are not allowed here"
    return None


def sources():
    """What this machine's own apt uses of Debian, as lines of a sources.list."""
    found = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                            "Created-By: Packages"], check=True, capture_output=True, text=True).stdout
    return sorted({line.removeprefix("Debian ") for line in found.splitlines() if line.startswith("Debian ")})


def base_archive():
    """The base system as a tar file, made once and kept in the cache."""
    suite = os_release("VERSION_CODENAME")
    archive = CACHE / f"debian-{suite}.tar"
    if archive.exists():
        return archive
    mirror = [line.split()[1] for line in sources() if line.split()[2] == suite][:1]  # else debootstrap's own default
    CACHE.mkdir(parents=True, exist_ok=True)
    work = system.temp_dir("debootstrap")
    try:
        made = subprocess.run(["debootstrap", "--variant=minbase", suite, work / "root", *mirror], capture_output=True, text=True)
        assert made.returncode == 0, f"debootstrap failed:\n{made.stdout[-2000:]}{made.stderr[-2000:]}"
        subprocess.run(["chroot", work / "root", "apt-get", "clean"], check=True)
        # A second one may have been faster; its archive is as good as ours.
        subprocess.run(["tar", "-C", work / "root", "-cf", work / "root.tar", "."], check=True)
        shutil.copyfile(work / "root.tar", archive.with_suffix(f".{os.getpid()}"))
        os.replace(archive.with_suffix(f".{os.getpid()}"), archive)
    finally:
        system.remove_dir(work)
    return archive


class Root:
    """A base system of its own in a temp folder."""

    def __init__(self, name):
        self.dir = system.temp_dir(name)
        subprocess.run(["tar", "-C", self.dir, "-xf", base_archive()], check=True)
        self.dir.chmod(0o755)
        (self.dir / "etc/apt/sources.list").write_text("\n".join(sources()) + "\n")
        # It is thrown away: dpkg need not wait for the disk. (The base of Docker's images says the same.)
        (self.dir / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        shutil.copyfile("/etc/resolv.conf", self.dir / "etc/resolv.conf")

    def run(self, *command, cwd="/", env=None, uid=0, check=True, timeout=600):
        """Runs it inside, with an environment of its own; the finished process, with its output as text."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **(env or {})}
        environment |= {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', cwd, *map(str, command)]
        done = subprocess.run(["chroot", f"--userspec={uid}:{uid}", "--groups=", self.dir, *inside], env=environment,
                              capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def install(self, *packages):
        """Debian packages by name, or .deb files inside the root by path."""
        self.run("apt-get", "-qq", "update")
        self.run("apt-get", "-qq", "-y", "--no-install-recommends", "install", *packages, env={"DEBIAN_FRONTEND": "noninteractive"})

    def walferry(self, name="walferry"):
        """A program outside that becomes the walferry inside: as nobody in particular, on a root file system that cannot be
        written to."""
        script = self.dir.parent / f"{self.dir.name}.{name}"
        script.write_text("#!/bin/sh\n# exec all the way: the process id stays\n"
                          f"exec unshare --mount sh -c 'mount --rbind {self.dir} {self.dir} && "
                          f"mount -o remount,ro,bind {self.dir} && "
                          f"exec chroot --userspec={UID}:{UID} --groups= {self.dir} /usr/bin/walferry \"$@\"' walferry \"$@\"\n")
        script.chmod(0o755)
        return str(script)

    def close(self):
        (self.dir.parent / f"{self.dir.name}.walferry").unlink(missing_ok=True)
        system.remove_dir(self.dir)
