"""Frames for the guest's wire, from a workload's own arrivals: when, how long, and of which flow.

Lengths include the FCS (RFC 2544), which QEMU's wire does not carry: a frame of 64 bytes is 60 bytes here.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.workload import FRAMES, NEVER_PS, SOURCE

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

FCS_BYTES = 4
LOCAL_EXPERIMENTAL = b"\x88\xb5"
"""An EtherType that no protocol of the guest takes: such a frame is freed as soon as the driver hands it over."""
IPV4 = b"\x08\x00"
GUEST_ADDRESS, PEER_ADDRESS = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 9))
HEADERS_BYTES = 14 + 20 + 8
UDP = 17


@dataclass(frozen=True)
class Arrival:
    """A frame on its way: when its last bit is in, from the beginning, and its length with FCS."""

    time_s: float
    length_bytes: int


def arrivals(experiment: Experiment, count: int) -> list[Arrival]:
    """The first ``count`` frames that the experiment's workload puts on the wire, as the model's peer does."""
    source = np.zeros(1, SOURCE).view(np.recarray)[0]
    source.ps_per_byte = round(8e12 / experiment.link.rate_bps)
    source.turnaround_ps = experiment.link.peer_turnaround_ns * 1000
    source.random = np.uint64(experiment.seed * 0x9E37_79B9_7F4A_7C15 % (1 << 64))
    source.flows, source.frames_left = experiment.workload.flows, count
    kept = experiment.workload.prepare(source)
    found: list[Arrival] = []
    batch = np.zeros(1, FRAMES).view(np.recarray)[0]
    while len(found) < count:
        batch.count = 0
        type(experiment.workload).arrivals(source, batch, NEVER_PS)
        if batch.count == 0:
            break
        found += _arrivals_of(batch)
    del kept  # the arrays that the source's table points to had to live until here
    return found


def _arrivals_of(batch: Any) -> Iterator[Arrival]:
    n = int(batch.count)
    for ps, length in zip(batch.arrival_ps[:n].tolist(), batch.length[:n].tolist(), strict=True):
        yield Arrival(ps / 1e12, length)


def frame_to_be_freed(mac: bytes, peer: bytes, length_bytes: int) -> bytes:
    """A frame that nobody in the guest wants."""
    return (mac + peer + LOCAL_EXPERIMENTAL).ljust(length_bytes - FCS_BYTES, b"\0")


def datagram(mac: bytes, peer: bytes, length_bytes: int, port: int) -> bytes:
    """A UDP datagram from port 9 to the guest's ``port``, without a UDP checksum (RFC 768)."""
    packet_bytes = max(length_bytes - FCS_BYTES, HEADERS_BYTES) - 14
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, packet_bytes, 0, 0, 64, UDP, 0, PEER_ADDRESS, GUEST_ADDRESS
    )
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    udp = struct.pack(">HHHH", 9, port, packet_bytes - 20, 0)
    return (mac + peer + IPV4 + header + udp).ljust(packet_bytes + 14, b"\0")


def checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def play(
    frames: list[tuple[float, bytes]], send: Callable[[bytes], None], wait_until_idle: Callable[[], None]
) -> list[float]:
    """Send each frame at its time, but not before the guest is done with the one before it; returns when (seconds).

    A busy host would otherwise bunch frames, and frames in a bunch share an interrupt. What is late moves the rest.
    """
    sent: list[float] = []
    began = time.perf_counter()
    shift_s = 0.0
    for at_s, frame in frames:
        wait_until_idle()
        late_s = time.perf_counter() - began - at_s - shift_s
        if late_s < 0:
            time.sleep(-late_s)
        else:
            shift_s += late_s
        send(frame)
        sent.append(time.perf_counter())
    return sent
