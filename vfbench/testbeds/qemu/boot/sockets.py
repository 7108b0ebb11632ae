"""Lines over a UNIX socket that QEMU opens a moment after it starts."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from vfbench.errors import RunFailed

CONNECT_S = 8.0
LOOK_S = 0.02
WAIT_S = 0.25
"""How long nobody looks whether the other side still lives."""


class Silent(RunFailed):
    """The other side is there, and says nothing."""


class Lines:
    """One end of a stream of lines; ``who`` names the other in messages. RunFailed where it falls silent or goes."""

    def __init__(self, path: Path, who: str, ended: Callable[[], bool]) -> None:
        self.who = who
        self._socket = _connected(path, who, ended)
        self._pending = b""

    def send(self, line: str) -> None:
        """Send a line without its end."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError:
            raise RunFailed(f"{self.who} hung up") from None

    def next(self, timeout_s: float, look: Callable[[], None] = lambda: None) -> str:
        """The next line, without its end; waits ``timeout_s`` for it, and calls ``look`` while it waits."""
        until = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            self._socket.settimeout(min(max(until - time.monotonic(), 1e-3), WAIT_S))
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError:
                if time.monotonic() > until:
                    raise Silent(f"{self.who} said nothing for {timeout_s:.0f} s") from None
                look()
                continue
            except OSError:
                received = b""
            if not received:
                raise RunFailed(f"{self.who} hung up")
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _connected(path: Path, who: str, ended: Callable[[], bool]) -> socket.socket:
    until = time.monotonic() + CONNECT_S
    while True:
        port = socket.socket(socket.AF_UNIX)
        try:
            port.connect(str(path))
        except OSError as error:
            port.close()
            if ended() or time.monotonic() > until:
                raise RunFailed(f"{who} does not answer at {path.name} ({error.strerror})") from None
            time.sleep(LOOK_S)
        else:
            return port
