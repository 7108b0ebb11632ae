"""Whether a guest still lives: its kernel's messages while it boots, then a blank line a second by its init.

Both go to the console, a file; so a look at the file's size is a look at the guest, whatever the rest waits for.
"""

from __future__ import annotations

import time
from pathlib import Path

from vfbench.errors import RunFailed

LONGEST_SILENCE_S = 7.0
"""A guest that is well is never silent for longer than 2 s (its kernel, while it is unpacked, under TCG). With the time
to end two QEMUs a hang so ends the run within 10 s."""
NS_PER_S = 1e9


class Pulse:
    """Of the guest whose QEMU is the process ``pid`` and whose console is the file ``console``.

    It counts while it ``beats``: neither before a guest runs nor while somebody stopped it. Silence is measured in time
    in which QEMU could run: what its threads waited for a processor is the host's fault, not the guest's.
    """

    def __init__(self, pid: int, console: Path, name: str) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._console, self._name = console, name
        self._beats = False

    def begin(self) -> None:
        """From now on the guest runs."""
        self._beats = True
        self._note()

    def rest(self) -> None:
        """From now on it stands still, and ought to."""
        self._beats = False

    def check(self) -> None:
        """RunFailed if the guest runs, and has been silent for too long."""
        if not self._beats:
            return
        if self._said_bytes() != self._bytes:
            self._note()
        elif self._silence_s() > LONGEST_SILENCE_S:
            raise RunFailed(
                f"the {self._name} hangs: neither its kernel nor its init has given a sign of life for "
                f"{LONGEST_SILENCE_S:.0f} s"
            )

    def _note(self) -> None:
        self._bytes = self._said_bytes()
        self._since_s = time.monotonic()
        self._waited_ns = self._waits_ns()

    def _silence_s(self) -> float:
        passed_s = time.monotonic() - self._since_s
        if passed_s <= LONGEST_SILENCE_S:
            return passed_s
        now_ns = self._waits_ns()
        waited_ns = max((now_ns[task] - self._waited_ns.get(task, 0) for task in now_ns), default=0)
        return passed_s - waited_ns / NS_PER_S

    def _said_bytes(self) -> int:
        return self._console.stat().st_size if self._console.exists() else 0

    def _waits_ns(self) -> dict[str, int]:
        """How long each of QEMU's threads has waited for a processor (Documentation/scheduler/sched-stats.rst)."""
        waits: dict[str, int] = {}
        for task in self._tasks.glob("*"):
            try:
                waits[task.name] = int((task / "schedstat").read_text().split()[1])
            except (OSError, IndexError):  # the thread has ended, or this kernel does not count
                continue
        return waits
