"""The destination as its source sees it.

A child process, its memory as the bench sees it, and the stream to it.
"""

from __future__ import annotations

import os
import pickle
import select
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

READY_LIMIT_S = 300.0
LEAVE_LIMIT_S = 3.0


class DestinationProcess:
    """`with DestinationProcess(...) as destination:` - at the end of the block the process is gone.

    ``memory`` has a row for each page of the destination's memory: the bench's window, for the comparison
    alone.
    """

    def __init__(self, experiment: Experiment, bench: Bench, refuse: str = "") -> None:
        self._token = stream.new_token()
        self._address = experiment.kvm.listen
        self._stream: Stream | None = None
        self._may_leave = False
        size = vm_bytes(experiment)
        with ExitStack() as stack:
            memory_fd = os.memfd_create("vfbench-destination", os.MFD_CLOEXEC)
            stack.callback(os.close, memory_fd)
            os.ftruncate(memory_fd, size)
            self.memory: npt.NDArray[np.uint8] = map_shared(memory_fd, size).reshape(-1, PAGE_BYTES)
            order = Order(experiment, self._token, memory_fd, bench.fd, bench.table_bytes, refuse)
            self._errors = stack.enter_context(tempfile.TemporaryFile())
            self._process = self._start(order)
            stack.callback(self._end)
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
        """The connection; made on first use, when the destination must be ready."""
        if self._stream is None:
            self._stream = stream.connect(self.port, self._token, self._address)
        return self._stream

    @property
    def connected(self) -> Stream | None:
        """The connection, if it was made."""
        return self._stream

    @property
    def port(self) -> int:
        """The port it listens on; waits until it does."""
        if not hasattr(self, "_port"):
            self._port = self._read_port()
        return self._port

    def words(self) -> list[str]:
        """What it said: whom it refused, and why it ended."""
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
        """Let it end by itself, and report what it said meanwhile: whom it refused."""
        self.stream.send(stream.QUIT)
        self._may_leave = True
        self._process.wait(LEAVE_LIMIT_S)
        for line in self.words():
            sys.stderr.write(f"destination: {line}\n")

    def _start(self, order: Order) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "vfbench.testbeds.kvm.migrate.destination"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=(order.memory_fd, order.bench_fd),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            # Ctrl-C is the source's to handle; it ends its destination itself.
            start_new_session=True,
        )
        document = pickle.dumps(order)
        assert process.stdin is not None
        process.stdin.write(len(document).to_bytes(8, "little") + document)
        process.stdin.flush()
        return process

    def _read_port(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], READY_LIMIT_S)
        line = self._process.stdout.readline() if ready else b""
        if not line.strip():
            raise RunFailed(f"the destination did not start: {self.last_words() or 'it said nothing'}")
        return int(line)

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        # Nobody waits for one that was not told to leave: what it had to say has been read by now.
        try:
            self._process.wait(LEAVE_LIMIT_S if self._may_leave else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
