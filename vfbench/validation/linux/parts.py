"""What a guest is made of: QEMU and its firmware, a kernel with its modules, busybox. Found, or named as missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from vfbench.errors import UserError

CACHE = user_cache_path("vfbench") / "linux-guest"
"""Where ``bench validate linux --fetch`` unpacks its packages; searched before the system's own folders."""
FETCH_HINT = "fetch it with `bench validate linux --fetch`, or name it with"


@dataclass(frozen=True)
class Parts:
    """Paths, all of which exist. ``modules`` holds ``kernel/drivers/...``; the lists are QEMU's own search paths."""

    qemu: Path
    kernel: Path
    modules: Path
    busybox: Path
    firmware: tuple[Path, ...] = ()
    qemu_modules: Path | None = None


def find_parts(
    kernel: Path | None = None,
    modules: Path | None = None,
    qemu: Path | None = None,
    busybox: Path | None = None,
    root: Path = CACHE,
) -> Parts:
    """What was named, else what lies below ``root``, else the system's; UserError for the first that is missing."""
    chosen = kernel or _newest(root / "boot", "vmlinuz-*") or _newest(Path("/boot"), "vmlinuz-*")
    found_kernel = _existing("a kernel", chosen, "--kernel")
    found_modules = _existing("the kernel's modules", modules or _modules_of(found_kernel, root), "--modules")
    found_qemu = _existing("qemu-system-x86_64", qemu or _program(root, "qemu-system-x86_64"), "--qemu")
    found_busybox = _existing("a static busybox", busybox or _program(root, "busybox"), "--busybox")
    unpacked = found_qemu.is_relative_to(root)
    return Parts(
        qemu=found_qemu,
        kernel=found_kernel,
        modules=found_modules,
        busybox=found_busybox,
        firmware=tuple(root / "usr/share" / name for name in ("qemu", "seabios")) if unpacked else (),
        qemu_modules=next(root.glob("usr/lib/*/qemu"), None) if unpacked else None,
    )


def _existing(what: str, path: Path | None, option: str) -> Path:
    if path is None:
        raise UserError(f"{what} was not found: {FETCH_HINT} {option}")
    if not path.exists():
        raise UserError(f"{option}: there is no {path}; {FETCH_HINT} {option}")
    return path


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def _modules_of(kernel: Path, root: Path) -> Path | None:
    release = kernel.name.removeprefix("vmlinuz-")
    folders = (root / "lib/modules" / release, Path("/lib/modules") / release)
    return next((folder for folder in folders if folder.is_dir()), None)


def _program(root: Path, name: str) -> Path | None:
    unpacked = next((p for p in (root / "bin" / name, root / "usr/bin" / name) if p.is_file()), None)
    installed = shutil.which(name)
    return unpacked or (Path(installed) if installed else None)
