"""`make linux-guest`: QEMU, two kernels, busybox and a compiler from Debian into the user's cache; installs nothing.

Downloads lie in a folder beside the prefix until all is done, so that what was broken off goes on where it stopped.
What was unpacked is tried before it takes the place of an earlier prefix.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vfbench.errors import UserError
from vfbench.files import make_folders, put_folder, write_file
from vfbench.testbeds.qemu.parts import prefix
from vfbench.testbeds.qemu.parts.apt import Download, PrivateApt
from vfbench.testbeds.qemu.parts.compiled import compiled
from vfbench.testbeds.qemu.parts.described import kernel_version
from vfbench.testbeds.qemu.parts.inspect import inspected
from vfbench.testbeds.qemu.parts.modules import in_loading_order
from vfbench.testbeds.qemu.parts.unpack import unpack

SUITE, BACKPORTS = "trixie", "trixie-backports"
PROGRAMS = ("qemu-system-x86", "busybox-static")
COMPILER = ("tcc", "musl-dev")
"""Without what they need: musl-dev asks for gcc, which only its wrapper of gcc needs."""
LEAST_QEMU = (11, 1, 0)
LONGTERM = (6, 12)
KERNEL_METAPACKAGE = "linux-image-amd64"
TRIED_MODULES = ("ixgbevf", "virtio_net", "net_failover", "igb", "igbvf", "e1000e", "vhost_net", "vfio-pci")
MB = 10**6

Say = Callable[[str], None]


def fetch(say: Say, root: Path = prefix.PREFIX, *, anew: bool = False) -> None:
    """Make ``root`` complete; returns at once where it is, unless ``anew``. UserError where it can't be done."""
    try:
        make_folders(root.parent)
    except OSError as error:
        raise UserError(f"{root.parent} can't be written ({error.strerror}); set XDG_CACHE_HOME") from error
    with _alone(root):
        found = None if anew else prefix.manifest(root)
        if found is not None:
            say(f"already there: {_contents(found)}, in {root} (--anew fetches the newest)")
            return
        downloads = root.with_name(root.name + ".downloads")
        beside = root.with_name(root.name + ".unpacking")
        packages = _download(downloads, say)
        shutil.rmtree(beside, ignore_errors=True)
        say(f"unpacking {len(packages)} packages")
        unpack(packages, beside)
        contents = _tried(beside, packages)
        write_file(beside / prefix.MANIFEST, json.dumps(contents, indent=1), replace=False)
        _replace(beside, root)
        shutil.rmtree(downloads, ignore_errors=True)
    say(f"fetched {_contents(contents)} into {root}")


def _download(folder: Path, say: Say) -> list[Path]:
    """Every package's file."""
    apt = PrivateApt(folder, (SUITE, BACKPORTS))
    say("reading the lists of packages")
    apt.update()
    single = [*COMPILER, *_kernel_packages(apt)]
    wanted = (apt.closure(BACKPORTS, PROGRAMS), apt.alone(single))
    say(
        f"downloading {sum(map(len, wanted))} packages, {_megabytes(*wanted)} MB: QEMU, busybox, {', '.join(single)}"
    )
    folders = (apt.fetch_closure(BACKPORTS, PROGRAMS), apt.fetch_alone(single))
    files = [folder / each.file for folder, listed in zip(folders, wanted, strict=True) for each in listed]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"apt-get downloaded no {missing[0]}; delete {folder} and fetch again")
    return files


def _kernel_packages(apt: PrivateApt) -> list[str]:
    """The packages of the newest kernel and of the newest of the longterm series.

    Up to 6.x one package holds image and modules; from 7.x it is empty and needs a -binary-, a -modules- and a -base-.
    """
    versions = apt.versions(KERNEL_METAPACKAGE)
    longterm = next((each for each in versions if kernel_version(each) == LONGTERM), None)
    if longterm is None:
        raise UserError(
            f"the archive has no Linux {LONGTERM[0]}.{LONGTERM[1]}; it has {', '.join(versions) or 'none'}"
        )
    packages: list[str] = []
    for version in dict.fromkeys((max(versions, key=kernel_version), longterm)):
        needed = apt.depends(KERNEL_METAPACKAGE, version)
        image = next(name for name in needed if name.startswith("linux-image-"))
        release = image.removeprefix("linux-image-")
        packages += [image, *(name for name in apt.depends(image) if name.endswith(release))]
    return packages


def _tried(root: Path, packages: list[Path]) -> dict[str, object]:
    """The manifest of a prefix that works: QEMU starts, both kernels have their modules, the compiler compiles."""
    qemu = inspected(prefix.qemu_command(root), prefix.qemu_environment(root))
    if qemu.version < LEAST_QEMU or "vfio-user-pci" not in qemu.devices:
        raise UserError(f"QEMU {qemu.release} has no vfio-user-pci; the archive should have 11.1 or newer")
    kernels = prefix.kernels(root)
    if LONGTERM not in [kernel.version for kernel in kernels]:
        raise UserError(f"what was unpacked has no kernel {LONGTERM[0]}.{LONGTERM[1]} with its modules")
    for kernel in kernels:
        in_loading_order(kernel.modules, TRIED_MODULES)
    if not (root / prefix.BUSYBOX).is_file():
        raise UserError("what was unpacked has no busybox")
    compiled(prefix.compiler(root))
    return {
        "layout": prefix.LAYOUT,
        "qemu": qemu.release,
        "kernels": [kernel.release for kernel in kernels],
        "packages": sorted(package.name for package in packages),
    }


def _replace(beside: Path, root: Path) -> None:
    """Put a new prefix where the old one is, at once: a reader, or a crash, finds the old one or the new one."""
    put_folder(beside, root)
    shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Two fetches at once would unpack into each other; the second waits and then finds all done."""
    with root.with_name(root.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _contents(found: dict[str, object]) -> str:
    kernels = found["kernels"]
    assert isinstance(kernels, list)  # noqa: S101 - written by _tried
    return f"QEMU {found['qemu']}, Linux {' and '.join(kernels)}"


def _megabytes(*lists: list[Download]) -> int:
    return round(sum(each.size_bytes for listed in lists for each in listed) / MB)
