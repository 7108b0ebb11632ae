"""Bulk: full frames at a constant distance, flows in turn.

What a file transfer or a backup looks like from below: 1518 bytes with FCS, 812,744 frames a second at 10
Gb/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.kernels import kernel
from vfbench.machine.wire import LEAST_FRAME_BYTES, LONGEST_FRAME_BYTES
from vfbench.parameters import parameter
from vfbench.workload import Workload, put_evenly

FRAME_BYTES = 0


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Full frames, evenly spaced."""
    put_evenly(source, frames, horizon_ps, source.scratch[FRAME_BYTES])
    return 0


@dataclass(frozen=True)
class Bulk(Workload):
    """1518-byte frames at line rate, evenly spaced."""

    name: ClassVar[str] = "bulk"
    arrivals = arrivals

    frame_bytes: int = parameter(
        1518, unit="bytes", low=LEAST_FRAME_BYTES, high=LONGEST_FRAME_BYTES, help="frame size with FCS"
    )

    @property
    def longest_frame_bytes(self) -> int:
        return self.frame_bytes

    def prepare(self, source: Any) -> tuple[Any, ...]:
        source.scratch[FRAME_BYTES] = self.frame_bytes
        source.gap_ps = self.gap_ps(source, self.frame_bytes)
        return ()
