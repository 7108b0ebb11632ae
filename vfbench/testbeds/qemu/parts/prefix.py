"""The private prefix that `make linux-guest` unpacks: where things lie in it, and how its programs are started.

Its programs belong to another release than the machine's, so they are started by their own dynamic loader with their
own libraries (ld.so(8)). A manifest is written last; a prefix without one is not complete and is not used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from vfbench.testbeds.qemu.parts.described import Compiler, Kernel, kernel_version

PREFIX = user_cache_path("vfbench") / "linux-guest"
"""Where packages are unpacked; searched before the system's own folders."""
LAYOUT = 2
"""Of the prefix; one with another number is fetched anew."""
MANIFEST = "manifest.json"
QEMU = "usr/bin/qemu-system-x86_64"
BUSYBOX = "usr/bin/busybox"
FIRMWARE = ("usr/share/qemu", "usr/share/seabios")


def manifest(prefix: Path) -> dict[str, Any] | None:
    """What was unpacked there; None where nothing is, or not completely, or by another layout."""
    try:
        found = json.loads((prefix / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("layout") == LAYOUT else None


def started_by_own_loader(prefix: Path, program: str) -> tuple[str, ...]:
    """The command that starts a program of the prefix on any Linux of this architecture."""
    libraries = prefix / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    return str(loader), "--library-path", str(libraries), str(prefix / program)


def qemu_command(prefix: Path) -> tuple[str, ...]:
    """QEMU with its firmware."""
    firmware = (word for folder in FIRMWARE for word in ("-L", str(prefix / folder)))
    return (*started_by_own_loader(prefix, QEMU), *firmware)


def qemu_environment(prefix: Path) -> tuple[tuple[str, str], ...]:
    """QEMU is built to look for its modules where it would be installed."""
    return (("QEMU_MODULE_DIR", str(prefix / "usr/lib/x86_64-linux-gnu/qemu")),)


def compiler(prefix: Path) -> Compiler | None:
    """TinyCC with musl: it links static programs by itself, with no assembler or linker beside it."""
    tcc, musl = prefix / "usr/lib/x86_64-linux-gnu/tcc", prefix / "usr/lib/x86_64-linux-musl"
    if not (prefix / "usr/bin/tcc").is_file() or not (musl / "libc.a").is_file():
        return None
    headers = ("-nostdinc", f"-I{tcc}/include", f"-I{prefix}/usr/include/x86_64-linux-musl")
    first = ("-nostdlib", "-static", *headers, str(musl / "crt1.o"), str(musl / "crti.o"))
    last = (str(musl / "libc.a"), str(tcc / "libtcc1.a"), str(musl / "crtn.o"))
    return Compiler((*started_by_own_loader(prefix, "usr/bin/tcc"), f"-B{tcc}", *first), last)


def kernels(prefix: Path) -> tuple[Kernel, ...]:
    """Every kernel of the prefix, the newest first.

    Up to 6.x vmlinuz lies in /boot; Debian's packages of 7.x have it beside the modules.
    """
    found = []
    for modules in sorted((prefix / "usr/lib/modules").glob("*")):
        release = modules.name
        images = (modules / "vmlinuz", prefix / "boot" / f"vmlinuz-{release}")
        image = next((path for path in images if path.is_file()), None)
        if image is not None:
            found.append(Kernel(image, modules, release))
    return tuple(sorted(found, key=lambda kernel: kernel_version(kernel.release), reverse=True))
