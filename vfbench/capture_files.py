"""Takes pcap and pcapng files apart with scapy, and believes no record that is not sane.

scapy ends quietly at whatever it cannot read, keeps the interfaces of an earlier pcapng section, reads no
`if_tsoffset`, takes a snap length of 0 for no bytes at all, and reads whatever length a block claims. So it
is given a stream that refuses absurd reads and knows when the file ran short, and each record is checked
before it counts.

Source of the formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from vfbench.capture_headers import UNKNOWN

MAX_BLOCK_BYTES = 1 << 20
MAX_PACKET_BYTES = 262_144
"""libpcap's MAXIMUM_SNAPLEN: no longer packet was ever captured."""
MAX_INTERFACES = 4096
MAX_OTHER_BLOCKS = 1_000_000

KEPT_BYTES = 128
"""How much of a packet is looked at: enough for the longest headers up to the ports."""

Record = tuple[bytes, int | None, int, int, int, int, int]
"""A packet: kept bytes, time in ns (None: unknown), captured and original length, FCS bytes, link, way."""


class Defect(Exception):  # noqa: N818 - it is of the file, not of the program
    """Why a capture is not believed; the reader adds the file, the packet's number and what would do."""


class NoCapture(Defect):
    """The file as a whole is no capture."""


class Stream:
    """The file as scapy sees it: no absurd reads, and it tells whether the last one came back short."""

    def __init__(self, file: BufferedReader) -> None:
        self._read = file.read
        self.name = "capture"
        self.position = 0
        self.short = False

    def read(self, size: int) -> bytes:
        if size > MAX_BLOCK_BYTES:
            raise Defect(f"block of {size} bytes near byte {self.position} is longer than {MAX_BLOCK_BYTES}")
        data = self._read(size)
        self.position += len(data)
        self.short = len(data) < size
        return data

    def close(self) -> None:
        """The file is its opener's to close."""


def records(stream: Stream, magic: bytes) -> Iterator[Record]:
    """The packets of a capture whose first four bytes are ``magic``; Defect where they are not sane."""
    if magic == b"\n\r\r\n":
        return _pcapng_records(stream, magic)
    if magic in (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1"):
        return _pcap_records(stream, magic)
    packed = " (gzip: unpack it first)" if magic[:2] == b"\x1f\x8b" else ""
    raise NoCapture(f"is no pcap or pcapng capture: it begins with {magic.hex(' ')}{packed}")


def _constructed(reader: Any, stream: Stream, magic: bytes) -> Any:
    """A scapy reader over our stream: its metaclass would open files itself, gzip and all."""
    from scapy.error import Scapy_Exception, log_runtime

    log_runtime.disabled = True  # its warnings repeat what is reported here
    instance = reader.__new__(reader)
    try:
        instance.__init__("capture", stream, magic)
    except (Scapy_Exception, EOFError, struct.error):
        state = "cut short" if stream.short else "malformed"
        raise NoCapture(f"its header is {state} after {stream.position} bytes") from None
    return instance


def _pcap_records(stream: Stream, magic: bytes) -> Iterator[Record]:
    from scapy.utils import RawPcapReader

    reader = _constructed(RawPcapReader, stream, magic)
    link_type, snap_length = reader.linktype & 0x03FF_FFFF, reader.snaplen
    fcs_bytes = 2 * (reader.linktype >> 28) if reader.linktype & 0x0400_0000 else 0
    ticks_per_s = 10**9 if reader.nano else 10**6
    while True:
        start = stream.position
        try:
            data, seen = reader._read_packet(KEPT_BYTES)
        except EOFError:
            if stream.position == start:
                return
            raise _cut_short(start) from None
        if seen.usec >= ticks_per_s:
            raise Defect(f"its time has {seen.usec} fractions of a second, of which there are {ticks_per_s}")
        _check_captured(seen.caplen, snap_length)
        if stream.short:
            raise _cut_short(start)
        time_ns = seen.sec * 10**9 + seen.usec * (10**9 // ticks_per_s)
        yield data, time_ns, seen.caplen, seen.wirelen, fcs_bytes, link_type, UNKNOWN


def _cut_short(start: int) -> Defect:
    return Defect(
        f"the file ends within the record that begins at byte {start}; `editcap IN OUT` leaves it out"
    )


def _check_captured(captured: int, snap_length: int) -> None:
    """A snap length of 0 means no limit."""
    limit = min(snap_length or MAX_PACKET_BYTES, MAX_PACKET_BYTES)
    if captured > limit:
        raise Defect(f"its captured length {captured} is beyond the snap length {limit}")


def _pcapng_reader() -> Any:  # noqa: C901 - the methods of its class are counted together
    """scapy's pcapng reader, made strict; built here because importing scapy takes half a second."""
    from scapy.utils import RawPcapNgReader

    class StrictReader(RawPcapNgReader):  # type: ignore[misc]  # scapy is not typed for us
        """scapy walks the blocks and their options; what they say of packets is checked here."""

        def __init__(self, name: str, stream: Any, magic: bytes) -> None:
            self.interfaces: list[Any] = []
            self.clocks: list[tuple[int, int]] = []
            self.fcs_bytes: list[int] = []
            super().__init__(name, stream, magic)
            # No secrets, no processes: scapy would change state of its own for them.
            self.blocktypes: Any = {
                1: self._read_block_idb,
                2: self._old_packet,
                3: self._simple_packet,
                6: self._enhanced_packet,
            }

        def _read_block_shb(self) -> None:
            """Interface numbers begin anew with each section."""
            super()._read_block_shb()
            self.interfaces, self.clocks, self.fcs_bytes = [], [], []

        def _read_block_idb(self, block: bytes, size: int) -> None:
            if len(self.interfaces) >= MAX_INTERFACES:
                raise Defect(f"the file describes more than {MAX_INTERFACES} interfaces before it")
            super()._read_block_idb(block, size)
            options: Any = self._read_options(block[8:])
            offset, fcs = options.get(14, b""), options.get(13, b"")
            offset_s = struct.unpack(self.endian + "q", offset)[0] if len(offset) == 8 else 0
            self.clocks.append((self.interfaces[-1][2]["tsresol"], offset_s * 10**9))
            self.fcs_bytes.append(
                4 if fcs in (b"\x04", b"\x20") else 0
            )  # written in bytes or, as asked, bits

        def _enhanced_packet(self, block: bytes, size: int) -> Record:
            interface, high, low, captured, length = struct.unpack_from(self.endian + "5I", block)
            flags = self._flags(block[20 + captured + -captured % 4 :])
            return self._record(block[20:], size, interface, high << 32 | low, captured, length, flags)

        def _old_packet(self, block: bytes, size: int) -> Record:
            interface, _drops, high, low, captured, length = struct.unpack_from(self.endian + "HH4I", block)
            return self._record(block[20:], size, interface, high << 32 | low, captured, length, 0)

        def _simple_packet(self, block: bytes, size: int) -> Record:
            """Its captured length is the lesser of original and snap length."""
            (length,) = struct.unpack_from(self.endian + "I", block)
            snap_length = self.interfaces[0][1] if self.interfaces else 0
            return self._record(block[4:], size, 0, None, min(length, snap_length or length), length, 0)

        def _flags(self, options: bytes) -> int:
            word: Any = self._read_options(options).get(2, b"") if options else b""
            return int(struct.unpack(self.endian + "I", word)[0]) if len(word) == 4 else 0

        def _record(
            self,
            body: bytes,
            size: int,
            interface: int,
            ticks: int | None,
            captured: int,
            length: int,
            flags: int,
        ) -> Record:
            if interface >= len(self.interfaces):
                raise Defect(f"its interface {interface} is not described; there are {len(self.interfaces)}")
            link_type, snap_length, _options = self.interfaces[interface]
            _check_captured(captured, snap_length)
            if captured > len(body):
                raise Defect(f"its captured length {captured} is beyond the {len(body)} bytes of its block")
            ticks_per_s, offset_ns = self.clocks[interface]
            time_ns = None if ticks is None else ticks * 10**9 // ticks_per_s + offset_ns
            fcs_bytes = flags >> 5 & 15 or self.fcs_bytes[interface]
            way = flags & 3 if flags & 3 != 3 else UNKNOWN
            return body[: min(size, captured)], time_ns, captured, length, fcs_bytes, link_type, way

    return StrictReader


def _pcapng_records(stream: Stream, magic: bytes) -> Iterator[Record]:
    from scapy.error import Scapy_Exception

    reader = _constructed(_pcapng_reader(), stream, magic)
    other_blocks = 0
    while True:
        start = stream.position
        try:
            record = reader._read_block(KEPT_BYTES)
        except (EOFError, struct.error, Scapy_Exception):
            if stream.position == start:
                return
            raise (
                _cut_short(start) if stream.short else Defect(f"the block at byte {start} is malformed")
            ) from None
        if record is not None:
            yield record
            continue
        other_blocks += 1
        if other_blocks > MAX_OTHER_BLOCKS:
            raise Defect(f"the file has more than {MAX_OTHER_BLOCKS} blocks that hold no packet before it")
