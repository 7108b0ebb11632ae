"""Captures byte by byte: what each format looks like, right or wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from vfbench.captures import Capture, read_capture
from vfbench.errors import UserError

SHIPPED = Path(__file__).parents[2] / "workloads" / "captures" / "veth-mixed.pcap"
Packet = tuple[int, bytes, int]
"""Time in ns, captured bytes, length on the wire."""


def frame(pair: int = 1000, to: int = 1, by: int = 2, kind: int = 0x0800) -> bytes:
    """An Ethernet frame with a UDP packet."""
    ethernet = bytes([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, by]) + kind.to_bytes(2, "big")
    ip = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2])
    return ethernet + ip + struct.pack(">HHHH", pair, 53, 8, 0)


PACKETS: list[Packet] = [
    (1_700_000_000_000_001_000, frame(1000), 60),
    (1_700_000_000_000_005_000, frame(1001), 1514),
    (1_700_000_001_000_000_000, frame(1000), 42),
]


def pcap(
    packets: list[Packet], order: str = "<", nano: bool = False, snap: int = 262144, link: int = 1
) -> bytes:
    magic, per_s = (0xA1B23C4D, 10**9) if nano else (0xA1B2C3D4, 10**6)
    out = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, snap, link)
    for time_ns, data, length in packets:
        fraction = time_ns % 10**9 * per_s // 10**9
        out += struct.pack(order + "IIII", time_ns // 10**9, fraction, len(data), length) + data
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    padded = body + bytes(-len(body) % 4)
    size = len(padded) + 12
    return struct.pack(order + "II", kind, size) + padded + struct.pack(order + "I", size)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(options: bytes = b"", order: str = "<", snap: int = 0, link: int = 1) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(
    ticks: int, data: bytes, length: int, order: str = "<", number: int = 0, options: bytes = b""
) -> bytes:
    head = struct.pack(order + "5I", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def pcapng(packets: list[Packet], order: str = "<", resolution: int = 9) -> bytes:
    out = section(order) + interface(option(9, bytes([resolution]), order), order)
    for time_ns, data, length in packets:
        out += enhanced(time_ns * 10**resolution // 10**9, data, length, order)
    return out


def read(tmp_path: Path, content: bytes) -> Capture:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    return read_capture(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    """The one line with which a capture is refused."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"capture {tmp_path / 'a.pcap'}: ")
    assert "\n" not in message
    return message


def modified(
    packets: list[Packet], record_bytes: int = 24, magic: int = 0xA1B2CD34, outgoing: bool = False
) -> bytes:
    """Savefiles of Kuznetsov's patches and of Nokia, whose records have longer headers."""
    more = struct.pack("<IHBB", 2, 0x0800, 4 if outgoing else 0, 0) if record_bytes >= 24 else b""
    more += bytes(record_bytes - 16 - len(more))
    out = struct.pack("<IHHIIII", magic, 2, 4, 0, 0, 262144, 1)
    for time_ns, data, length in packets:
        out += (
            struct.pack("<IIII", time_ns // 10**9, time_ns % 10**9 // 1000, len(data), length) + more + data
        )
    return out


def simple(data: bytes, length: int | None = None) -> bytes:
    return block(3, struct.pack("<I", len(data) if length is None else length) + data)


SECOND = 10**9
STEADY: list[Packet] = [(1_700_000_000 * SECOND + i * 100_000, frame(1000 + i % 7), 100) for i in range(20)]
