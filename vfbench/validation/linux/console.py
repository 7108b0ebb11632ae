"""A shell in the guest, a line at a time, over a serial port."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from vfbench.errors import RunFailed
from vfbench.validation.linux.initramfs import DONE, READY

CONNECT_S = 10.0
ANSWER_S = 180.0
"""A guest whose instructions are emulated on a busy machine may take this long to boot."""


class Console:
    """The host's end of the guest's second serial port; ``ended`` tells whether QEMU is gone."""

    def __init__(self, path: Path, ended: Callable[[], bool]) -> None:
        self._socket = _connected(path, ended)
        self._socket.settimeout(ANSWER_S)
        self._pending = b""

    def wait_until_booted(self) -> None:
        """Wait for init's first word."""
        self._lines_until(READY)

    def ask(self, command: str) -> list[str]:
        """The lines that ``command`` printed; RunFailed if it failed."""
        self._socket.sendall(command.encode() + b"\n")
        lines, last = self._lines_until(DONE)
        if last != f"{DONE} 0":
            said = " / ".join(lines[-3:]) or "nothing"
            raise RunFailed(f"in the guest `{command[:80]}` failed ({last.split()[-1]}) and said: {said}")
        return lines

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _lines_until(self, word: str) -> tuple[list[str], str]:
        lines: list[str] = []
        while True:
            line = self._line()
            if line.startswith(word):
                return lines, line
            lines.append(line)

    def _line(self) -> str:
        while b"\n" not in self._pending:
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError:
                raise RunFailed(f"the guest said nothing for {ANSWER_S:.0f} s") from None
            except ConnectionError:
                received = b""
            if not received:
                raise RunFailed("the guest hung up")
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")


def _connected(path: Path, ended: Callable[[], bool]) -> socket.socket:
    """QEMU opens the port a moment after it starts."""
    until = time.monotonic() + CONNECT_S
    while True:
        port = socket.socket(socket.AF_UNIX)
        try:
            port.connect(str(path))
        except OSError as error:
            port.close()
            if ended() or time.monotonic() > until:
                raise RunFailed(f"QEMU opened no console ({error})") from None
            time.sleep(0.05)
        else:
            return port
