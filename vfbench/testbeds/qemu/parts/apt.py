"""An apt of our own: its lists, its downloads and its dpkg status lie in one folder, nothing of the machine's is used.

The status file is empty, so that apt believes that nothing is installed and fetches a package with everything that it
needs, libc included: the result starts on a bare machine, and on one of another release. Only where packages come from
and how they are reached (mirror, keys, proxy) are read from the machine's configuration. Needs no root.

Source: apt.conf(5), apt-get(8), sources.list(5).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vfbench.errors import UserError

TOOLS = ("apt-get", "apt-cache", "apt-config", "dpkg-deb")
OWN_WAY = "name a QEMU and a kernel of your own: --set qemu.binary=FILE --set qemu.kernel=FILE"
SUITES = ("bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing", "unstable")
"""Releases by which a line of the machine's sources is known for a Debian archive."""
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{kind}" for kind in ("pgp", "gpg"))
TARGETS = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CONFIGURATION = """
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::State::extended_states "{folder}/extended_states";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "{folder}/empty";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/empty";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{folder}/empty";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
"""


@dataclass(frozen=True)
class Download:
    """A package's file as apt names it, and its size."""

    file: str
    size_bytes: int


class PrivateApt:
    """An apt in ``folder``, which knows the suites that it is made with; UserError where there is none to run."""

    def __init__(self, folder: Path, suites: Sequence[str]) -> None:
        _refuse_other_machines()
        self.folder = folder
        for part in ("lists/partial", "cache/archives/partial", "empty", "single"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "apt.conf").write_text(_machines_acquire_options() + CONFIGURATION.format(folder=folder))
        mirror, signed = _debian_mirror(), _signed_by()
        lines = (f"deb {signed}{mirror} {suite} main\n" for suite in suites)
        (folder / "sources.list").write_text("".join(lines))

    def update(self) -> None:
        """Read the lists of packages; a list that can't be had is an error, not a warning."""
        self._run("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")

    def versions(self, package: str) -> list[str]:
        """Every version of a package that the suites have, as apt-cache madison lists them, the newest first."""
        lines = self._run("apt-cache", "madison", package).splitlines()
        return list(dict.fromkeys(line.split("|")[1].strip() for line in lines if line.count("|") == 2))

    def depends(self, package: str, version: str = "") -> list[str]:
        """The names that a package's field Depends has, the first of each alternative."""
        shown = self._run("apt-cache", "show", f"{package}={version}" if version else package)
        for line in shown.splitlines():
            if line.startswith("Depends: "):
                return [each.split("|")[0].split("(")[0].strip() for each in line[9:].split(",")]
        return []

    def closure(self, suite: str, packages: Sequence[str]) -> list[Download]:
        """What packages of ``suite`` need, all of it, downloaded or not."""
        return self._listed("-y", "-t", suite, "install", *packages)

    def alone(self, packages: Sequence[str]) -> list[Download]:
        """Packages without what they need, downloaded or not."""
        return self._listed("download", *packages)

    def fetch_closure(self, suite: str, packages: Sequence[str]) -> Path:
        """Download it, going on where an earlier try stopped; returns the folder."""
        self._run("apt-get", "-q", "-d", "-y", "-t", suite, "install", *packages)
        return self.folder / "cache/archives"

    def fetch_alone(self, packages: Sequence[str]) -> Path:
        """Download packages only; what lies there whole is not downloaded again. Returns the folder."""
        single = self.folder / "single"
        self._run("apt-get", "-q", "download", *packages, cwd=single)
        return single

    def _listed(self, *command: str) -> list[Download]:
        """apt lists what is not downloaded yet, as `'address' file size hash`; so it is shown an empty folder."""
        nothing = self.folder / "nothing"
        (nothing / "partial").mkdir(parents=True, exist_ok=True)
        unaware = ("-o", f"Dir::Cache::archives={nothing}/")
        printed = self._run("apt-get", "-qq", *unaware, "--print-uris", *command, cwd=nothing)
        words = (line.split() for line in printed.splitlines() if line.startswith("'"))
        return [Download(each[1], int(each[2])) for each in words]

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        environment = {"APT_CONFIG": str(self.folder / "apt.conf"), "PATH": SYSTEM_PATH, "LC_ALL": "C"}
        proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        return _run(command, cwd or self.folder, {**proxies, **environment})


def _refuse_other_machines() -> None:
    if platform.machine() != "x86_64":
        raise UserError(
            f"packages for x86-64 are fetched, and this machine is {platform.machine()}; {OWN_WAY}"
        )
    missing = [tool for tool in TOOLS if shutil.which(tool, path=SYSTEM_PATH) is None]
    if missing:
        raise UserError(f"fetching needs Debian's {missing[0]}, which is not here; {OWN_WAY}")


def _machines_acquire_options() -> str:
    """How the machine reaches its archives: proxies, certificates, time-outs."""
    dumped = _run(("apt-config", "dump"), Path("/"), {"PATH": SYSTEM_PATH, "LC_ALL": "C"})
    return "".join(f"{line}\n" for line in dumped.splitlines() if line.startswith("Acquire::"))


def _debian_mirror() -> str:
    """The archive that the machine's own packages come from."""
    asked = ("apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages")
    known = _run(asked, Path("/"), {"PATH": SYSTEM_PATH, "LC_ALL": "C"})
    for address, suite, component in (line.split() for line in known.splitlines() if line.count(" ") == 2):
        if component == "main" and suite in SUITES:
            return address
    raise UserError(f"apt knows no archive of a Debian release ({', '.join(SUITES[:3])}); {OWN_WAY}")


def _signed_by() -> str:
    """Debian's own keys where the machine has them in their place; else apt's trusted ones are asked."""
    keyring = next((path for path in KEYRINGS if path.is_file()), None)
    return f"[signed-by={keyring}] " if keyring else ""


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [
            line for line in done.stderr.splitlines() if line.startswith("E:")
        ] or done.stderr.splitlines()
        raise UserError(
            f"`{' '.join(command[:4])} ...` failed: {said[0].strip() if said else 'no reason given'}"
        )
    return done.stdout
