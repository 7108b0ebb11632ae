"""The host's records: what one process knows of its guest, and what outlives a process.

``HOST`` is a process's own: addresses that mean something only there. ``WIRE`` is the peer's and the
observer's; it lies with ``QUEUE_PAIR`` and ``SOURCE`` in a memfd that source and destination both map, since
whoever watches a guest arrive must know what was sent to it before it left. No byte of it is the guest's or
its migration's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.machine import sides
from vfbench.machine.costs import COSTS
from vfbench.machine.cpu import GUEST_FIELDS, HOST_FIELDS
from vfbench.machine.queue_pair import FRAME, QUEUE_PAIR
from vfbench.machine.wire import BATCH_FRAMES, SOURCE
from vfbench.testbeds.kvm.sys.mapping import map_shared

HOST = np.dtype(
    [
        *GUEST_FIELDS,
        *HOST_FIELDS,
        (sides.HOST, "i8"),
        # the guest's memory as the machine's kernels read it: all of it word for word
        ("words", "i8"),
        ("structure_bytes", "i8"),
        ("backed_bytes", "i8"),
        ("cost", "i8", (len(COSTS),)),  # the work itself takes the time: 0 but for the device's own timers
        ("host_ps", "i8"),  # and so does vhost's
        ("seed", "i8"),
        ("device_waits", "i8"),  # whoever carries a call out is the device's own thread: it honours it later
        ("memory", "i8"),  # where guest-physical address 0 lies in this process
        # one byte per page, each array with one meaning, set and cleared by plain stores
        ("device_wrote", "i8"),
        ("mapped_written", "i8"),  # the device wrote to it since it was mapped
        ("logged", "i8"),  # what the hypervisor and vhost log by themselves
        ("mapped", "i8"),  # said to be mapped for the device to write
        ("guest_port", "i8"),
        ("arrivals", "i8"),  # addresses of the workload's kernels in this process
        ("peer_received", "i8"),
        ("has_device", "i8"),  # the device is beside this process's guest
        ("drives_wire", "i8"),  # this process's host thread is the peer, and the clock
        ("stop", "i8"),
        ("work_held", "i8"),  # mechanisms' threads are to rest
        ("turns", "i8"),  # of the host thread's loop
        ("running", "i8"),  # the host thread is
        ("guest_runs", "i8"),  # its vCPU is not paused
        # in lockstep: the vCPU is to leave whatever wait it is in
        ("leaves", "i8"),
        # in lockstep: how often the migration asked whether anything can still happen, and the last that was answered
        ("asked", "i8"),
        ("settled", "i8"),
        ("timespec", "i8", (2,)),
        ("timespec_address", "i8"),
    ]
)

WIRE = np.dtype(
    [
        ("time_ps", "i8"),  # the wire's clock: arrivals, hold times and interrupts go by it
        ("wall_ps", "i8"),  # since the run began, without the time for which the bench stopped all clocks
        ("last_ns", "i8"),  # CLOCK_MONOTONIC at the last look
        ("slowdown_1024", "i8"),  # wall time over the wire's time, in 1/1024
        ("flow_control", "i8"),  # a guest that can't keep up is waited for
        ("waits_for_room", "i8"),  # while the port is full, the wire's clock stands still
        ("frozen", "i8"),
        ("lockstep", "i8"),  # both clocks are one, which waits for the guest and for the migration
        ("limit_ps", "i8"),  # in lockstep: how far the migration lets the clock go
        ("settled_ps", "i8"),  # in lockstep: the clock got here, and nothing happens before it goes on
        ("write_back_timeout_ps", "i8"),  # of the VF's descriptors
        ("seed", "i8"),
        ("sequence", "i8"),
        # frames on the wire, which no process's device sees before they are in
        ("incoming_head", "i8"),
        ("incoming_count", "i8"),
        ("incoming", FRAME, (BATCH_FRAMES,)),
        ("admitted_ps", "i8"),  # wall clock when the first frame was admitted after `admit_watch` was set
        ("admit_watch", "i8"),
    ]
)

_PAGE = 4096


def _offsets(table_bytes: int) -> tuple[dict[str, int], int]:
    sizes = {
        "pair": QUEUE_PAIR.itemsize,
        "source": SOURCE.itemsize,
        "wire": WIRE.itemsize,
        "table": table_bytes,
    }
    offsets, end = {}, 0
    for name, size in sizes.items():
        offsets[name] = end
        end += -(-max(size, 1) // _PAGE) * _PAGE
    return offsets, end


def bench_bytes(table_bytes: int) -> int:
    """How large the bench's memfd must be for a workload whose table takes ``table_bytes``."""
    return _offsets(table_bytes)[1]


class BenchRecords:
    """``pair``, ``source``, ``wire`` and the workload's table, over a memfd of ``bench_bytes``."""

    def __init__(self, fd: int, table_bytes: int) -> None:
        offsets, size = _offsets(table_bytes)
        self._bytes = map_shared(fd, size)
        self.pair = self._record(offsets["pair"], QUEUE_PAIR)
        self.source = self._record(offsets["source"], SOURCE)
        self.wire = self._record(offsets["wire"], WIRE)
        self.table = self._bytes[offsets["table"] : offsets["table"] + table_bytes]

    def _record(self, offset: int, dtype: np.dtype[Any]) -> Any:
        return self._bytes[offset : offset + dtype.itemsize].view(dtype).view(np.recarray)[0]

    def adopt_table(self) -> None:
        """Point the peer's record at the table as this process maps it."""
        if self.table.size:
            self.source.table = self.table.ctypes.data
