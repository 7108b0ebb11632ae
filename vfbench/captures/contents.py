"""What a capture's frames hold, for who sends them as they are: whole, in the order of `read_capture`, as Ethernet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vfbench.captures import WANTED, packets_of
from vfbench.captures.compressed import unfolded
from vfbench.captures.defects import Defect, NoCapture
from vfbench.captures.headers import LINKS, ethertype, header_bytes
from vfbench.captures.packets import MAX_PACKET_BYTES, Packet
from vfbench.captures.stream import Stream
from vfbench.captures.times import LARGEST_NS, TIMELESS, since_the_first
from vfbench.errors import UserError
from vfbench.untrusted import open_regular, shown

ETHERNET = 1
MOST_BYTES = 256 << 20
"""All frames together: they are kept in memory."""
_NO_ADDRESSES = bytes(12)


def read_frames(path: str | Path) -> list[bytes]:
    """The frames without FCS, zeros where less was captured; UserError for a bad capture, or one of too many bytes."""
    name = f"capture {shown(path)}"
    frames: list[bytes] = []
    times: list[int] = []
    total = 0
    with open_regular(path, name, 4 << 30, WANTED) as file:
        try:
            content, packed = unfolded(file)
            for packet in packets_of(Stream(content), packed, MAX_PACKET_BYTES):
                frames.append(as_ethernet(packet))
                times.append(
                    TIMELESS if packet.time_ns is None else max(-LARGEST_NS, min(LARGEST_NS, packet.time_ns))
                )
                total += len(frames[-1])
                if total > MOST_BYTES:
                    raise UserError(
                        f"{name}: its frames are more than {MOST_BYTES >> 20} MiB; cut it with `editcap -s`"
                    )
            order = np.argsort(since_the_first(np.array(times, dtype=np.int64)), kind="stable")
        except (Defect, NoCapture) as defect:
            raise UserError(f"{name}: {defect}") from None
    return [frames[index] for index in order]


def as_ethernet(packet: Packet) -> bytes:
    """The packet's frame: as it was, or behind an Ethernet header of its own where its link was another."""
    link = LINKS[packet.link_type]
    length = packet.length or packet.captured
    at = header_bytes(packet.data, link)
    whole = max(1, length - at - max(packet.fcs_bytes, link.trailer_bytes) + len(_NO_ADDRESSES) + 2)
    if packet.link_type == ETHERNET:
        return packet.data[:whole].ljust(whole, b"\0")
    kind = ethertype(packet.data, link)
    frame = _NO_ADDRESSES + kind.to_bytes(2, "big") + packet.data[at:]
    return frame[:whole].ljust(whole, b"\0")
