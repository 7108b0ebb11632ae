"""What a workload is: frames that arrive, answers that leave, pages that the guest dirties.

A workload is a frozen dataclass of parameters and up to three kernels. ``arrivals`` is the peer: it puts
frames on the wire. ``delivered`` is the guest's application: it runs for each packet handed over and says how
long an answer to send. ``peer_received`` closes the loop: it runs when an answer reaches the peer.

Times are integer picoseconds (a byte at 10 Gb/s lasts exactly 800), so line rate does not drift and the same
seed gives the same frames on any machine. Frame lengths are in bytes and include the FCS (RFC 2544).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.errors import UserError
from vfbench.kernels import Kernel, kernel
from vfbench.machine.wire import (
    APPLICATION,
    BATCH_FRAMES,
    FRAME_OVERHEAD_BYTES,
    FRAMES,
    NEVER_PS,
    PENDING_ANSWERS,
    SOURCE,
    WIRE_OVERHEAD_BYTES,
)
from vfbench.parameters import find, parameter, validate
from vfbench.units import format_quantity

__all__ = [
    "APPLICATION",
    "BATCH_FRAMES",
    "FRAMES",
    "NEVER_PS",
    "PENDING_ANSWERS",
    "SOURCE",
    "WIRE_OVERHEAD_BYTES",
    "Workload",
    "ignore_replies",
    "may_put",
    "next_flow",
    "next_random",
    "put_evenly",
    "put_frame",
    "reply_to_a_share",
]

SCRATCH_FLOW = 15
"""The scratch word of ``next_flow``."""


@kernel
def next_random(state: Any) -> Any:
    """A 31-bit pseudo-random number from ``state.random`` (xorshift64, Marsaglia 2003)."""
    x = state.random
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state.random = x
    return np.int64(x >> np.uint64(33))


@kernel
def put_frame(source: Any, frames: Any, start_ps: int, length: int, flow: int, tag: int) -> None:
    """Put a frame on the wire at ``start_ps`` or as soon as it is free; the caller has checked for room."""
    begin_ps = max(start_ps, source.wire_free_ps)
    end_ps = begin_ps + (length + WIRE_OVERHEAD_BYTES) * source.ps_per_byte
    source.wire_free_ps = end_ps
    i = frames.count
    frames.arrival_ps[i] = end_ps
    frames.length[i] = length
    frames.flow[i] = flow
    frames.tag[i] = tag
    frames.count = i + 1
    source.sequence += 1
    source.frames_left -= 1


@kernel
def may_put(source: Any, frames: Any, horizon_ps: int) -> bool:
    """Whether a frame that starts at ``source.next_ps`` is due before ``horizon_ps`` and fits the batch."""
    return (
        source.next_ps < horizon_ps
        and source.wire_free_ps < horizon_ps
        and frames.count < BATCH_FRAMES
        and source.frames_left > 0
    )


@kernel
def next_flow(source: Any) -> int:
    """Flows in turn, 0 to ``source.flows - 1``; a division would cost more than all the rest of a frame."""
    flow: int = source.scratch[SCRATCH_FLOW]
    source.scratch[SCRATCH_FLOW] = flow + 1 if flow + 1 < source.flows else 0
    return flow


@kernel
def put_evenly(source: Any, frames: Any, horizon_ps: int, length: int) -> None:
    """Frames of one length, ``source.gap_ps`` apart, flows in turn: ``put_frame`` while ``may_put``, faster.

    What changes with each frame is kept in registers, which the compiler cannot do across two records.
    """
    next_ps, wire_free_ps, gap_ps = source.next_ps, source.wire_free_ps, source.gap_ps
    frame_ps = (length + WIRE_OVERHEAD_BYTES) * source.ps_per_byte
    flow, flows = source.scratch[SCRATCH_FLOW], source.flows
    first = i = frames.count
    last = min(BATCH_FRAMES, first + source.frames_left)
    while i < last and next_ps < horizon_ps and wire_free_ps < horizon_ps:
        wire_free_ps = max(next_ps, wire_free_ps) + frame_ps
        frames.arrival_ps[i] = wire_free_ps
        frames.length[i] = length
        frames.flow[i] = flow
        frames.tag[i] = 0
        next_ps += gap_ps
        flow = flow + 1 if flow + 1 < flows else 0
        i += 1
    source.next_ps, source.wire_free_ps = next_ps, wire_free_ps
    source.scratch[SCRATCH_FLOW] = flow
    source.sequence += i - first
    source.frames_left -= i - first
    frames.count = i


@kernel
def reply_in_writes(application: Any, length: int) -> int:
    """Save the share of each packet's bytes up for a write of ``write_bytes``."""
    application.send_credit_65536 += application.send_share_65536 * length
    if application.send_credit_65536 < application.write_bytes << 16:
        return 0
    application.send_credit_65536 -= application.write_bytes << 16
    return application.write_bytes + FRAME_OVERHEAD_BYTES


@kernel
def reply_to_a_share(cpu: Any, application: Any, length: int, tag: int) -> int:
    """The default ``delivered``: answer the share of packets that ``send_ratio`` says, at the same length.

    With ``write_bytes`` the share counts in bytes, and goes out once there is enough for a write.
    """
    if application.write_bytes != 0:
        return reply_in_writes(application, length)
    application.send_credit_65536 += application.send_share_65536
    if application.send_credit_65536 < 65536:
        return 0
    application.send_credit_65536 -= 65536
    return length


@kernel
def ignore_replies(source: Any, time_ps: int, length: int, flow: int) -> int:
    """The default ``peer_received``: an open loop."""
    return 0


@dataclass(frozen=True)
class Workload:
    """Base of every workload; a subclass adds ``name``, parameters and its kernels."""

    name: ClassVar[str]
    arrivals: ClassVar[Kernel]
    """``arrivals(source, frames, horizon_ps) -> 0``: append to ``frames`` while :func:`may_put`."""
    delivered: ClassVar[Kernel] = reply_to_a_share
    """``delivered(cpu, application, length, tag) -> bytes``: the frame to send in answer, 0 for none."""
    peer_received: ClassVar[Kernel] = ignore_replies
    """``peer_received(source, time_ps, length, flow) -> 0``."""
    tags_replies: ClassVar[bool] = False
    """Whether what the guest sends carries tags (``application.tags``), which only the model's frames have room for."""
    cannot_act: ClassVar[dict[str, str]] = {}
    """Fields of common parameters that mean nothing to this workload, and why; they stay at their default."""

    rate_bps: int = parameter(
        0, unit="bps", low=0, help="offered rate, counting frame + 20 bytes (0: the link's)"
    )
    flows: int = parameter(64, unit="count", low=1, high=1 << 20, help="flows, spread over the queues")
    send_ratio: float = parameter(0.0, unit="ratio", low=0.0, high=1.0, help="frames sent per frame received")
    write_bytes: int = parameter(
        0,
        unit="bytes",
        high=1 << 20,
        in_identity_at_default=False,
        help="what the guest sends it writes so much at a time (0: frames as long as those received)",
    )
    hold_ns: int = parameter(
        20_000, unit="ns", low=0, high=10**10, help="how long the application holds a packet"
    )
    dirty_rate_pages_per_s: int = parameter(
        1000, unit="pages_per_s", low=0, high=10**9, help="pages that the guest itself dirties"
    )
    working_set_bytes: int = parameter(
        16 << 20, unit="bytes", low=4096, high=1 << 42, help="memory in which the guest itself dirties pages"
    )

    def __post_init__(self) -> None:
        """Refuse what is out of range, and what cannot act."""
        validate(self)
        for field, reason in self.cannot_act.items():
            known = find(self, field)
            if getattr(self, field) != known.default:
                given = known.format(getattr(self, field))
                raise UserError(f"{self.name}.{known.name}: {given} cannot act: {reason}; leave it out")
        if self.write_bytes and not self.send_ratio:
            given = format_quantity(self.write_bytes, "bytes")
            raise UserError(f"{self.name}.write: {given} cannot act without {self.name}.send-ratio")

    @property
    def heap_bytes(self) -> int:
        """Memory that the application's own structures take, over all queues."""
        return 0

    @property
    def longest_frame_bytes(self) -> int:
        """The longest frame that it puts on the wire or asks the guest to answer with, unless it goes by the MTU."""
        return 0

    @property
    def inputs(self) -> Mapping[str, str]:
        """SHA-256 of each file that decides what is sent, by the parameter's field that names it.

        Of its content, wherever it lies: a run is the same if that is. A file that can't be read has none.
        """
        return {}

    def input_frames(self, source: Any) -> int | None:
        """Frames in one pass of the input, once ``source`` is prepared; None without an input."""
        return None

    def frame_contents(self) -> Sequence[bytes] | None:
        """What the frames of one pass of the input hold, without FCS, in order; None: who sends them makes it up."""
        return None

    def prepare(self, source: Any) -> tuple[Any, ...]:
        """Fill ``source`` (rate, scratch, table) for a run; returns the arrays that must outlive it.

        ``source.ps_per_byte``, ``turnaround_ps``, ``random`` and ``frames_left`` are set already.
        """
        raise NotImplementedError

    def prepare_application(self, application: Any) -> tuple[Any, ...]:
        """Fill the application's own ``scratch``; returns the arrays that must outlive it.

        The common fields are set already.
        """
        return ()

    def gap_ps(self, source: Any, mean_length_bytes: float) -> int:
        """Start-to-start distance in picoseconds of frames of ``mean_length_bytes`` at the offered rate."""
        line_ps = (mean_length_bytes + WIRE_OVERHEAD_BYTES) * int(source.ps_per_byte)
        line_bps = 8 * 10**12 / int(source.ps_per_byte)
        if self.rate_bps > line_bps:
            asked, link = format_quantity(self.rate_bps, "bps"), format_quantity(int(line_bps), "bps")
            raise UserError(f"{self.name}.rate: {asked} is more than the link carries ({link})")
        return round(line_ps * (line_bps / self.rate_bps)) if self.rate_bps else round(line_ps)
