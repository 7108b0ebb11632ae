"""pcap: a capture's sizes, times and flows, replayed.

What one port would receive of it arrives as it did, faster or slower. Captures lack the FCS and the padding
of short frames sent, so four bytes are added and 64 is the least. Where the capture asks for more than the
wire carries, frames wait for the wire; the peers of a replay do not slow down.

Looped, a replay begins again one mean distance after its last frame. A capture of one instant has no speed, and is
refused unless one is given. What is replayed is the file's content: a run's identity has that and not its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vfbench.captures import Capture, content_sha256, read_capture
from vfbench.captures.contents import read_frames
from vfbench.errors import UserError
from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word
from vfbench.machine.wire import BUFFER_BYTES, LEAST_FRAME_BYTES, WIRE_OVERHEAD_BYTES
from vfbench.parameters import parameter
from vfbench.untrusted import shown
from vfbench.workload import NEVER_PS, Workload, may_put, put_frame

SHIPPED_CAPTURE = Path(__file__).parent / "captures" / "veth-mixed.pcap"
FCS_BYTES = 4
HEADER_BYTES = 54
"""Ethernet, IPv4 and TCP without options: what segmentation repeats before each piece."""
LEAST_SEGMENT_BYTES = 594
MOST_PIECES = 10_000_000
LONGEST_REPLAY_PS = 1 << 60

POSITION, ROUND_BEGAN_PS, ROUND_PS, LOOPED = range(4)
# A frame is two words of the table: when it starts in its round, and its length with its flow above it.
WORDS_PER_FRAME = 2
LENGTH_BITS = 16


@kernel
def advance(source: Any) -> None:
    """On to the next frame, and from the last to the first of the next round, if there is one."""
    position = source.scratch[POSITION] + 1
    if position == source.table_length:
        if not source.scratch[LOOPED]:
            source.next_ps = NEVER_PS
            return
        position = 0
        source.scratch[ROUND_BEGAN_PS] += source.scratch[ROUND_PS]
    source.scratch[POSITION] = position
    source.next_ps = source.scratch[ROUND_BEGAN_PS] + load_word(source.table, WORDS_PER_FRAME * position)


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """The capture's frames at their times, or as soon after as the wire is free."""
    while may_put(source, frames, horizon_ps):
        frame = load_word(source.table, WORDS_PER_FRAME * source.scratch[POSITION] + 1)
        length = frame & ((1 << LENGTH_BITS) - 1)
        put_frame(source, frames, source.next_ps, length, frame >> LENGTH_BITS, 0)
        advance(source)
    return 0


@dataclass(frozen=True)
class Pcap(Workload):
    """Replays a packet capture: its sizes, times and flows."""

    name: ClassVar[str] = "pcap"
    arrivals = arrivals

    rate_bps: int = parameter(
        0,
        unit="bps",
        low=0,
        help="mean offered rate, counting frame + 20 bytes, in place of speed (0: as speed says)",
    )
    flows: int = parameter(
        64,
        unit="count",
        low=1,
        high=1 << 20,
        help="flows kept apart; a capture's further flows share their numbers",
    )
    capture: str = parameter("", help="pcap or pcapng file, compressed or not (empty: the shipped capture)")
    speed: float = parameter(
        1.0, unit="ratio", low=0.0, high=1e6, help="of the recorded speed; 0: as fast as the wire lets"
    )
    loop: bool = parameter(True, help="begin again at the end")
    direction: str = parameter(
        "received",
        choices=("received", "both"),
        help="the frames that the busiest receiver's port would receive, or those both ways",
    )
    segment_bytes: int = parameter(
        0,
        unit="bytes",
        low=0,
        high=BUFFER_BYTES,
        help="cut longer frames as the NIC would (0: refuse those over 2048 B)",
    )

    def __post_init__(self) -> None:
        """Refuse two speeds at once, and pieces smaller than any network's."""
        super().__post_init__()
        if self.rate_bps and self.speed != 1.0:
            raise UserError(
                f"pcap.speed: {self.speed} cannot act: pcap.rate sets the speed; give one of the two"
            )
        if 0 < self.segment_bytes < LEAST_SEGMENT_BYTES:
            raise UserError(
                f"pcap.segment: {self.segment_bytes}B is less than {LEAST_SEGMENT_BYTES}B (IPv4's 576 and 18)"
            )

    @cached_property
    def inputs(self) -> Mapping[str, str]:
        """Of the capture as it is when it is first asked for, which is before the run."""
        sha256 = content_sha256(self.capture or SHIPPED_CAPTURE)
        return {"capture": sha256} if sha256 else {}

    def input_frames(self, source: Any) -> int:
        return int(source.table_length)

    def prepare(self, source: Any) -> tuple[Any, ...]:
        path = shown(self.capture or SHIPPED_CAPTURE)
        capture = self._read(path)
        wanted = self._wanted(capture)
        time_ns, flow = capture.time_ns[wanted], capture.flow[wanted]
        length = np.maximum(capture.length[wanted] + FCS_BYTES, LEAST_FRAME_BYTES)
        if not len(length):
            raise UserError(
                f"capture {path}: no packet of it is received by anyone; pcap.direction=both replays all"
            )
        time_ns, length, flow = self._segmented(path, time_ns, length, flow)
        time_ps, round_ps = self._scaled(path, source, time_ns - time_ns[0], length)
        table = np.empty((len(length), WORDS_PER_FRAME), dtype=np.int64)
        table[:, 0] = time_ps
        table[:, 1] = length | _renumbered(flow) % self.flows << LENGTH_BITS
        source.table, source.table_length = table.ctypes.data, len(table)
        source.gap_ps = round_ps // len(table)
        source.next_ps = 0
        source.scratch[ROUND_PS], source.scratch[LOOPED] = round_ps, self.loop
        return (table,)

    def frame_contents(self) -> list[bytes]:
        """Each frame of a round without its FCS, of the length that `prepare` gives it."""
        path = self.capture or SHIPPED_CAPTURE
        wanted = self._wanted(self._read(shown(path)))
        frames = [frame for frame, is_wanted in zip(read_frames(path), wanted, strict=True) if is_wanted]
        cut = [piece for frame in frames for piece in _pieces(frame, self.segment_bytes or BUFFER_BYTES)]
        return [frame.ljust(LEAST_FRAME_BYTES - FCS_BYTES, b"\0") for frame in cut]

    def _wanted(self, capture: Capture) -> NDArray[np.bool_]:
        if self.direction == "received":
            return capture.received
        return np.ones(len(capture.length), dtype=np.bool_)

    def _read(self, path: str) -> Capture:
        capture = read_capture(self.capture or SHIPPED_CAPTURE)
        if self.inputs.get("capture") != capture.sha256:
            raise UserError(
                f"capture {path}: its content has changed since this run was asked for; ask for it again"
            )
        return capture

    def _segmented(
        self,
        path: str,
        time_ns: NDArray[np.int64],
        length: NDArray[np.int64],
        flow: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Frames recorded above segmentation offload, cut into what the wire carried."""
        limit = self.segment_bytes or BUFFER_BYTES
        if length.max() <= limit:
            return time_ns, length, flow
        if not self.segment_bytes:
            raise UserError(
                f"capture {path}: a frame of {length.max()} B is over {BUFFER_BYTES}: it "
                "was recorded above segmentation offload; pcap.segment=1518B cuts them as the NIC would"
            )
        header = HEADER_BYTES + FCS_BYTES
        room = limit - header
        pieces = np.where(length > limit, -((header - length) // room), 1)
        if pieces.sum() > MOST_PIECES:
            raise UserError(
                f"capture {path}: cut at {limit}B it has {pieces.sum()} frames, more than {MOST_PIECES}"
            )
        last = length - (pieces - 1) * room
        cut = np.repeat(np.where(length > limit, limit, length), pieces)
        cut[np.cumsum(pieces) - 1] = np.maximum(last, LEAST_FRAME_BYTES)
        return np.repeat(time_ns, pieces), cut, np.repeat(flow, pieces)

    def _scaled(
        self, path: str, source: Any, time_ns: NDArray[np.int64], length: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], int]:
        """Start times in picoseconds, and how long a round of the loop lasts."""
        span_ns = int(time_ns[-1])
        if span_ns == 0 and self.speed and not self.rate_bps:
            frames = "one frame" if len(length) == 1 else f"{len(length)} frames of one instant"
            raise UserError(
                f"capture {path}: its replay is {frames}, which has no speed; give one, like --rate 1Gbps "
                "(or pcap.speed=0, as fast as the wire lets)"
            )
        if span_ns == 0 and self.rate_bps:
            return self._evenly(source, length)
        recorded_ns = span_ns * len(length) / max(1, len(length) - 1)
        if self.rate_bps:
            round_ps = self.gap_ps(source, float(length.mean())) * len(length)
            ps_per_ns = round_ps / recorded_ns if recorded_ns else 0.0
        else:
            ps_per_ns = 1000 / self.speed if self.speed else 0.0
            round_ps = round(recorded_ns * ps_per_ns)
        if max(round_ps, span_ns * ps_per_ns) > LONGEST_REPLAY_PS:
            days = round_ps / 86_400e12
            raise UserError(
                f"capture {path}: its replay would last {days:.0f} days, and 13 is the most; raise pcap.speed"
            )
        return np.rint(time_ns * ps_per_ns).astype(np.int64), round_ps

    def _evenly(self, source: Any, length: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """The asked rate at every moment, where the capture knows no times: each frame in its part of a round."""
        round_ps = self.gap_ps(source, float(length.mean())) * len(length)
        wire_bytes = np.cumsum(length + WIRE_OVERHEAD_BYTES)
        begins = np.concatenate([[0], wire_bytes[:-1]])
        return np.rint(begins * (round_ps / float(wire_bytes[-1]))).astype(np.int64), round_ps


def _pieces(frame: bytes, limit_bytes: int) -> list[bytes]:
    """What the NIC's segmentation makes of a frame: its header before each piece."""
    if len(frame) + FCS_BYTES <= limit_bytes:
        return [frame]
    header, room = frame[:HEADER_BYTES], limit_bytes - HEADER_BYTES - FCS_BYTES
    return [header + frame[at : at + room] for at in range(HEADER_BYTES, len(frame), room)]


def _renumbered(flow: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flow numbers without gaps, in order of first appearance."""
    _, first, inverse = np.unique(flow, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
