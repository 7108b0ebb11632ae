"""Small packets: frames of one size at a constant distance, flows in turn.

The smallest frames at line rate are what RFC 2544 (section 9.1) begins with: the most packets a wire can
carry, 14.88 million a second at 10 Gb/s, and so the hardest on whatever is paid for each packet.
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
    """Small frames, evenly spaced."""
    put_evenly(source, frames, horizon_ps, source.scratch[FRAME_BYTES])
    return 0


@dataclass(frozen=True)
class SmallPackets(Workload):
    """64-byte frames at line rate, evenly spaced."""

    name: ClassVar[str] = "small-packets"
    arrivals = arrivals

    frame_bytes: int = parameter(
        64, unit="bytes", low=LEAST_FRAME_BYTES, high=LONGEST_FRAME_BYTES, help="frame size with FCS"
    )

    @property
    def longest_frame_bytes(self) -> int:
        return self.frame_bytes

    def prepare(self, source: Any) -> tuple[Any, ...]:
        source.scratch[FRAME_BYTES] = self.frame_bytes
        source.gap_ps = self.gap_ps(source, self.frame_bytes)
        return ()
