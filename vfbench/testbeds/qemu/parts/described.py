"""The parts of a real guest, as found: how QEMU is started and what it has, kernels, busybox, the compiler."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Qemu:
    """A QEMU that runs here.

    ``command`` starts it (the loader and libraries of a private prefix before the program, its firmware after);
    ``environment`` is added to the caller's. ``devices`` and ``accelerators`` are what it says of itself.
    """

    command: tuple[str, ...]
    version: Version
    devices: frozenset[str]
    accelerators: frozenset[str]
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def release(self) -> str:
        """``11.1.3``."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Kernel:
    """A kernel's image and the folder of its modules (``kernel/drivers/...``); ``release`` is what uname -r says."""

    image: Path
    modules: Path
    release: str

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number."""
        return kernel_version(self.release)


@dataclass(frozen=True)
class Compiler:
    """``command`` + source files + ``-o FILE`` makes a static program of C."""

    command: tuple[str, ...]
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Everything that a guest is booted with; ``kernels`` is never empty, the chosen one comes first."""

    qemu: Qemu
    kernels: tuple[Kernel, ...]
    busybox: Path
    compiler: Compiler | None = field(default=None)

    @property
    def kernel(self) -> Kernel:
        """The kernel that was chosen."""
        return self.kernels[0]


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor of ``6.12.117+deb13-amd64``; (0, 0) for what has no such beginning."""
    numbers = release.split("-")[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1].partition("+")[0])
    except (ValueError, IndexError):
        return 0, 0
