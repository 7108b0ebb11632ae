"""What a file is that is neither pcap nor pcapng, by its first bytes, and what would do.

Sources: the readers of Wireshark's wiretap, whose names for the formats are used; ERF: Endace's record format.
"""

from __future__ import annotations

import struct
from itertools import pairwise

from vfbench.captures.compressed import compression
from vfbench.captures.defects import CONVERT, NoCapture

HEAD_BYTES = 4096
_ERF_RECORDS = 8
_LAST_ERF_TYPE = 48
_ERF_BEGAN_S = 800_000_000
"""1995: no DAG card is older."""

_CONVERTED = (
    (b"snoop\0\0\0", "Sun snoop"),
    (b"btsnoop\0", "btsnoop (Bluetooth)"),
    (b"GMBU", "Microsoft Network Monitor 2"),
    (b"RTSS", "Microsoft Network Monitor 1"),
    (b"\0\0\2\0\x12\5\0\x10", "Tektronix K12xx (rf5)"),
    (b"+---------+---------------+----------+", "Tektronix K12xx text"),
    (b"TRSNIFF data    \x1a", "Sniffer (DOS)"),
    (b"XCP\0", "Sniffer (Windows)"),
    (b"VL\0\0", "NetXRay"),
    (b"\x7fver", "WildPackets EtherPeek or OmniPeek"),
    (b"iptrace ", "AIX iptrace"),
    (b"T\x52\0d\0", "HP-UX nettl"),
    (b"\0\0\0\1\0\0\0\0\0\7\xd0\0", "HP-UX nettl"),
    (b"\5VNF", "Visual Networks"),
    (b"\xaa\xaa\xaa\xaa", "Accellent 5Views"),
    (b"ObserverPktBufferVersion=", "Network Instruments Observer"),
    (b"\1\x10", "Novell LANalyzer"),
    (b"\x1c\0\1\xac", "Ixia lcap"),
    (b"\x1c\0\1\xab", "Ixia lcap"),
    (b"\xac\1\0\x1c", "Ixia lcap"),
    (b"\xab\1\0\x1c", "Ixia lcap"),
)
_UNPACKED = (
    (b"PK\3\4", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\7", "a RAR archive"),
    (b"\x1f\x9d", "compressed with `compress`"),
    (b"LZIP", "compressed with lzip"),
    (b"\x02\x21\x4c\x18", "in LZ4's legacy format"),
    (b"\x5d\0\0", "in the old lzma format"),
)


def refused(head: bytes, packed: str) -> NoCapture:
    """The error for a file that begins with ``head`` and was compressed with ``packed``."""
    within = f" within {packed}" if packed else ""
    again = compression(head)
    if again:
        return NoCapture(f"is compressed twice: {again}{within}", "unpack it once")
    for start, name in _UNPACKED:
        if head.startswith(start):
            return NoCapture(f"is {name}{within}", "unpack it first")
    if head[257:262] == b"ustar":
        return NoCapture(f"is a tar archive{within}", "unpack it first")
    for start, name in _CONVERTED:
        if head.startswith(start):
            return NoCapture(f"is a capture in the format of {name}{within}, not pcap or pcapng", CONVERT)
    if _is_commview(head, "<HHxH4B") or _is_commview(head, "<IH4B"):
        return NoCapture(
            f"is a capture in the format of TamoSoft CommView{within}, not pcap or pcapng", CONVERT
        )
    if _is_erf(head):
        return NoCapture(f"is a capture in Endace's ERF{within}, not pcap or pcapng", CONVERT)
    return NoCapture(
        f"is no pcap or pcapng capture: it begins with {head[:4].hex(' ')}{within}",
        "give a pcap or pcapng file",
    )


def _is_commview(head: bytes, form: str) -> bool:
    """A packet's length (twice in NCF), then its date, for which there is no magic number either."""
    if len(head) < struct.calcsize(form):
        return False
    year, month, day, hour, minute = struct.unpack_from(form, head)[-5:]
    return 1995 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60


def _is_erf(head: bytes) -> bool:
    """ERF has no magic number: records follow one another, and their times ascend."""
    at = 0
    times: list[int] = []
    while at + 16 <= len(head) and len(times) < _ERF_RECORDS:
        (time,) = struct.unpack_from("<Q", head, at)
        kind, _flags, length, _lost, wire_bytes = struct.unpack_from(">BBHHH", head, at + 8)
        if (
            not 1 <= kind & 0x7F <= _LAST_ERF_TYPE
            or length < 16
            or wire_bytes > 1 << 15
            or time >> 32 < _ERF_BEGAN_S
        ):
            return False
        times.append(time)
        at += length
    return len(times) > 1 and all(first <= second for first, second in pairwise(times))
