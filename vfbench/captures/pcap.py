"""pcap savefiles: micro- and nanoseconds, both byte orders, the longer records of old Linux kernels and of Nokia.

What is read is what libpcap and Wireshark read: a captured length may exceed the file's snap length, and files of
versions before 2.4 have the two lengths in either order.

Source: draft-ietf-opsawg-pcap; for the old versions libpcap's sf-pcap.c, for the other lengths of a record's header,
which no magic number tells for sure, Wireshark's libpcap.c, which tries them as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfbench.captures.defects import Defect, NoCapture, cut_short
from vfbench.captures.headers import INBOUND, OUTBOUND, UNKNOWN
from vfbench.captures.packets import KEPT_BYTES, MAX_PACKET_BYTES, Packet
from vfbench.captures.stream import Stream, exactly

_STANDARD, _NOKIA, _SS990417, _SS990915 = 16, 20, 24, 28
"""Lengths of a record's header; the last two are those of Kuznetsov's patches and begin with the same 24 bytes."""
_MAGICS = {
    0xA1B2C3D4: (10**6, (_STANDARD, _SS990417, _NOKIA)),
    0xA1B23C4D: (10**9, (_STANDARD,)),
    0xA1B2CD34: (10**6, (_SS990417, _SS990915)),
}
"""Ticks per second, and the lengths to try."""
_TRIED_BYTES = 1 << 16
_TRIED_RECORDS = 16
_YEAR_S = 366 * 86_400
_LINUX_OUTGOING = 4
_FCS_PRESENT = 0x0400_0000
_RESERVED = 0x03FF_0000


@dataclass(frozen=True)
class _Header:
    order: str
    ticks_per_s: int
    record_bytes: int
    version: tuple[int, int]
    link_type: int
    fcs_bytes: int

    def lengths(self, first: int, second: int) -> tuple[int, int]:
        """Captured and original: swapped before 2.3 and in 543.0, in 2.3 by some writers."""
        always = self.version < (2, 3) or self.version == (543, 0)
        if always or (self.version == (2, 3) and first > second):
            return second, first
        return first, second


def is_pcap(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is read here."""
    return len(magic) == 4 and any(struct.unpack(order, magic)[0] in _MAGICS for order in ("<I", ">I"))


def pcap_packets(stream: Stream, kept_bytes: int = KEPT_BYTES) -> Iterator[Packet]:
    """The packets of a savefile with their first ``kept_bytes``; Defect where they are not sane."""
    header = _header(stream)
    form = struct.Struct(header.order + "4I")
    ns_per_tick = 10**9 // header.ticks_per_s
    while True:
        start = stream.position
        record = stream.read(header.record_bytes)
        if not record:
            return
        if len(record) < header.record_bytes:
            raise cut_short(start)
        seconds, ticks, first, second = form.unpack_from(record)
        captured, length = header.lengths(first, second)
        if captured > MAX_PACKET_BYTES:
            raise Defect(f"its captured length {captured} is more than {MAX_PACKET_BYTES} bytes")
        data = stream.read(min(captured, kept_bytes))
        if not stream.skip(captured - len(data)):
            raise cut_short(start)
        time_ns = seconds * 10**9 + ticks * ns_per_tick
        yield Packet(data, time_ns, captured, length, header.fcs_bytes, header.link_type, _way(record))


def _header(stream: Stream) -> _Header:
    content = exactly(stream, 24, "its header")
    order = "<" if struct.unpack_from("<I", content)[0] in _MAGICS else ">"
    magic, major, minor, _zone, _accuracy, _snap, network = struct.unpack(order + "IHHiIII", content)
    ticks_per_s, tried = _MAGICS[magic]
    if (major, minor) != (543, 0) and (major != 2 or minor > 4):
        raise NoCapture(f"is pcap of version {major}.{minor}, which is not 2.0 to 2.4", "record it anew")
    if network & _RESERVED:
        reason = f"its header is malformed: its link type {network:#x} has reserved bits"
        raise NoCapture(reason, "record it anew")
    fcs_bytes = 2 * (network >> 28) if network & _FCS_PRESENT else 0
    header = _Header(order, ticks_per_s, tried[0], (major, minor), network & 0xFFFF, fcs_bytes)
    head = stream.peek(_TRIED_BYTES)
    others = (replace(header, record_bytes=each) for each in tried[1:])
    if _is_sane(header, head):
        return header
    return next((each for each in others if _is_sane(each, head, within_s=_YEAR_S)), header)


def _is_sane(header: _Header, head: bytes, within_s: int = 2**32) -> bool:
    """Whether the first records, as far as they lie in `head`, can have headers of this length."""
    times_s: list[int] = []
    at = 0
    while len(times_s) < _TRIED_RECORDS and at + header.record_bytes <= len(head):
        seconds, ticks, first, second = struct.unpack_from(header.order + "4I", head, at)
        captured, length = header.lengths(first, second)
        if ticks >= header.ticks_per_s or max(captured, length) > MAX_PACKET_BYTES:
            return False
        times_s.append(seconds)
        at += header.record_bytes + captured
    return bool(times_s) and max(times_s) - min(times_s) <= within_s


def _way(record: bytes) -> int:
    """Kuznetsov's headers hold interface, protocol, and Linux's packet type."""
    if len(record) < _SS990417:
        return UNKNOWN
    return OUTBOUND if record[22] == _LINUX_OUTGOING else INBOUND
