"""The server's process as the bench sees it: started, called, and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.server.process import Order
from vfbench.testbeds.qemu.watch import Watch

READY_S = 300.0
"""Where the kernels are not compiled yet."""
ANSWER_S = 7.0
LEAVE_S = 1.0


class ServerProcess:
    """A context; ``call`` carries out a method of ``process.Server``. RunFailed where the process is gone or silent."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vfbench.testbeds.qemu.server.process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=(theirs.fileno(),),
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        try:
            self._connection.send(self._order)
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, name: str, **arguments: Any) -> Any:
        """The answer; RunFailed for an error that it reports."""
        try:
            self._connection.send((name, arguments))
        except OSError:
            raise RunFailed(self._obituary()) from None
        return self._answer(ANSWER_S, name)

    def check(self) -> None:
        """RunFailed if the process is gone."""
        if self.process.poll() is not None:
            raise RunFailed(self._obituary())

    def close(self) -> None:
        """End it, by force if it doesn't leave by itself."""
        self._connection.close()
        try:
            self.process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._said.close()

    def _wait_until_ready(self) -> None:
        """It may compile for minutes, so it is watched meanwhile."""
        watch = Watch({"the VF's server": self.process}, (self.process,))
        try:
            with watch:
                self._answer(READY_S, "start")
        except RunFailed as failure:
            raise RunFailed(f"{watch.died}: {failure}" if watch.died else str(failure)) from None

    def _answer(self, limit_s: float, what: str) -> Any:
        try:
            if not self._connection.poll(limit_s):
                raise RunFailed(f"the VF's server did not answer {what!r} within {limit_s:g} s")
            good, value = self._connection.recv()
        except (EOFError, OSError):
            raise RunFailed(self._obituary()) from None
        if not good:
            raise RunFailed(f"the VF's server: {value}")
        return value

    def _obituary(self) -> str:
        try:
            code = self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return "the VF's server hung up"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"the VF's server ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}"
