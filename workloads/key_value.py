"""Key-value: requests to a store in the guest's memory, some keys far more often than others.

An open loop of get and set requests at a given rate. A get is answered with the value; a set writes the value
into the application's heap, a store to each page that it covers, so the guest itself dirties memory where the
popular keys lie. Keys are scattered over the heap, as a hash table would, and share it when it is too small.

Source of the defaults: YCSB workload B (Cooper et al., SoCC 2010): 95 % reads, Zipf with exponent 0.99, 1 KB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.errors import UserError
from vfbench.kernels import kernel
from vfbench.machine.cpu import store
from vfbench.machine.wire import BUFFER_BYTES
from vfbench.parameters import parameter
from vfbench.quantiles import draw_rank, zipf_table
from vfbench.workload import Workload, may_put, next_flow, put_frame

PAGE_BYTES = 4096

# scratch of the source
GET_BYTES, VALUE_ADDED_BYTES, SET_THRESHOLD = range(3)
# scratch of the application
KEYS, STRIDE, VALUE_BYTES, ANSWER_BYTES, ACKNOWLEDGE_BYTES, WRITTEN = range(6)


@kernel
def draws_set(source: Any) -> int:
    """1 in the given share of requests, from the low 31 bits of the draw whose high 31 made the rank."""
    return int(np.int64(source.random & np.uint64(0x7FFF_FFFF)) < source.scratch[SET_THRESHOLD])


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """The tag is twice the key's rank, plus one for a set."""
    while may_put(source, frames, horizon_ps):
        rank = draw_rank(source, source.table)
        is_set = draws_set(source)
        tag = rank << 1 | is_set
        length = source.scratch[GET_BYTES] + is_set * source.scratch[VALUE_ADDED_BYTES]
        put_frame(source, frames, source.next_ps, length, next_flow(source), tag)
        source.next_ps += source.gap_ps
    return 0


@kernel
def value_address(application: Any, rank: int) -> int:
    """Where the key's value lies: ranks are spread by a stride that shares no factor with their number."""
    value_bytes = application.scratch[VALUE_BYTES]
    place = (rank * application.scratch[STRIDE]) % application.scratch[KEYS]
    places = (application.heap_pages * PAGE_BYTES) // value_bytes
    return application.heap + (place % places) * value_bytes


@kernel
def write_value(cpu: Any, application: Any, rank: int) -> None:
    """One store to each page of the value: what it dirties, without the time for the rest of it."""
    application.scratch[WRITTEN] += 1
    address = value_address(application, rank)
    end = address + application.scratch[VALUE_BYTES]
    while address < end:
        store(cpu, address, application.scratch[WRITTEN])
        address = (address // PAGE_BYTES + 1) * PAGE_BYTES


@kernel
def delivered(cpu: Any, application: Any, length: int, tag: int) -> int:
    """Answer a get with the value; carry out a set and acknowledge it."""
    if tag & 1 == 0:
        return application.scratch[ANSWER_BYTES]
    if application.heap_pages * PAGE_BYTES >= application.scratch[VALUE_BYTES]:
        write_value(cpu, application, tag >> 1)
    return application.scratch[ACKNOWLEDGE_BYTES]


@dataclass(frozen=True)
class KeyValue(Workload):
    """Get and set requests for Zipf-distributed keys; sets dirty the guest's pages."""

    name: ClassVar[str] = "key-value"
    arrivals = arrivals
    delivered = delivered
    cannot_act: ClassVar[dict[str, str]] = {
        "send_ratio": "every request is answered once",
        "write_bytes": "an answer's length is given",
    }

    keys: int = parameter(100_000, unit="count", low=1, high=1 << 20, help="number of keys")
    zipf: float = parameter(0.99, unit="number", low=0.0, high=4.0, help="Zipf exponent; 0: all keys alike")
    set_share: float = parameter(0.05, unit="ratio", low=0.0, high=1.0, help="share of requests that set")
    request_bytes: int = parameter(
        96, unit="bytes", low=64, high=1518, help="frame with FCS of a get, and of the answer to a set"
    )
    value_bytes: int = parameter(
        1024,
        unit="bytes",
        low=8,
        high=BUFFER_BYTES,
        multiple_of=8,
        help="a value, added to the frame that carries it",
    )

    def __post_init__(self) -> None:
        """Refuse a value that no single frame carries."""
        super().__post_init__()
        if self.request_bytes + self.value_bytes > BUFFER_BYTES:
            raise UserError(
                f"key-value.value: {self.value_bytes} B with a request of {self.request_bytes} B is more "
                f"than a frame of {BUFFER_BYTES} B holds"
            )

    @property
    def heap_bytes(self) -> int:
        """Every key's value; each queue's vCPU has a shard of the store."""
        return self.keys * self.value_bytes

    def prepare(self, source: Any) -> tuple[Any, ...]:
        table = zipf_table(self.keys, self.zipf)
        source.table = table.ctypes.data
        source.table_length = len(table)
        source.scratch[GET_BYTES] = self.request_bytes
        source.scratch[VALUE_ADDED_BYTES] = self.value_bytes
        source.scratch[SET_THRESHOLD] = round(self.set_share * (1 << 31))
        source.gap_ps = self.gap_ps(source, self.request_bytes + self.set_share * self.value_bytes)
        return (table,)

    def prepare_application(self, application: Any) -> tuple[Any, ...]:
        application.scratch[KEYS] = self.keys
        application.scratch[STRIDE] = _stride(self.keys)
        application.scratch[VALUE_BYTES] = self.value_bytes
        application.scratch[ANSWER_BYTES] = self.request_bytes + self.value_bytes
        application.scratch[ACKNOWLEDGE_BYTES] = self.request_bytes
        return ()


def _stride(keys: int) -> int:
    """Near the golden section of ``keys``, which spreads successive ranks best, and coprime to it."""
    stride = max(1, keys * 618_033 // 1_000_000)
    while math.gcd(stride, keys) != 1:
        stride += 1
    return stride
