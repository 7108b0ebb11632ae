"""A shell in the guest, a line at a time, over a serial port."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot.initramfs import DONE, READY
from vfbench.testbeds.qemu.boot.sockets import Lines, Silent

BOOT_S = 120.0
"""A guest whose instructions are emulated takes 3 to 10 s, and longer on a machine with other work. One that hangs
while it boots is found out much earlier, by its pulse."""
ANSWER_S = 60.0


class Console:
    """The host's end of the guest's second serial port; ``ended`` says whether QEMU is gone.

    ``look`` is called while an answer is waited for: it fails the run where the guest hangs.
    """

    def __init__(
        self, path: Path, ended: Callable[[], bool], look: Callable[[], None] = lambda: None
    ) -> None:
        self._lines = Lines(path, "the guest", ended)
        self._look = look

    def wait_until_booted(self, timeout_s: float = BOOT_S) -> None:
        """Wait for init's first word."""
        try:
            self._lines_until(READY, timeout_s)
        except RunFailed as error:
            raise RunFailed(f"the guest does not boot: {error}") from None

    def ask(self, command: str, timeout_s: float = ANSWER_S) -> list[str]:
        """The lines that ``command`` printed; RunFailed if it failed, or took longer than ``timeout_s``."""
        self.start(command)
        lines, last = self._lines_until(DONE, timeout_s)
        if last != f"{DONE} 0":
            said = " / ".join(lines[-3:]) or "nothing"
            raise RunFailed(f"in the guest `{command[:80]}` failed ({last.split()[-1]}) and said: {said}")
        return lines

    def ask_json(self, command: str, timeout_s: float = ANSWER_S) -> list[dict[str, Any]]:
        """The objects that a command printed, one a line; RunFailed for a line that is none."""
        lines = self.ask(command, timeout_s)
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise RunFailed(
                f"in the guest `{command[:80]}` printed no JSON: {' / '.join(lines[:3])}"
            ) from None

    def start(self, command: str) -> None:
        """Send a command and wait for nothing: its lines come with the next answer."""
        self._lines.send(command)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()

    def _lines_until(self, word: str, timeout_s: float) -> tuple[list[str], str]:
        until = time.monotonic() + timeout_s
        lines: list[str] = []
        while True:
            try:
                line = self._lines.next(max(until - time.monotonic(), 1e-3), self._look)
            except Silent:
                raise RunFailed(f"the guest gave no answer within {timeout_s:.0f} s") from None
            if line.startswith(word):
                return lines, line
            lines.append(line)
