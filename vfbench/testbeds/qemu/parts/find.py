"""Find the parts: what was named, else what `make linux-guest` unpacked, else the host's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vfbench.errors import UserError
from vfbench.settings import Qemu as Settings
from vfbench.testbeds.qemu.parts import prefix
from vfbench.testbeds.qemu.parts.described import Compiler, Kernel, Parts, Qemu, kernel_version
from vfbench.testbeds.qemu.parts.inspect import inspected

AUTO = "auto"
PREFERRED = (6, 12)
"""The kernel that `auto` takes where it is there: the longterm series that the design was measured with."""
FETCH_HINT = "fetch it with `make linux-guest`, or name it with"
IMAGE_PREFIXES = ("vmlinuz-", "vmlinux-", "bzImage-")
PROGRAM = "qemu-system-x86_64"
HOST_COMPILERS = ("musl-gcc", "cc", "gcc", "clang")


def find_parts(
    settings: Settings | None = None,
    *,
    modules: Path | None = None,
    busybox: Path | None = None,
    root: Path | None = None,
    options: tuple[str, str] = ("qemu.binary", "qemu.kernel"),
) -> Parts:
    """The parts that ``settings`` ask for; UserError, with what would do, for the first that is missing.

    ``options`` are the user's names of the QEMU and of the kernel, for the messages.
    """
    asked = settings or Settings()
    unpacked = root or prefix.PREFIX
    complete = unpacked if prefix.manifest(unpacked) is not None else None
    return Parts(
        qemu=find_qemu(asked.binary, complete, options[0]),
        kernels=find_kernels(asked.kernel, complete, modules, options[1]),
        busybox=_busybox(busybox, complete),
        compiler=_compiler(complete),
    )


def find_qemu(binary: str, unpacked: Path | None, option: str = "qemu.binary") -> Qemu:
    """The QEMU named ``binary``, or for ``auto`` the unpacked one, or the one on the PATH."""
    if binary != AUTO:
        named = shutil.which(binary)
        if named is None:
            raise UserError(f"{option}: there is no program {binary}; {FETCH_HINT} {option}")
        return inspected((named,))
    if unpacked is not None:
        return inspected(prefix.qemu_command(unpacked), prefix.qemu_environment(unpacked))
    installed = shutil.which(PROGRAM)
    if installed is None:
        raise UserError(f"{PROGRAM} was not found: {FETCH_HINT} {option}")
    return inspected((installed,))


def find_kernels(
    wanted: str, unpacked: Path | None, modules: Path | None = None, option: str = "qemu.kernel"
) -> tuple[Kernel, ...]:
    """The kernel that was asked for, then the others that are there.

    ``wanted`` is ``auto``, ``newest``, a version like ``6.12`` or the beginning of one, or a file.
    """
    known = (*(prefix.kernels(unpacked) if unpacked else ()), *_hosts_kernels())
    if "/" in wanted:
        return (_named_kernel(Path(wanted), modules, option), *known)
    if not known:
        raise UserError(f"a kernel with its modules was not found: {FETCH_HINT} {option}")
    chosen = _chosen(wanted, known)
    if chosen is None:
        have = ", ".join(dict.fromkeys(kernel.release for kernel in known))
        raise UserError(f"{option}: there is no kernel {wanted!r}; there are {have}, or name a file")
    return (chosen, *(kernel for kernel in known if kernel != chosen))


def _chosen(wanted: str, known: tuple[Kernel, ...]) -> Kernel | None:
    if wanted == AUTO:
        return next((kernel for kernel in known if kernel.version == PREFERRED), known[0])
    if wanted == "newest":
        return max(known, key=lambda kernel: kernel.version)
    return next((each for each in known if _begins(each.release, wanted)), None)


def _begins(release: str, wanted: str) -> bool:
    """`6.12` begins 6.12.117+deb13, and not 6.120."""
    return release == wanted or (release.startswith(wanted) and not release[len(wanted)].isdigit())


def _named_kernel(image: Path, modules: Path | None, option: str) -> Kernel:
    if not image.is_file():
        raise UserError(f"{option}: there is no file {image}; {FETCH_HINT} {option}")
    release = _release_of(image)
    places = (modules, image.parent, Path("/lib/modules") / release)
    place = next((each for each in places if each is not None and (each / "kernel").is_dir()), None)
    if place is None:
        raise UserError(
            f"{option}: no modules of {image} were found, beside it (kernel/) or in /lib/modules/{release}"
        )
    return Kernel(image.absolute(), place.absolute(), release)


def _release_of(image: Path) -> str:
    """By the image's name, as distributions write it; a bare `vmlinuz` lies in a folder of that name."""
    for start in IMAGE_PREFIXES:
        if image.name.startswith(start):
            return image.name.removeprefix(start)
    return image.absolute().parent.name


def _hosts_kernels() -> tuple[Kernel, ...]:
    """The host's own, the newest first: those that can be read and whose modules are there."""
    found = []
    for folder in sorted(Path("/lib/modules").glob("*")):
        images = (Path("/boot") / f"vmlinuz-{folder.name}", folder / "vmlinuz")
        image = next((path for path in images if path.is_file()), None)
        if image is not None and (folder / "kernel").is_dir():
            found.append(Kernel(image, folder, folder.name))
    return tuple(sorted(found, key=lambda kernel: kernel_version(kernel.release), reverse=True))


def _busybox(named: Path | None, unpacked: Path | None) -> Path:
    if named is not None:
        if not named.is_file():
            raise UserError(f"--busybox: there is no {named}; {FETCH_HINT} --busybox")
        return named
    installed = shutil.which("busybox")
    own = unpacked / prefix.BUSYBOX if unpacked else None
    found = own or (Path(installed) if installed else None)
    if found is None:
        raise UserError("busybox was not found: `make linux-guest` fetches it, or install a static busybox")
    return found


def _compiler(unpacked: Path | None) -> Compiler | None:
    own = prefix.compiler(unpacked) if unpacked else None
    if own is not None:
        return own
    for name in HOST_COMPILERS:
        path = shutil.which(name)
        if path is not None and _links_statically(path):
            return Compiler((path, "-static", "-O1"))
    return None


def _links_statically(path: str) -> bool:
    """Whether the compiler has a static C library; many distributions keep it in a package of its own."""
    command = [path, "-static", "-x", "c", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input=b"int main(void){return 0;}", capture_output=True, check=False)
    return done.returncode == 0
