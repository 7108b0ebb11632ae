"""A capture's packets while they are read, as columns; and the capture that they make."""

from __future__ import annotations

import zlib
from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfbench.captures.defects import DROP, Defect
from vfbench.captures.headers import (
    ETHERNET_HEADER_BYTES,
    INBOUND,
    LINKS,
    OTHER_LINKS,
    UNKNOWN,
    flow_key,
    header_bytes,
    linux_direction,
)
from vfbench.captures.times import LARGEST_NS, TIMELESS, since_the_first

MAX_PACKETS = 5_000_000
MAX_FLOWS = 1 << 18
MAX_STATIONS = 1 << 16
MAX_PACKET_BYTES = 262_144
"""libpcap's MAXIMUM_SNAPLEN: no longer packet was ever captured."""
KEPT_BYTES = 128
"""How much of a packet is read: enough for the longest headers up to the ports."""


class Packet(NamedTuple):
    """A packet as its file has it: `time_ns` is None where that is unknown, `way` a direction of pcapng."""

    data: bytes
    time_ns: int | None
    captured: int
    length: int
    fcs_bytes: int
    link_type: int
    way: int


@dataclass(frozen=True)
class Capture:
    """A capture's packets in order of time; all arrays are of one length, which is at least 1."""

    time_ns: NDArray[np.int64]
    """Since the first packet; never decreasing. Without a time of its own a packet has that of the one before."""
    length: NDArray[np.int64]
    """Length on the wire, as the Ethernet frame without its FCS would have it."""
    flow: NDArray[np.int64]
    """Number of the packet's flow (5-tuple; less where there are no ports), in order of first appearance."""
    received: NDArray[np.bool_]
    """Whether the port would receive it: see `Columns._received`."""
    link_type: int
    """Of the first packet, by the LINKTYPE_ numbers."""
    sha256: str
    """Of the content, unfolded: the same for a capture and its compressed copy."""


class Columns:
    """The packets of a capture one after the other; `len` is how many there are."""

    def __init__(self) -> None:
        self._time_ns = array("q")
        self._length = array("i")
        self._flow = array("i")
        self._pair = array("i")
        self._direction = array("b")
        self._flows: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._bytes_to: dict[bytes, int] = {}
        self._link_type = -1

    def __len__(self) -> int:
        return len(self._time_ns)

    def add(self, packet: Packet) -> None:
        """One more; Defect if it can't be replayed."""
        link = LINKS.get(packet.link_type)
        if link is None:
            raise _no_link(packet.link_type, first=not len(self))
        # Wireshark and libpcap believe an original length below the captured one; of 0 nothing was captured.
        length = packet.length or packet.captured
        if length > MAX_PACKET_BYTES:
            raise Defect(f"its length {length} is more than {MAX_PACKET_BYTES} bytes", DROP)
        if len(self) == MAX_PACKETS:
            raise Defect(
                f"there are more than {MAX_PACKETS} packets",
                f"`editcap -r IN OUT 1-{MAX_PACKETS}` keeps these",
            )
        data, time_ns = packet.data, packet.time_ns
        self._time_ns.append(TIMELESS if time_ns is None else max(-LARGEST_NS, min(LARGEST_NS, time_ns)))
        overhead = header_bytes(data, link) + max(packet.fcs_bytes, link.trailer_bytes)
        self._length.append(max(1, length - overhead + ETHERNET_HEADER_BYTES))
        self._flow.append(self._flow_number(flow_key(data, link)))
        at = link.addresses_at
        self._pair.append(self._station_pair(data[at : at + 12], length) if link.has_addresses else -1)
        self._direction.append(
            linux_direction(data, packet.link_type) if packet.way == UNKNOWN else packet.way
        )
        if self._link_type < 0:
            self._link_type = packet.link_type

    def _flow_number(self, key: bytes) -> int:
        """By first appearance; past a quarter of a million flows, further ones share numbers."""
        number = self._flows.get(key)
        if number is None:
            number = len(self._flows)
            if number == MAX_FLOWS:
                return zlib.crc32(key) % MAX_FLOWS
            self._flows[key] = number
        return number

    def _station_pair(self, pair: bytes, length: int) -> int:
        """Number of the pair of MAC addresses; -1 if there are none, or too many."""
        number = self._pairs.get(pair)
        if number is None:
            number = len(self._pairs)
            if number == MAX_STATIONS or len(pair) < 12:
                return -1
            self._pairs[pair] = number
        if not pair[0] & 1:
            self._bytes_to[pair[:6]] = self._bytes_to.get(pair[:6], 0) + length
        return number

    def capture(self, sha256: str) -> Capture:
        """All of it; Defect if the times are not those of one capture."""
        time_ns = since_the_first(np.array(self._time_ns, dtype=np.int64))
        order = np.argsort(time_ns, kind="stable")
        return Capture(
            time_ns=time_ns[order],
            length=np.array(self._length, dtype=np.int64)[order],
            flow=np.array(self._flow, dtype=np.int64)[order],
            received=self._received()[order],
            link_type=self._link_type,
            sha256=sha256,
        )

    def _received(self) -> NDArray[np.bool_]:
        """Which packets the port would receive.

        Where the capture says which way a packet went, that. Else the port is the station that was sent the
        most bytes: it receives what is addressed to it and what others send to groups. Without addresses
        everything counts as received.
        """
        way = np.array(self._direction, dtype=np.int8)
        port = max(self._bytes_to, key=lambda each: (self._bytes_to[each], each), default=None)
        taken = [
            port is None or pair[:6] == port or (bool(pair[0] & 1) and pair[6:] != port)
            for pair in self._pairs
        ]
        by_address = np.array([*taken, True], dtype=np.bool_)[np.array(self._pair, dtype=np.int64)]
        return np.where(way == UNKNOWN, by_address, way == INBOUND)


def _no_link(link_type: int, *, first: bool) -> Defect:
    name = f" ({OTHER_LINKS[link_type]})" if link_type in OTHER_LINKS else ""
    remedy = (
        "record it on an Ethernet interface"
        if first
        else "`tshark -r IN -Y eth -w OUT` keeps the Ethernet frames"
    )
    known = "Ethernet (1), Linux cooked (113, 276), raw IP (101) or another with frames or IP packets at a known place"
    return Defect(f"its link type {link_type}{name} is not {known}", remedy)
