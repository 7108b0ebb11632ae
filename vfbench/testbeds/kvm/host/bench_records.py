"""The bench's records at the start of a run: the peer, the port, and the wire's clock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.machine.queue_pair import FIFO_FRAMES, PATH_VF
from vfbench.machine.wire import NEVER_PS, SOURCE
from vfbench.testbeds.kvm.guest.guest import path_of
from vfbench.testbeds.kvm.host.host_records import BenchRecords, bench_bytes
from vfbench.testbeds.kvm.host.service import records
from vfbench.testbeds.records_at_start import interrupt_interval_ps, prepare_pair, prepare_peer

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

HELD_UP_FRAMES = 256
"""How many frames wait in front of a guest that is emulated before the wire stands still."""
NORMAL_SPEED = 1024


class Bench:
    """``records`` over the memfd ``fd``, filled for one experiment.

    ``table_bytes`` of them are the workload's.
    """

    def __init__(self, experiment: Experiment, profile: Profile) -> None:
        self.experiment, self.profile = experiment, profile
        source = self._prepared_source()
        table = _table_of(source, self._kept)
        self.table_bytes = table.nbytes
        self.fd = os.memfd_create("vfbench-bench", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, bench_bytes(self.table_bytes))
        self.records = BenchRecords(self.fd, self.table_bytes)
        for name in SOURCE.names or ():
            self.records.source[name] = source[name]
        self.records.table[:] = table.reshape(-1).view(np.uint8)
        self.records.adopt_table()
        self._fill_wire()
        self._fill_pair()

    def close(self) -> None:
        """Close the memfd."""
        os.close(self.fd)

    def set_path(self, path: int) -> None:
        """Which device the guest's packets take; what waits in front of it is lost."""
        pair = self.records.pair
        self.empty_fifo()
        pair.path = path
        pair.interrupt_interval_ps = interrupt_interval_ps(self.experiment, path)
        pair.nic.fifo_limit_bytes, pair.nic.fifo_limit_frames = self._queue_limits(path)

    def empty_fifo(self) -> None:
        """The device is stopped or gone."""
        pair = self.records.pair
        pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head
        pair.nic.fifo_head = pair.nic.fifo_tail
        pair.nic.fifo_bytes = 0

    def hold_up_the_wire(self) -> None:
        """From now on the wire waits while the port is full, instead of losing frames."""
        self.records.wire.flow_control = self.records.wire.waits_for_room = 1
        self.records.pair.nic.fifo_limit_frames = min(
            int(self.records.pair.nic.fifo_limit_frames), HELD_UP_FRAMES
        )

    def _prepared_source(self) -> Any:
        source = records(SOURCE)[0]
        self._kept = prepare_peer(source, self.experiment)
        return source

    def _fill_wire(self) -> None:
        wire = self.records.wire
        wire.last_ns = time.monotonic_ns()
        wire.slowdown_1024 = NORMAL_SPEED
        wire.write_back_timeout_ps = self.profile.picoseconds("descriptor_write_back_timeout")
        wire.seed = self.experiment.seed
        wire.lockstep = int(self.experiment.kvm.clock == "lockstep")

    def _fill_pair(self) -> None:
        pair, path = self.records.pair, path_of(self.experiment)
        prepare_pair(pair, self.experiment, self.profile)
        pair.path = path
        pair.enabled = 1
        pair.interrupt_interval_ps = interrupt_interval_ps(self.experiment, path)
        pair.nic.fifo_limit_bytes, pair.nic.fifo_limit_frames = self._queue_limits(path)

    def _queue_limits(self, path: int) -> tuple[int, int]:
        if path == PATH_VF:
            return int(self.profile.value("fifo")), self._most_frames(FIFO_FRAMES)
        return NEVER_PS, self._most_frames(min(int(self.profile.value("tap_queue")), FIFO_FRAMES))

    def _most_frames(self, limit: int) -> int:
        return min(limit, HELD_UP_FRAMES) if self.records.wire.flow_control else limit


def _table_of(source: Any, kept: tuple[Any, ...]) -> Any:
    """The array that the peer's record points at; empty if it points at none."""
    for array in kept:
        if isinstance(array, np.ndarray) and array.ctypes.data == source.table:
            return np.ascontiguousarray(array)
    return np.empty(0, np.uint8)
