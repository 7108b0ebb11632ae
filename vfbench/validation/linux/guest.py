"""A guest on a wire of ours: frames are put on it one at a time, each once the guest is done with the one before."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot.guest import Guest
from vfbench.testbeds.qemu.boot.setup import GuestSetup

IDLE_S = 20.0
LOOK_S = 0.0005
HALTED_LOOKS = 2
GUEST_END, PEER_END = "wire-guest", "wire-peer"


class WiredGuest(Guest):
    """A guest whose devices may say ``netdev=wire``; ``peer`` is the socket at the other end of that wire."""

    def __init__(self, setup: GuestSetup) -> None:
        wire = (
            f"dgram,id=wire,local.type=unix,local.path={setup.path(GUEST_END)},"
            f"remote.type=unix,remote.path={setup.path(PEER_END)}"
        )
        super().__init__(replace(setup, devices=("-netdev", wire, *setup.devices)))
        self._processor: Path | None = None

    def __enter__(self) -> Self:
        self.setup.folder.mkdir(mode=0o700, exist_ok=True)
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.bind(str(self.setup.path(PEER_END)))
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        try:
            return super().__enter__()
        except BaseException:
            self.peer.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peer.close()
        super().__exit__(kind, error, trace)

    def send(self, frame: bytes) -> None:
        """Put a frame on the guest's wire."""
        self.peer.sendto(frame, str(self.setup.path(GUEST_END)))

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
