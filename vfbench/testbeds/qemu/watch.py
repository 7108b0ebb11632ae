"""Three processes make a run; when one of them dies, whoever waits for another must not wait for long."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

LOOK_S = 0.2
LONGEST_STOP_S = 1.0
STOPPED = ("T", "t")
"""States of a process in /proc/PID/stat (proc_pid_stat(5)): stopped by a signal, by a tracer."""


class Watch:
    """A context around the processes, by name: the first to end is ``died``, and the ``guests`` are ended then.

    A process that was stopped (SIGSTOP, or a debugger) and does not go on within a second has died as well.

    Whoever waits for a guest's answer is so released, with an error of his own; ``died`` says what it was about.
    """

    def __init__(
        self, processes: Mapping[str, subprocess.Popen[bytes]], guests: tuple[subprocess.Popen[bytes], ...]
    ) -> None:
        self._processes, self._guests = processes, guests
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._stopped_s: dict[str, float] = {}
        self.died: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.died is None:
            self._note_death()

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            if self._note_death() or self._note_stop():
                for guest in self._guests:
                    guest.kill()
                return

    def _note_stop(self) -> bool:
        now = time.monotonic()
        for name, process in self._processes.items():
            if not is_stopped(process.pid):
                self._stopped_s.pop(name, None)
            elif now - self._stopped_s.setdefault(name, now) > LONGEST_STOP_S:
                self.died = f"{name} was stopped by a signal and did not go on"
                return True
        return False

    def _note_death(self) -> bool:
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                self.died = f"{name} {how_it_ended(code)}"
                return True
        return False


def is_stopped(process: int) -> bool:
    """Whether the process stands still because somebody stopped it."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return after_name.split()[0] in STOPPED


def how_it_ended(code: int) -> str:
    """``was ended by SIGKILL``, ``ended with exit code 1``."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
