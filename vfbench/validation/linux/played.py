"""A workload that repeats what was seen on a wire: frames of one length, each at its own moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word
from vfbench.machine.wire import BUFFER_BYTES, LEAST_FRAME_BYTES
from vfbench.parameters import parameter
from vfbench.workload import NEVER_PS, Workload, may_put, put_frame

FRAME_BYTES, POSITION = 0, 1


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """The next frames in the order of their moments."""
    while may_put(source, frames, horizon_ps):
        put_frame(source, frames, source.next_ps, source.scratch[FRAME_BYTES], 0, 0)
        position = source.scratch[POSITION] + 1
        source.scratch[POSITION] = position
        source.next_ps = load_word(source.table, position) if position < source.table_length else NEVER_PS
    return 0


@dataclass(frozen=True)
class Played(Workload):
    """Frames at ``moments_ps``, which ascend, from the beginning of the run."""

    name: ClassVar[str] = "played"
    arrivals = arrivals

    frame_bytes: int = parameter(
        64, unit="bytes", low=LEAST_FRAME_BYTES, high=BUFFER_BYTES, help="frame size with FCS"
    )
    moments_ps: tuple[int, ...] = ()

    def prepare(self, source: Any) -> tuple[Any, ...]:
        table = np.array(self.moments_ps, dtype=np.int64)
        source.scratch[FRAME_BYTES] = self.frame_bytes
        source.table, source.table_length = table.ctypes.data, len(table)
        source.next_ps = self.moments_ps[0] if self.moments_ps else NEVER_PS
        return (table,)
