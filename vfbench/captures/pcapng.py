"""pcapng: sections, interfaces and packet blocks, each checked before it counts.

Blocks that hold no packet (names, statistics, secrets, the journal's entries, custom ones) are passed over, as the
format asks of readers. A simple packet block has no time.

Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vfbench.captures.defects import Defect, NoCapture, cut_short
from vfbench.captures.headers import UNKNOWN
from vfbench.captures.packets import KEPT_BYTES, MAX_PACKET_BYTES, Packet
from vfbench.captures.stream import Stream

MAGIC = b"\n\r\r\n"
MAX_BLOCK_BYTES = 16 << 20
"""As in libpcap and Wireshark."""
MAX_INTERFACES = 4096
MAX_OTHER_BLOCKS = 1_000_000

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_LEAST_BODY = {_INTERFACE: 8, _OLD_PACKET: 20, _SIMPLE_PACKET: 4, _ENHANCED_PACKET: 20}
_BYTE_ORDER = 0x1A2B3C4D
_END, _FLAGS, _TSRESOL, _FCSLEN, _TSOFFSET = 0, 2, 9, 13, 14


@dataclass(frozen=True)
class _Interface:
    link_type: int
    snap_bytes: int
    ticks_per_s: int
    offset_ns: int
    fcs_bytes: int


@dataclass(frozen=True)
class _Claim:
    """What a packet block says of its packet; `at` is where in the block's body that begins."""

    interface: int
    ticks: int | None
    captured: int
    length: int
    at: int


class _Section:
    """One section: its byte order and its interfaces, whose numbers begin anew with it."""

    def __init__(self, stream: Stream, start: int, length: bytes) -> None:
        """Read what follows the block's type and ``length``."""
        content = stream.read(8)
        mark = content[:4]
        self.order = "<" if mark == _BYTE_ORDER.to_bytes(4, "little") else ">"
        self.interfaces: list[_Interface] = []
        if len(content) < 8:
            raise _cut_header(stream, start)
        size, magic, major, minor = struct.unpack(self.order + "IIHH", length + content)
        if magic != _BYTE_ORDER or not 28 <= size <= MAX_BLOCK_BYTES or size % 4:
            raise _malformed_header(start)
        if (major, minor) not in ((1, 0), (1, 2)):
            raise NoCapture(f"is pcapng of version {major}.{minor}, which is not 1.0", "record it anew")
        if not stream.skip(size - 20):
            raise _cut_header(stream, start)
        trailer = stream.read(4)
        if len(trailer) < 4:
            raise _cut_header(stream, start)
        if trailer != length:
            raise _malformed_header(start)

    def describe(self, body: bytes) -> None:
        """An interface description block."""
        if len(self.interfaces) >= MAX_INTERFACES:
            raise Defect(f"the file describes more than {MAX_INTERFACES} interfaces before it")
        link_type, _reserved, snap_bytes = struct.unpack_from(self.order + "HHI", body)
        options = self._options(body[8:])
        resolution, offset, fcs = (options.get(code, b"") for code in (_TSRESOL, _TSOFFSET, _FCSLEN))
        self.interfaces.append(
            _Interface(
                link_type,
                snap_bytes,
                ticks_per_s=_ticks_per_s(resolution[0] if len(resolution) == 1 else 6),
                offset_ns=10**9 * struct.unpack(self.order + "q", offset)[0] if len(offset) == 8 else 0,
                fcs_bytes=4 if fcs in (b"\x04", b"\x20") else 0,  # written in bytes or, as asked, bits
            )
        )

    def packet(self, kind: int, body: bytes, kept_bytes: int) -> Packet:
        """The packet of a block."""
        claim = self._claim(kind, body)
        if claim.interface >= len(self.interfaces):
            raise Defect(
                f"its interface {claim.interface} is not described; there are {len(self.interfaces)}"
            )
        interface = self.interfaces[claim.interface]
        room = len(body) - claim.at
        if claim.captured > MAX_PACKET_BYTES:
            raise Defect(f"its captured length {claim.captured} is more than {MAX_PACKET_BYTES} bytes")
        if claim.captured > room:
            raise Defect(f"its captured length {claim.captured} is beyond the {room} bytes of its block")
        time_ns = None
        if claim.ticks is not None:
            time_ns = claim.ticks * 10**9 // interface.ticks_per_s + interface.offset_ns
        flags = (
            self._flags(body[claim.at + claim.captured + -claim.captured % 4 :])
            if kind == _ENHANCED_PACKET
            else 0
        )
        data = body[claim.at : claim.at + min(claim.captured, kept_bytes)]
        fcs_bytes = flags >> 5 & 15 or interface.fcs_bytes
        way = flags & 3 if flags & 3 != 3 else UNKNOWN
        return Packet(data, time_ns, claim.captured, claim.length, fcs_bytes, interface.link_type, way)

    def _claim(self, kind: int, body: bytes) -> _Claim:
        if kind == _SIMPLE_PACKET:
            (length,) = struct.unpack_from(self.order + "I", body)
            snap_bytes = self.interfaces[0].snap_bytes if self.interfaces else 0
            return _Claim(0, None, min(length, snap_bytes or length), length, 4)
        form = "5I" if kind == _ENHANCED_PACKET else "HH4I"
        interface, *_drops, high, low, captured, length = struct.unpack_from(self.order + form, body)
        return _Claim(interface, high << 32 | low, captured, length, 20)

    def _flags(self, options: bytes) -> int:
        word = self._options(options).get(_FLAGS, b"") if options else b""
        return int(struct.unpack(self.order + "I", word)[0]) if len(word) == 4 else 0

    def _options(self, content: bytes) -> dict[int, bytes]:
        """The first option of each code; what runs past the block's end counts for nothing."""
        found: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(content):
            code, size = struct.unpack_from(self.order + "HH", content, at)
            if code == _END or at + 4 + size > len(content):
                break
            found.setdefault(code, content[at + 4 : at + 4 + size])
            at += 4 + size + -size % 4
        return found


def _ticks_per_s(resolution: int) -> int:
    return 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution


def pcapng_packets(stream: Stream, kept_bytes: int = KEPT_BYTES) -> Iterator[Packet]:
    """The packets of all sections with their first ``kept_bytes``; Defect where they are not sane."""
    section: _Section | None = None
    others = 0
    while True:
        start = stream.position
        head = stream.read(8)
        if section and not head:
            return
        if len(head) < 8:
            raise _cut_header(stream, start)
        if head[:4] == MAGIC:
            section = _Section(stream, start, head[4:])
        else:
            assert section is not None  # noqa: S101  a file that begins with another block is not read here
            kind, size = struct.unpack(section.order + "II", head)
            body = _body(stream, start, kind, size)
            if stream.read(4) != head[4:]:
                raise _malformed(stream, start)
            if kind == _INTERFACE:
                section.describe(body)
            elif kind in _LEAST_BODY:
                yield section.packet(kind, body, kept_bytes)
                continue
        others += 1
        if others > MAX_OTHER_BLOCKS:
            raise Defect(f"the file has more than {MAX_OTHER_BLOCKS} blocks that hold no packet before it")


def _body(stream: Stream, start: int, kind: int, size: int) -> bytes:
    """A block's body, which is passed over where it holds nothing that is read here."""
    if size > MAX_BLOCK_BYTES:
        raise Defect(f"the block of {size} bytes at byte {start} is longer than {MAX_BLOCK_BYTES}")
    if size < 12 + _LEAST_BODY.get(kind, 0) or size % 4:
        raise Defect(f"the block at byte {start} is malformed: it has {size} bytes")
    if kind in _LEAST_BODY:
        body = stream.read(size - 12)
        if len(body) == size - 12:
            return body
    elif stream.skip(size - 12):
        return b""
    raise cut_short(start)


def _malformed(stream: Stream, start: int) -> Defect:
    """A block whose length is not repeated at its end, or whose end is not there."""
    if not stream.peek(1):
        return cut_short(start)
    return Defect(f"the block at byte {start} is malformed: its length is not repeated at its end")


def _cut_header(stream: Stream, start: int) -> Defect:
    return (
        cut_short(start)
        if start
        else NoCapture(f"its header is cut short after {stream.position} bytes", "record it anew")
    )


def _malformed_header(start: int) -> Defect:
    reason = f"the section header at byte {start} is malformed"
    return Defect(reason) if start else NoCapture(f"its header is malformed: {reason}", "record it anew")
