"""What the guest's program expects in a packet, made on the host: packets.c is the other half."""

from __future__ import annotations

import struct

import numpy as np

MAGIC = 0x31424656
WORD_STEP, SEQUENCE_STEP = 0xBF58476D1CE4E5B9, 0x9E3779B97F4A7C15
HEADER_BYTES = 16
ETHERNET_IP_UDP_BYTES = 14 + 20 + 8
IPV4 = b"\x08\x00"
UDP = 17
GUEST_ADDRESS, PEER_ADDRESS = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 9))
PEER_PORT = 7777
_MASK = (1 << 64) - 1
_FNV_START, _FNV_STEP = 0xCBF29CE484222325, 0x100000001B3


def payload(sequence: int, body_bytes: int) -> bytes:
    """The UDP payload of packet ``sequence``: a header of 16 bytes and a body that only this packet has."""
    words = np.arange(-(-body_bytes // 8), dtype=np.uint64)
    with np.errstate(over="ignore"):
        words = words * np.uint64(WORD_STEP) + np.uint64(sequence * SEQUENCE_STEP & _MASK)
    return struct.pack("<IIQ", MAGIC, body_bytes, sequence) + words.tobytes()[:body_bytes]


def udp_frame(
    destination: bytes,
    source: bytes,
    content: bytes,
    port: int,
    *,
    addresses: tuple[bytes, bytes] = (PEER_ADDRESS, GUEST_ADDRESS),
) -> bytes:
    """An Ethernet frame without FCS with ``content`` to the guest's UDP ``port``; no UDP checksum (RFC 768)."""
    udp_bytes = 8 + len(content)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + udp_bytes, 0, 0, 64, UDP, 0, *addresses)
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    udp = struct.pack(">HHHH", PEER_PORT, port, udp_bytes, 0)
    return destination + source + IPV4 + header + udp + content


def checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def fingerprint(frame: bytes) -> str:
    """A frame's hash as `agent raw` prints it: FNV-1a over 64-bit words, the last one padded with zeros."""
    padded = frame + bytes(-len(frame) % 8)
    found = _FNV_START
    for (word,) in struct.iter_unpack("<Q", padded):
        found = (found ^ word) * _FNV_STEP & _MASK
    return f"{found:016x}"
