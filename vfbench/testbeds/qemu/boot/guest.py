"""One real guest in one QEMU process: started, spoken to, and ended, whatever happens."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot.console import BOOT_S, Console
from vfbench.testbeds.qemu.boot.initramfs import READY
from vfbench.testbeds.qemu.boot.monitor import Monitor, Qtest
from vfbench.testbeds.qemu.boot.pulse import Pulse
from vfbench.testbeds.qemu.boot.setup import CONSOLE, QMP, QTEST, SAID, SHELL, GuestSetup

TERMINATE_S, KILL_S = 3.0, 3.0
ENDING_S = 0.5
LAST_LINES = 6
READY_S = 3.0
"""From init's first word on the console to the same word at the shell's socket."""
PANIC = "Kernel panic"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Guest:
    """A context: enter starts QEMU and returns once it answers, leave ends it: in order, or at once after an error.

    ``console`` is a shell in the guest, ``qmp`` QEMU's monitor, ``qtest`` its qtest socket (where the setup asks for
    it), ``pulse`` says whether the guest lives, from ``wait_until_booted`` on. QEMU dies with the thread that entered,
    also if that is killed. A RunFailed that leaves the context says what QEMU and the guest's kernel wrote last.
    """

    def __init__(self, setup: GuestSetup) -> None:
        self.setup = setup
        self._booted = False
        self._ready_s: float | None = None

    def __enter__(self) -> Self:
        self.setup.folder.mkdir(mode=0o700, exist_ok=True)
        environment = {**os.environ, **dict(self.setup.parts.qemu.environment)}
        with self.setup.path(SAID).open("wb") as said:
            self.process = subprocess.Popen(
                self.setup.command(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the suite, which ends QEMU in order
                preexec_fn=_die_with_parent,
            )
        self.pulse = Pulse(self.process.pid, self.setup.path(CONSOLE), f"guest in the {self.setup.name} QEMU")
        try:
            self.qmp = Monitor(self.setup.path(QMP), self.setup.name, self.ended)
            self.console = Console(self.setup.path(SHELL), self.ended, self._look)
        except RunFailed as error:
            self.close()
            raise RunFailed(f"QEMU does not start: {self.last_words() or error}") from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = self._code_once_ended() if isinstance(error, RunFailed) else None
        if error is not None:
            self._signal(signal.SIGKILL)
        self.close()
        if isinstance(error, RunFailed) and not getattr(error, "explained", False):
            failure = RunFailed(f"{error}{self._obituary(code)}")
            failure.explained = True  # type: ignore[attr-defined]
            raise failure from error

    @cached_property
    def qtest(self) -> Qtest:
        """The qtest socket."""
        return Qtest(self.setup.path(QTEST), self.setup.name, self.ended)

    def _look(self) -> None:
        """What has to be true while an answer of the guest's is waited for."""
        self.pulse.check()
        if self._booted or READY not in _lines(self.setup.path(CONSOLE)):
            return
        self._ready_s = self._ready_s or time.monotonic()
        if time.monotonic() - self._ready_s > READY_S:
            raise RunFailed(
                f"init runs, but its words go to another client of {SHELL}; leave the sockets of a run alone"
            )

    def ended(self) -> bool:
        """Whether QEMU is gone."""
        return self.process.poll() is not None

    def wait_until_booted(self, timeout_s: float = BOOT_S) -> None:
        """Wait for the guest's init; RunFailed where the guest falls silent before, or init speaks to somebody else."""
        self.pulse.begin()
        self.console.wait_until_booted(timeout_s)
        self._booted = True

    def ask(self, command: str) -> list[str]:
        """The lines that a line of shell printed in the guest."""
        return self.console.ask(command)

    def close(self) -> None:
        """End QEMU, by force after ``TERMINATE_S``, and hang up. May be called more than once."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(KILL_S)
        for each in ("console", "qmp", "qtest"):
            if each in self.__dict__:
                self.__dict__.pop(each).close()

    def _signal(self, number: signal.Signals) -> None:
        """To QEMU, and to what a script that stands for QEMU has started: they are a session of their own."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _code_once_ended(self) -> int | None:
        """Of a QEMU that is about to end: its sockets are closed before it can be waited for."""
        try:
            return self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """The last lines that QEMU and the guest's kernel wrote; of a kernel that panicked, why."""
        said, console = (_lines(self.setup.path(name)) for name in (SAID, CONSOLE))
        panic = [line for line in console if PANIC in line]
        return " / ".join((*said[-LAST_LINES:], *(panic[:1] or console[-LAST_LINES:])))

    def _obituary(self, code: int | None) -> str:
        how = "" if code is None else f"; the {self.setup.name} QEMU {_how_it_ended(code)}"
        return f"{how}; the last words of QEMU and of the guest's kernel: {self.last_words() or 'nothing'}"


def load_modules(guest: Guest, *modules: str) -> None:
    """Load modules that the initramfs was made with, each after what it needs."""
    for name in modules:
        guest.ask(f"load {name}")


def _lines(path: Path) -> list[str]:
    """What is not empty in a log."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _die_with_parent() -> None:
    """In the child: be killed when the thread that started it ends (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
