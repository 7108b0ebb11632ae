"""The destination as its source sees it.

A child process, its memory as the bench sees it, and the stream to it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.testbeds.kvm.host.endpoint import vm_bytes
from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.destination import Order
from vfbench.testbeds.kvm.migrate.stream import Stream
from vfbench.testbeds.kvm.sys.mapping import map_shared

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.testbeds.kvm.host.bench_records import Bench

LEAVE_LIMIT_S = 3.0


class DestinationProcess:
    """`with DestinationProcess(...) as destination:` - at the end of the block the process is gone.

    ``memory`` has a row for each page of the destination's memory: the bench's window, for the comparison
    alone.
    """

    def __init__(self, experiment: Experiment, bench: Bench, refuse: str = "") -> None:
        self._ready = False
        size = vm_bytes(experiment)
        with ExitStack() as stack:
            memory_fd = os.memfd_create("vfbench-destination", os.MFD_CLOEXEC)
            stack.callback(os.close, memory_fd)
            os.ftruncate(memory_fd, size)
            self.memory: npt.NDArray[np.uint8] = map_shared(memory_fd, size).reshape(-1, PAGE_BYTES)
            order = Order(experiment, memory_fd, bench.fd, bench.table_bytes, refuse)
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._stream, theirs = stream.source_pair()
            stack.callback(self._stream.close)
            with theirs:
                self._process = self._start(order, theirs.fileno())
            stack.callback(self._end)
            self._stream.send(stream.ORDER, pickle.dumps(order))
            self._resources = stack.pop_all()

    def __enter__(self) -> DestinationProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def stream(self) -> Stream:
        """The connection; on first use the destination must become ready, RunFailed if it does not."""
        if not self._ready:
            self._stream.answer(stream.READY_LIMIT_S)
            self._ready = True
            self._stream.start_beating()
        return self._stream

    def check(self) -> None:
        """StreamBroken if the destination is gone or stands still."""
        self._stream.check()

    def words(self) -> list[str]:
        """What it said: why it ended, above all."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip().splitlines()

    def last_words(self) -> str:
        """Why it ended, as it said itself; empty if it said nothing."""
        return next(reversed(self.words()), "")

    def explain(self, failure: RunFailed) -> RunFailed:
        """The failure, with what became of the process if it is gone."""
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return failure
        words = self.last_words() or f"exit code {code}"
        return RunFailed(f"{failure}; the destination ended: {words}")

    def quit(self) -> None:
        """Let it end by itself, its guest at rest, and report what it said meanwhile."""
        self.stream.ask(stream.QUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_LIMIT_S)
        for line in self.words():
            sys.stderr.write(f"destination: {line}\n")

    def _start(self, order: Order, connection: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours, and a number
            [sys.executable, "-m", "vfbench.testbeds.kvm.migrate.destination_main", str(connection)],
            # Nothing is ever written to it: it ends when this process does.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(connection, order.memory_fd, order.bench_fd),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            # Ctrl-C is the source's to handle; it ends its destination itself.
            start_new_session=True,
        )

    def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        # One that was told to leave has left; what another had to say has been read by now.
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
