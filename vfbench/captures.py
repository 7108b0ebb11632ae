"""Reads a packet capture into arrays: pcap and pcapng, micro- and nanosecond, both byte orders.

scapy takes the files apart; this module decides what is believed. scapy ends quietly at whatever it cannot
read, keeps the interfaces of an earlier pcapng section, reads no `if_tsoffset`, takes a snap length of 0
for no bytes at all, and reads whatever length a block claims. So it is given a stream that refuses absurd
reads and knows when the file ran short, and each record is checked before it counts.

A capture is believed whole or not at all: every defect is a `UserError` that names the file, the packet and
the value. Three things are tolerated: packets up to 100 us behind the latest before them, as several
processors that record at once leave them (sorted by time); blocks of unknown type, which the format asks
readers to skip; and simple packet blocks, which carry no time and take that of the packet before.

Source of the formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; link types:
tcpdump.org/linktypes.html.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from vfbench.errors import UserError

MAX_FILE_BYTES = 4 << 30
MAX_PACKETS = 5_000_000
MAX_BLOCK_BYTES = 1 << 20
MAX_PACKET_BYTES = 262_144
"""libpcap's MAXIMUM_SNAPLEN: no longer packet was ever captured."""
MAX_INTERFACES = 4096
MAX_OTHER_BLOCKS = 1_000_000
MAX_FLOWS = 1 << 18
MAX_STATIONS = 1 << 16
MAX_SPAN_NS = 10**18
MAX_BACKWARDS_NS = 100_000

KEPT_BYTES = 128
"""How much of a packet is looked at: enough for the longest headers up to the ports."""
ETHERNET_HEADER_BYTES = 14

UNKNOWN, INBOUND, OUTBOUND = 0, 1, 2
"""pcapng's direction of a packet (epb_flags, bits 0 and 1)."""

_CACHE_VERSION = 1
_KEPT_IN_CACHE = 16


@dataclass(frozen=True)
class Capture:
    """A capture's packets in order of time; all arrays are of one length, which is at least 1."""

    time_ns: NDArray[np.int64]
    """Since the first packet; never decreasing."""
    length: NDArray[np.int64]
    """Length on the wire, as the Ethernet frame without its FCS would have it."""
    flow: NDArray[np.int64]
    """Number of the packet's flow (5-tuple; less where there are no ports), in order of first appearance."""
    received: NDArray[np.bool_]
    """Whether the port would receive it: see `_received`."""
    link_type: int
    """Of the first packet, by the LINKTYPE_ numbers."""


class _Defect(Exception):
    """Why a capture is not believed; `_parse` adds the file, the packet's number and what would do."""


class _NoCapture(_Defect):
    """The file as a whole is no capture."""


def read_capture(path: str | Path) -> Capture:
    """The capture in `path`, from the cache if the same bytes were read before; UserError for a bad one."""
    path = Path(path)
    with _open(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        cached = user_cache_path("vfbench") / "captures" / f"{digest}-{file.tell()}-v{_CACHE_VERSION}.npz"
        known = _load(cached)
        if known is None:
            file.seek(0)
            known = _parse(file, _shown(path))
            _save(cached, known)
    return known


def _shown(path: Path) -> str:
    return str(path) if str(path).isprintable() else repr(str(path))


def _open(path: Path) -> BufferedReader:
    """Open a regular file of bounded size: a named pipe would block for ever, a device would never end."""
    name = _shown(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"capture {name}: is a directory; give a pcap or pcapng file")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"capture {name}: is no regular file; give a pcap or pcapng file")
        if status.st_size == 0:
            raise UserError(f"capture {name}: is empty; give a pcap or pcapng file with packets")
        if status.st_size > MAX_FILE_BYTES:
            raise UserError(
                f"capture {name}: has {status.st_size} bytes, more than {MAX_FILE_BYTES}; cut it with "
                "`editcap -c 1000000` or shorten its packets with `editcap -s 128`"
            )
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"capture {name}: cannot be read: {reason}; give a pcap or pcapng file") from None


# --- the cache


def _load(cached: Path) -> Capture | None:
    """What an earlier run read from the same bytes; None if there is nothing, or nothing sound."""
    try:
        with np.load(cached, allow_pickle=False) as stored:
            columns = [stored[name] for name in ("time_ns", "length", "flow", "received", "link_type")]
    except Exception:  # noqa: BLE001 - whatever is wrong with a cache, the capture itself is at hand
        return None
    rows, link_type = columns[:4], columns[4]
    kinds = (np.int64, np.int64, np.int64, np.bool_)
    sound = all(
        row.dtype == kind and row.shape == rows[0].shape for row, kind in zip(rows, kinds, strict=True)
    )
    if not sound or rows[0].ndim != 1 or not rows[0].size or link_type.shape != ():
        return None
    return Capture(rows[0], rows[1], rows[2], rows[3], int(link_type))


def _save(cached: Path, capture: Capture) -> None:
    """Keep the arrays for the next run: whole or not at all, and not at all where nothing may be written."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cached.parent, prefix=".reading-")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **vars(capture))
            os.replace(temporary, cached)
        except BaseException:
            os.unlink(temporary)
            raise
        by_age = sorted(cached.parent.glob("*.npz"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-_KEPT_IN_CACHE]:
            old.unlink(missing_ok=True)
    except OSError:
        return


# --- taking the file apart


class _Stream:
    """The file as scapy sees it: no absurd reads, and it tells whether the last one came back short."""

    def __init__(self, file: BufferedReader) -> None:
        self._read = file.read
        self.name = "capture"
        self.position = 0
        self.short = False

    def read(self, size: int) -> bytes:
        if size > MAX_BLOCK_BYTES:
            raise _Defect(f"block of {size} bytes near byte {self.position} is longer than {MAX_BLOCK_BYTES}")
        data = self._read(size)
        self.position += len(data)
        self.short = len(data) < size
        return data

    def close(self) -> None:
        """The file is its opener's to close."""


Record = tuple[bytes, int | None, int, int, int, int, int]
"""A packet: kept bytes, time in ns (None: unknown), captured and original length, FCS bytes, link, way."""


def _parse(file: BufferedReader, name: str) -> Capture:
    packets = _Packets()
    stream = _Stream(file)
    try:
        magic = stream.read(4)
        records = _records(stream, magic)
        for record in records:
            packets.add(*record)
        if not packets.time_ns:
            raise UserError(f"capture {name}: has no packets; there is nothing to replay")
        return packets.finished()
    except _NoCapture as defect:
        raise UserError(f"capture {name}: {defect}; give a pcap or pcapng file") from None
    except _Defect as defect:
        raise UserError(
            f"capture {name}: packet {len(packets.time_ns) + 1}: {defect}{packets.remedy(defect)}"
        ) from None
    except OSError as error:
        raise UserError(f"capture {name}: cannot be read: {error.strerror}") from None


def _records(stream: _Stream, magic: bytes) -> Iterator[Record]:
    if magic == b"\n\r\r\n":
        return _pcapng_records(stream, magic)
    if magic in (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1"):
        return _pcap_records(stream, magic)
    packed = " (gzip: unpack it first)" if magic[:2] == b"\x1f\x8b" else ""
    raise _NoCapture(f"is no pcap or pcapng capture: it begins with {magic.hex(' ')}{packed}")


def _constructed(reader: Any, stream: _Stream, magic: bytes) -> Any:
    """A scapy reader over our stream: its metaclass would open files itself, gzip and all."""
    from scapy.error import Scapy_Exception, log_runtime

    log_runtime.disabled = True  # its warnings repeat what is reported here
    instance = reader.__new__(reader)
    try:
        instance.__init__("capture", stream, magic)
    except (Scapy_Exception, EOFError, struct.error):
        state = "cut short" if stream.short else "malformed"
        raise _NoCapture(f"its header is {state} after {stream.position} bytes") from None
    return instance


def _pcap_records(stream: _Stream, magic: bytes) -> Iterator[Record]:
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
            raise _Defect(f"its time has {seen.usec} fractions of a second, of which there are {ticks_per_s}")
        _check_captured(seen.caplen, snap_length)
        if stream.short:
            raise _cut_short(start)
        time_ns = seen.sec * 10**9 + seen.usec * (10**9 // ticks_per_s)
        yield data, time_ns, seen.caplen, seen.wirelen, fcs_bytes, link_type, UNKNOWN


def _cut_short(start: int) -> _Defect:
    return _Defect(
        f"the file ends within the record that begins at byte {start}; `editcap IN OUT` leaves it out"
    )


def _check_captured(captured: int, snap_length: int) -> None:
    """A snap length of 0 means no limit."""
    limit = min(snap_length or MAX_PACKET_BYTES, MAX_PACKET_BYTES)
    if captured > limit:
        raise _Defect(f"its captured length {captured} is beyond the snap length {limit}")


def _pcapng_reader() -> Any:
    """scapy's pcapng reader, made strict; built here because importing scapy takes half a second."""
    from scapy.utils import RawPcapNgReader

    class StrictReader(RawPcapNgReader):
        """scapy walks the blocks and their options; what they say of packets is checked here."""

        def __init__(self, name: str, stream: Any, magic: bytes) -> None:
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
                raise _Defect(f"the file describes more than {MAX_INTERFACES} interfaces before it")
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
                raise _Defect(f"its interface {interface} is not described; there are {len(self.interfaces)}")
            link_type, snap_length, _options = self.interfaces[interface]
            _check_captured(captured, snap_length)
            if captured > len(body):
                raise _Defect(f"its captured length {captured} is beyond the {len(body)} bytes of its block")
            ticks_per_s, offset_ns = self.clocks[interface]
            time_ns = None if ticks is None else ticks * 10**9 // ticks_per_s + offset_ns
            fcs_bytes = flags >> 5 & 15 or self.fcs_bytes[interface]
            way = flags & 3 if flags & 3 != 3 else UNKNOWN
            return body[: min(size, captured)], time_ns, captured, length, fcs_bytes, link_type, way

    return StrictReader


def _pcapng_records(stream: _Stream, magic: bytes) -> Iterator[Record]:
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
                _cut_short(start) if stream.short else _Defect(f"the block at byte {start} is malformed")
            ) from None
        if record is not None:
            yield record
            continue
        other_blocks += 1
        if other_blocks > MAX_OTHER_BLOCKS:
            raise _Defect(f"the file has more than {MAX_OTHER_BLOCKS} blocks that hold no packet before it")


# --- what a packet tells


@dataclass(frozen=True)
class _Link:
    """A link type: its header's length, and where in it the ethertype stands (None: the IP version tells)."""

    header_bytes: int
    ethertype_at: int | None
    has_addresses: bool = False


_LINKS = {
    0: _Link(4, None),  # BSD loopback
    1: _Link(ETHERNET_HEADER_BYTES, 12, has_addresses=True),
    12: _Link(0, None),  # raw IP
    14: _Link(0, None),
    101: _Link(0, None),
    108: _Link(4, None),
    113: _Link(16, 14),  # Linux cooked: what `tcpdump -i any` writes
    228: _Link(0, None),
    229: _Link(0, None),
    276: _Link(20, 0),  # Linux cooked, version 2
}
_LINUX_OUTGOING = 4
_VLAN_TAGS = (0x8100, 0x88A8)
_IPV4, _IPV6 = 0x0800, 0x86DD
_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP


class _Packets:
    """The columns of a capture while it is read."""

    def __init__(self) -> None:
        self.time_ns = array("q")
        self._length = array("q")
        self._flow = array("i")
        self._pair = array("i")
        self._direction = array("b")
        self._flows: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._bytes_to: dict[bytes, int] = {}
        self._link_type = -1
        self._first_ns = 0
        self._latest_ns = 0

    def add(
        self,
        data: bytes,
        time_ns: int | None,
        captured: int,
        length: int,
        fcs_bytes: int,
        link_type: int,
        way: int,
    ) -> None:
        link = _LINKS.get(link_type)
        if link is None:
            raise _Defect(
                f"its link type {link_type} is not Ethernet (1), Linux cooked (113, 276) or raw IP (101)"
            )
        if length > MAX_PACKET_BYTES:
            raise _Defect(f"its length {length} is more than {MAX_PACKET_BYTES} bytes")
        if captured > length:
            raise _Defect(f"its captured length {captured} is more than its length {length}")
        if len(self.time_ns) == MAX_PACKETS:
            raise _Defect(
                f"there are more than {MAX_PACKETS} packets; cut the file with `editcap -c {MAX_PACKETS}`"
            )
        self._add_time(time_ns)
        self._length.append(max(1, length - fcs_bytes - link.header_bytes + ETHERNET_HEADER_BYTES))
        self._flow.append(self._flow_number(_flow_key(data, link)))
        self._pair.append(self._station_pair(data, length) if link.has_addresses else -1)
        self._direction.append(_linux_direction(data, link_type) if way == UNKNOWN else way)
        if self._link_type < 0:
            self._link_type = link_type

    def remedy(self, defect: _Defect) -> str:
        """What would do, where the defect does not say so itself."""
        if "`" in str(defect):
            return ""
        good = len(self.time_ns)
        return f"; `editcap -r IN OUT 1-{good}` keeps the packets before it" if good else "; record it anew"

    def _add_time(self, time_ns: int | None) -> None:
        if not self.time_ns:
            self._first_ns = time_ns or 0
        since_ns = self._latest_ns if time_ns is None else time_ns - self._first_ns
        if since_ns < self._latest_ns - MAX_BACKWARDS_NS:
            raise _Defect(
                f"its time is {self._latest_ns - since_ns} ns before that of a packet before it, more than "
                f"{MAX_BACKWARDS_NS}; `reordercap IN OUT` sorts a capture"
            )
        if since_ns > MAX_SPAN_NS:
            raise _Defect(
                f"its time is {since_ns // 10**9} s after the first packet's; no capture lasts so long"
            )
        self._latest_ns = max(self._latest_ns, since_ns)
        self.time_ns.append(since_ns)

    def _flow_number(self, key: bytes) -> int:
        """By first appearance; past a quarter of a million flows, further ones share numbers."""
        number = self._flows.get(key)
        if number is None:
            number = len(self._flows)
            if number == MAX_FLOWS:
                return zlib.crc32(key) % MAX_FLOWS
            self._flows[key] = number
        return number

    def _station_pair(self, data: bytes, length: int) -> int:
        """Number of the pair of MAC addresses; -1 if there are none, or too many."""
        pair = data[:12]
        number = self._pairs.get(pair)
        if number is None:
            number = len(self._pairs)
            if number == MAX_STATIONS or len(pair) < 12:
                return -1
            self._pairs[pair] = number
        if not pair[0] & 1:
            self._bytes_to[pair[:6]] = self._bytes_to.get(pair[:6], 0) + length
        return number

    def finished(self) -> Capture:
        time_ns = np.array(self.time_ns, dtype=np.int64)
        order = np.argsort(time_ns, kind="stable")
        return Capture(
            time_ns=time_ns[order] - time_ns[order[0]],
            length=np.array(self._length, dtype=np.int64)[order],
            flow=np.array(self._flow, dtype=np.int64)[order],
            received=self._received()[order],
            link_type=self._link_type,
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


def _linux_direction(data: bytes, link_type: int) -> int:
    """Linux's cooked headers hold a packet type: 4 was sent by us."""
    if link_type == 113 and len(data) >= 2:
        return OUTBOUND if data[1] == _LINUX_OUTGOING else INBOUND
    if link_type == 276 and len(data) >= 11:
        return OUTBOUND if data[10] == _LINUX_OUTGOING else INBOUND
    return UNKNOWN


def _flow_key(data: bytes, link: _Link) -> bytes:
    """What tells flows apart: addresses, protocol and ports; only what was captured of them."""
    at = link.header_bytes
    if link.ethertype_at is None:
        kind = {4: _IPV4, 6: _IPV6}.get(data[at] >> 4 if len(data) > at else 0, 0)
    else:
        kind = int.from_bytes(data[link.ethertype_at : link.ethertype_at + 2], "big")
        while kind in _VLAN_TAGS and at + 4 <= len(data):
            kind = int.from_bytes(data[at + 2 : at + 4], "big")
            at += 4
    find: Callable[[bytes, int], bytes] | None = {_IPV4: _ipv4_key, _IPV6: _ipv6_key}.get(kind)
    return find(data, at) if find and len(data) > at else kind.to_bytes(2, "big")


def _ipv4_key(data: bytes, at: int) -> bytes:
    protocol, addresses = data[at + 9 : at + 10], data[at + 12 : at + 20]
    is_fragment = int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF
    ports_at = at + 4 * (data[at] & 15)
    if is_fragment or not protocol or protocol[0] not in _WITH_PORTS:
        return addresses + protocol
    return addresses + protocol + data[ports_at : ports_at + 4]


def _ipv6_key(data: bytes, at: int) -> bytes:
    """Behind extension headers no ports are looked for, as in the 82599 (datasheet 7.1.2.8)."""
    protocol, addresses = data[at + 6 : at + 7], data[at + 8 : at + 40]
    if not protocol or protocol[0] not in _WITH_PORTS:
        return addresses + protocol
    return addresses + protocol + data[at + 40 : at + 44]
