"""A capture's frames as they are, on their way to the guest: only addresses are rewritten, and checksums to fit.

The source MAC address says which frame it is: 02, then 40 bits of sequence number. So each is known again, though a
replay repeats its frames. Every other byte is the capture's own, and its hash is known to the guest's program.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from vfbench.errors import UserError
from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word

GUEST_MAC, PEER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")
GUEST_IP, PEER_IP = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
IPV4, VLAN_TAGS = 0x0800, (0x8100, 0x88A8)
TCP, UDP = 6, 17
CHECKSUM_AT = {TCP: 16, UDP: 6}
FRAGMENT_MASK = 0x1FFF
MACS_BYTES, SOURCE_AT, SEQUENCE_BYTES = 12, 6, 5
MOST_FRAMES = 1 << 20
"""The guest's program keeps 8 bytes of each."""
FNV_START, FNV_STEP = 0xCBF29CE484222325 - (1 << 64), 0x100000001B3


def addressed(frame: bytes) -> bytes:
    """``frame`` from the peer to the guest: MAC addresses, and of IPv4 both addresses, checksums updated (RFC 1624)."""
    found = bytearray(frame)
    found[:MACS_BYTES] = GUEST_MAC + PEER_MAC
    at = MACS_BYTES
    while int.from_bytes(found[at : at + 2], "big") in VLAN_TAGS:
        at += 4
    if int.from_bytes(found[at : at + 2], "big") != IPV4 or len(found) < at + 22:
        return bytes(found)
    ip = at + 2
    before = bytes(found[ip + 12 : ip + 20])
    found[ip + 12 : ip + 20] = PEER_IP + GUEST_IP
    _update(found, ip + 10, before, PEER_IP + GUEST_IP)
    protocol, fragment = found[ip + 9], int.from_bytes(found[ip + 6 : ip + 8], "big") & FRAGMENT_MASK
    if protocol in CHECKSUM_AT and fragment == 0:
        place = ip + 4 * (found[ip] & 0xF) + CHECKSUM_AT[protocol]
        # A UDP checksum of 0 is none.
        if place + 2 <= len(found) and (protocol == TCP or any(found[place : place + 2])):
            _update(found, place, before, PEER_IP + GUEST_IP)
    return bytes(found)


def _update(found: bytearray, at: int, before: bytes, after: bytes) -> None:
    total = ~int.from_bytes(found[at : at + 2], "big") & 0xFFFF
    total += sum(~word & 0xFFFF for word in struct.unpack(f">{len(before) // 2}H", before))
    total += sum(struct.unpack(f">{len(after) // 2}H", after))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    found[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")


class Contents:
    """The frames of one round in one array; ``table`` has offset and length of each, ``hashes`` what the guest checks.

    UserError for more frames than the guest's program keeps.
    """

    def __init__(self, frames: Sequence[bytes]) -> None:
        if len(frames) > MOST_FRAMES:
            raise UserError(
                f"the capture has {len(frames)} frames, and the guest's program knows {MOST_FRAMES} at most; "
                f"`editcap -r IN OUT 1-{MOST_FRAMES}` keeps these"
            )
        lengths = np.array([len(frame) for frame in frames], dtype=np.int64)
        # A hash reads whole words, so each begins at one and is followed by zeros.
        begins = np.concatenate([[0], np.cumsum((lengths + 15) & ~7)])
        self.store = np.zeros(int(begins[-1]) + 8, dtype=np.uint8)
        for begin, frame in zip(begins, frames, strict=False):
            self.store[begin : begin + len(frame)] = np.frombuffer(addressed(frame), dtype=np.uint8)
        self.table = np.stack([begins[:-1], lengths], axis=1)
        self.hashes = np.zeros(len(frames), dtype=np.int64)
        hash_frames(self.store.ctypes.data, self.table.ctypes.data, len(frames), self.hashes.ctypes.data)

    def give_to(self, device: Any) -> None:
        """The device's record sends these from now on."""
        device.contents, device.contents_table = self.store.ctypes.data, self.table.ctypes.data
        device.contents_frames = len(self.table)


@kernel
def hash_of(base: int, length_bytes: int) -> int:
    """FNV-1a over 64-bit words, the last one padded with zeros, as the guest's program has it."""
    found = FNV_START
    words = length_bytes >> 3
    for index in range(words):
        found = (found ^ load_word(base, index)) * FNV_STEP
    rest = 0
    for byte in range(length_bytes & 7):
        rest |= load_byte(base + 8 * words, byte) << 8 * byte
    if length_bytes & 7:
        found = (found ^ rest) * FNV_STEP
    return found


@kernel
def hash_frames(store: int, table: int, count: int, hashes: int) -> None:
    """Of each frame what follows its MAC addresses."""
    for index in range(count):
        base, length = store + load_word(table, 2 * index), load_word(table, 2 * index + 1)
        store_word(hashes, index, hash_of(base + MACS_BYTES, length - MACS_BYTES))


@kernel
def write_captured(device: Any, base: int, sequence: int) -> None:
    """Frame ``sequence`` of the replay at host address ``base``."""
    index = sequence % device.contents_frames
    source = device.contents + load_word(device.contents_table, 2 * index)
    length = load_word(device.contents_table, 2 * index + 1)
    for word in range(length >> 3):
        store_word(base, word, load_word(source, word))
    for byte in range(length & ~7, length):
        store_byte(base, byte, load_byte(source, byte))
    for byte in range(SEQUENCE_BYTES):
        store_byte(base, SOURCE_AT + 1 + byte, sequence >> 8 * (SEQUENCE_BYTES - 1 - byte))
