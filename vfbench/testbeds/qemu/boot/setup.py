"""What a guest is booted with, and the command line that QEMU gets for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vfbench.errors import UserError
from vfbench.testbeds.qemu.parts.described import Kernel, Parts

MIB = 1 << 20
CONSOLE, SHELL, QMP, QTEST, SAID, TRACE = "console", "shell", "qmp", "qtest", "qemu-said", "trace"
"""Files and sockets of a guest, in its folder."""
LONGEST_SOCKET = 107
KERNEL_OPTIONS = "earlyprintk=ttyS0 console=ttyS0 panic=-1"
"""Not ``quiet``: its messages are the signs of life of a kernel that boots (``pulse``)."""


@dataclass(frozen=True)
class GuestSetup:
    """``folder`` is the guest's own and takes its sockets and logs; two guests of a migration have one each.

    ``shared_memory``: in a memfd that other processes can map (vfio-user and vhost-user need it).
    ``incoming``: paused, waiting for a migration to come (``-S -incoming defer``).
    """

    parts: Parts
    initramfs: Path
    folder: Path
    devices: tuple[str, ...] = ()
    kernel_options: str = ""
    name: str = "guest"
    kernel: Kernel | None = None
    memory_bytes: int = 256 * MIB
    accelerator: str = "tcg"
    cpu: str = "max"
    vcpus: int = 1
    shared_memory: bool = False
    incoming: bool = False
    qtest: bool = False
    traced: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(str(self.folder)) + 16 > LONGEST_SOCKET:
            raise UserError(f"{self.folder} is too long a path for sockets; set TMPDIR to a shorter one")

    def path(self, name: str) -> Path:
        """A file or socket of this guest."""
        return self.folder / name

    def command(self) -> list[str]:
        """QEMU's command line."""
        kernel = self.kernel or self.parts.kernel
        return [
            *(*self.parts.qemu.command, "-name", f"{self.name},debug-threads=on"),
            *("-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", "-no-user-config"),
            *self._machine(),
            *("-kernel", str(kernel.image), "-initrd", str(self.initramfs)),
            *("-append", f"{KERNEL_OPTIONS} {self.kernel_options}".strip()),
            *("-serial", f"file:{self.path(CONSOLE)}"),
            *("-chardev", f"socket,id=shell,path={self.path(SHELL)},server=on,wait=off"),
            *("-serial", "chardev:shell", "-qmp", f"unix:{self.path(QMP)},server=on,wait=off"),
            *self._optional(),
            *(*self.devices, *self.extra),
        ]

    def _machine(self) -> tuple[str, ...]:
        mib = self.memory_bytes // MIB
        shared = (
            ("-object", f"memory-backend-memfd,id=memory,size={mib}M,share=on") if self.shared_memory else ()
        )
        machine = "q35,memory-backend=memory" if self.shared_memory else "q35"
        return (
            *("-machine", machine, "-accel", self.accelerator, "-cpu", self.cpu),
            *("-smp", str(self.vcpus), "-m", f"{mib}M", *shared),
        )

    def _optional(self) -> tuple[str, ...]:
        traced = tuple(word for event in self.traced for word in ("-trace", event))
        log = ("-D", str(self.path(TRACE))) if self.traced else ()
        incoming = ("-S", "-incoming", "defer") if self.incoming else ()
        qtest = (
            ("-qtest", f"unix:{self.path(QTEST)},server=on,wait=off", "-qtest-log", "none")
            if self.qtest
            else ()
        )
        return (*log, *traced, *incoming, *qtest)
