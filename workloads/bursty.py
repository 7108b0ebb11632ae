"""Bursty: line rate for a while, silence for a while, both with heavy tails.

Many such sources together make the self-similar traffic that is measured on real Ethernets; one alone is
what a single port sees. Both lengths are Pareto with the same shape, cut where one in a million falls.

Source: Willinger, Taqqu, Sherman, Wilson, "Self-similarity through high-variability", SIGCOMM 1995, who
find shapes between 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.errors import UserError
from vfbench.kernels import kernel
from vfbench.machine.wire import LEAST_FRAME_BYTES, LONGEST_FRAME_BYTES
from vfbench.parameters import parameter
from vfbench.quantiles import ONE_BITS, draw_pareto, pareto_mean, pareto_table
from vfbench.workload import Workload, may_put, next_flow, next_random, put_frame

FRAME_BYTES, FRAMES_LEFT, LINE_GAP_PS, SHORTEST_BURST, SHORTEST_PAUSE_PS, PAUSE_SHIFT = range(6)

PAUSE_BITS = 26
"""A Pareto value has at most 34 bits and a product at most 63."""


@kernel
def draw_pause_ps(source: Any) -> int:
    """How long the wire is silent before a burst."""
    value = draw_pareto(source, source.table)
    return ((source.scratch[SHORTEST_PAUSE_PS] * value) >> ONE_BITS) << source.scratch[PAUSE_SHIFT]


@kernel
def draw_burst_frames(source: Any) -> int:
    """Rounded up or down by chance, so that the mean stays what it is; never less than one."""
    value = draw_pareto(source, source.table)
    chance = next_random(source) << 1
    return max(1, (source.scratch[SHORTEST_BURST] * value + chance) >> (2 * ONE_BITS))


@kernel
def begin_burst(source: Any) -> None:
    """A pause, and then as many frames as are drawn."""
    source.next_ps += draw_pause_ps(source)
    source.scratch[FRAMES_LEFT] = draw_burst_frames(source)


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Burst after burst."""
    while may_put(source, frames, horizon_ps):
        if source.scratch[FRAMES_LEFT] == 0:
            begin_burst(source)
        else:
            put_frame(source, frames, source.next_ps, source.scratch[FRAME_BYTES], next_flow(source), 0)
            source.next_ps += source.scratch[LINE_GAP_PS]
            source.scratch[FRAMES_LEFT] -= 1
    return 0


@dataclass(frozen=True)
class Bursty(Workload):
    """Bursts at line rate and pauses, both heavy-tailed (Pareto)."""

    name: ClassVar[str] = "bursty"
    arrivals = arrivals

    rate_bps: int = parameter(
        0, unit="bps", low=0, help="mean offered rate, counting frame + 20 bytes (0: half the link's)"
    )
    frame_bytes: int = parameter(
        1518, unit="bytes", low=LEAST_FRAME_BYTES, high=LONGEST_FRAME_BYTES, help="frame size with FCS"
    )
    burst_frames: int = parameter(64, unit="count", low=2, high=4096, help="mean frames per burst")
    shape: float = parameter(
        1.5, unit="number", low=1.2, high=4.0, help="Pareto shape; the less, the heavier"
    )

    def __post_init__(self) -> None:
        """Refuse bursts of less than one frame."""
        super().__post_init__()
        if self.burst_frames * (self.shape - 1) < self.shape:
            raise UserError(
                f"bursty.burst-frames: {self.burst_frames} on average at shape {self.shape} would need "
                f"bursts of less than one frame; ask for {int(self.shape / (self.shape - 1)) + 1} or more"
            )

    @property
    def longest_frame_bytes(self) -> int:
        return self.frame_bytes

    def prepare(self, source: Any) -> tuple[Any, ...]:
        line_gap_ps = (self.frame_bytes + 20) * int(source.ps_per_byte)
        gap_ps = self.gap_ps(source, self.frame_bytes) if self.rate_bps else 2 * line_gap_ps
        table = pareto_table(self.shape)
        mean = pareto_mean(table)
        pause_ps = round(self.burst_frames * (gap_ps - line_gap_ps) / mean)
        source.gap_ps = gap_ps
        source.scratch[FRAME_BYTES] = self.frame_bytes
        source.scratch[LINE_GAP_PS] = line_gap_ps
        source.scratch[SHORTEST_BURST] = round(self.burst_frames / mean * (1 << ONE_BITS))
        source.scratch[PAUSE_SHIFT] = max(0, pause_ps.bit_length() - PAUSE_BITS)
        source.scratch[SHORTEST_PAUSE_PS] = pause_ps >> int(source.scratch[PAUSE_SHIFT])
        source.table = table.ctypes.data
        source.table_length = len(table)
        return (table,)
