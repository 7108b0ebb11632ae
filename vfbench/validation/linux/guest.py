"""One Linux guest in one QEMU process: booted, spoken to, sent frames, and ended."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from vfbench.errors import RunFailed
from vfbench.validation.linux.console import Console
from vfbench.validation.linux.parts import Parts

MEMORY_MIB = 256
MACHINE = (
    "-name linux,debug-threads=on -nodefaults -display none -monitor none -machine q35 -accel tcg -cpu max -smp 1 "
    "-no-reboot"
)
END_S = 10
IDLE_S = 20.0
LOOK_S = 0.0005
HALTED_LOOKS = 2
LAST_LINES = 6


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

    def socket(self, name: str) -> Path:
        return self.folder / name

    @property
    def trace(self) -> Path:
        return self.folder / "trace"

    def command(self) -> list[str]:
        """QEMU's command line: TCG, because the counts hardly depend on speed and every machine has it."""
        firmware = [word for path in self.parts.firmware for word in ("-L", str(path))]
        traced = [word for event in self.traced for word in ("-trace", event)]
        wire = (
            f"dgram,id=wire,local.type=unix,local.path={self.socket('guest')},"
            f"remote.type=unix,remote.path={self.socket('peer')}"
        )
        return [
            *(str(self.parts.qemu), *firmware, *MACHINE.split(), "-m", str(MEMORY_MIB)),
            *("-kernel", str(self.parts.kernel), "-initrd", str(self.initramfs)),
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
        self._processor: Path | None = None

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
            self.console = Console(self.setup.socket("shell"), lambda: self.process.poll() is not None)
        except RunFailed as error:
            self.close()
            raise RunFailed(f"{error}; the last words of QEMU: {self.last_words()}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.console.close()
        self.close()
        if isinstance(error, RunFailed):
            last = self.last_words() or "nothing"
            raise RunFailed(f"{error}; the last words of QEMU and of the guest's kernel: {last}") from error

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

    def wait_until_idle(self) -> None:
        """Wait until QEMU has taken every frame and the guest's processor is halted, so that nothing is left to do."""
        until = time.monotonic() + IDLE_S
        halted = 0
        while halted < HALTED_LOOKS:
            halted = halted + 1 if self._unread_bytes() == 0 and self._processor_sleeps() else 0
            if time.monotonic() > until:
                raise RunFailed(f"the guest's processor was not idle for {IDLE_S:.0f} s")
            time.sleep(LOOK_S)

    def _unread_bytes(self) -> int:
        """What QEMU has not read of the wire yet (SIOCOUTQ, unix(7))."""
        return int.from_bytes(fcntl.ioctl(self.peer, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def _processor_sleeps(self) -> bool:
        """Whether the thread that emulates the processor sleeps: state S in proc_pid_stat(5)."""
        if self._processor is None:
            tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
            self._processor = next(task for task in tasks if (task / "comm").read_text().startswith("CPU 0"))
        return (self._processor / "stat").read_text().rpartition(") ")[2].startswith("S")

    def ask(self, command: str) -> list[str]:
        """The lines that a line of shell printed in the guest."""
        return self.console.ask(command)

    def last_words(self) -> str:
        """The last lines that QEMU and the guest's kernel wrote."""
        written = [self.setup.folder / name for name in ("qemu-said", "console")]
        lines = [
            line.strip()
            for path in written
            if path.exists()
            for line in path.read_text(errors="replace").splitlines()[-LAST_LINES:]
        ]
        return " / ".join(filter(None, lines))


def load_modules(guest: Guest, modules: Sequence[str]) -> None:
    """Load the modules in this order; their own lines on the console stay there."""
    for name in modules:
        guest.ask(f"insmod /modules/{name}.ko")
