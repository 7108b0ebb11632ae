"""One Linux guest in one QEMU process: booted, spoken to, sent frames, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from vfbench.errors import RunFailed
from vfbench.validation.linux.console import Console
from vfbench.validation.linux.parts import Parts

MEMORY_MIB = 256
END_S = 10


@dataclass(frozen=True)
class GuestSetup:
    """What a guest is booted with; ``folder`` takes its sockets and logs, so its path must be short (108 bytes)."""

    parts: Parts
    initramfs: Path
    folder: Path
    devices: tuple[str, ...]
    kernel_options: str = ""
    traced: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    memory_mib: int = MEMORY_MIB

    def socket(self, name: str) -> Path:
        return self.folder / name

    @property
    def trace(self) -> Path:
        return self.folder / "trace"

    def command(self) -> list[str]:
        """QEMU's command line. TCG, because the counts hardly depend on speed and every machine has it."""
        firmware = [word for path in self.parts.firmware for word in ("-L", str(path))]
        traced = [word for event in self.traced for word in ("-trace", event)]
        wire = (
            f"dgram,id=wire,local.type=unix,local.path={self.socket('guest')},"
            f"remote.type=unix,remote.path={self.socket('peer')}"
        )
        return [
            *(str(self.parts.qemu), *firmware, "-nodefaults", "-display", "none", "-monitor", "none"),
            *("-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(self.memory_mib)),
            *("-no-reboot", "-kernel", str(self.parts.kernel), "-initrd", str(self.initramfs)),
            *("-append", f"console=ttyS0 quiet panic=-1 {self.kernel_options}".strip()),
            *("-serial", f"file:{self.folder / 'console'}"),
            *("-chardev", f"socket,id=shell,path={self.socket('shell')},server=on,wait=off"),
            *("-serial", "chardev:shell", "-netdev", wire, "-D", str(self.trace)),
            *(*self.devices, *traced, *self.extra),
        ]


class Guest:
    """A context: enter starts QEMU, leave ends it. ``peer`` is the socket at the other end of the guest's wire."""

    def __init__(self, setup: GuestSetup) -> None:
        self.setup = setup

    def __enter__(self) -> Self:
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.bind(str(self.setup.socket("peer")))
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        environment = dict(os.environ)
        if self.setup.parts.qemu_modules is not None:
            environment["QEMU_MODULE_DIR"] = str(self.setup.parts.qemu_modules)
        with (self.setup.folder / "qemu-said").open("wb") as said:
            self.process = subprocess.Popen(
                self.setup.command(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
            )
        try:
            self.console = Console(self.setup.socket("shell"))
        except RunFailed as error:
            self.close()
            raise RunFailed(f"{error}; QEMU said: {self.qemu_said()}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.console.close()
        self.close()

    def close(self) -> None:
        """End QEMU and hang up."""
        self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.peer.close()

    def send(self, frame: bytes) -> None:
        """Put a frame on the guest's wire."""
        self.peer.sendto(frame, str(self.setup.socket("guest")))

    def ask(self, command: str) -> list[str]:
        """The lines that a line of shell printed in the guest."""
        return self.console.ask(command)

    def qemu_said(self) -> str:
        """QEMU's own words on standard output and error."""
        return " / ".join((self.setup.folder / "qemu-said").read_text(errors="replace").split("\n")).strip(" /")


def load_modules(guest: Guest, modules: Sequence[str]) -> None:
    """Load the modules in this order; their own lines on the console stay there."""
    for name in modules:
        guest.ask(f"insmod /modules/{name}.ko")
