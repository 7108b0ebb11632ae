"""Fetch the guest's parts with apt-get: packages are downloaded and unpacked into a cache folder, not installed.

Where the packages come from is read from the machine's own list of sources; the backports of its release are
added to it for this one download, because the release itself may be older than QEMU's igb device (8.0).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from vfbench.errors import UserError
from vfbench.validation.linux.parts import CACHE

PACKAGES = (
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    "busybox-static",
)
KERNEL = "linux-image-amd64"
TARGETS = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
OWN_SOURCES = """
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def fetch(say: Callable[[str], None], root: Path = CACHE) -> None:
    """Download and unpack what :func:`find_parts` looks for, 122 MB; UserError where apt-get can't."""
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if shutil.which(tool) is None:
            raise UserError(
                f"--fetch needs Debian's {tool}, which is not here; name the parts with --kernel and so on"
            )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {"APT_CONFIG": str(_configuration(folder)), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        backports = _write_sources(folder)
        say("reading the lists of packages")
        _run(["apt-get", "-q", "update"], folder, environment)
        kernel = _kernel_package(folder, environment, backports)
        say(f"downloading QEMU, busybox and {kernel}")
        _run(["apt-get", "-q", "download", "-t", backports, *PACKAGES, kernel], folder, environment)
        _unpack(folder, root)
    say(f"unpacked into {root}")


def _configuration(folder: Path) -> Path:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    path = folder / "apt.conf"
    path.write_text(OWN_SOURCES.format(folder=folder))
    return path


def _write_sources(folder: Path) -> str:
    """A list of sources with the release and its backports; returns the name of the latter."""
    known = _run(["apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages"], folder, None)
    main = [line.split() for line in known.splitlines() if line.endswith(" main")]
    release = next((each for each in main if "-" not in each[1]), None)
    if release is None:
        raise UserError("--fetch: apt-get knows no main archive of a release; add one to its sources")
    address, codename, _ = release
    backports = f"{codename}-backports"
    (folder / "sources.list").write_text("".join(f"deb {address} {s} main\n" for s in (codename, backports)))
    return backports


def _kernel_package(folder: Path, environment: dict[str, str], backports: str) -> str:
    """The package behind the newest kernel's metapackage."""
    found = _run(["apt-cache", "-t", backports, "depends", f"{KERNEL}"], folder, environment)
    for line in found.splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise UserError(f"--fetch: {KERNEL} names no kernel package; name a kernel with --kernel and --modules")


def _unpack(folder: Path, root: Path) -> None:
    """Unpack beside the place, then put it there, so that nothing half unpacked is found."""
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = root.with_name(root.name + ".unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(beside)], folder, None)
    shutil.rmtree(root, ignore_errors=True)
    beside.rename(root)


def _run(command: list[str], folder: Path, environment: dict[str, str] | None) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"--fetch: `{' '.join(command[:3])}` failed: {last}")
    return done.stdout
