"""What a frame's bytes are on this testbed: real headers, and a payload in which every word names its packet.

The UDP payload, little-endian: a mark (32 bits), the bytes of its body (16), the bytes of payload that an answer is to
have (16, 0: none), the sequence number (64), and a body of words that only this packet has. ``agent/packets.c`` checks
every byte of it in the guest.
"""

from __future__ import annotations

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word

FCS_BYTES = 4
HEADER_BYTES = 42
"""Ethernet, IPv4 and UDP."""
LEAST_PAYLOAD_BYTES = 16
"""Mark, lengths and sequence number."""

MARK = 0x31424656
BODY_SHIFT, BODY_MASK, ANSWER_SHIFT = 32, 0xFFFF, 48
WORD_STEP = -0x40A7B892E31B1A47
SEQUENCE_STEP = -0x61C8864680B583EB


@kernel
def payload_word(sequence: int, index: int, payload_bytes: int, answer_bytes: int) -> int:
    """Word ``index`` of the payload of packet ``sequence``, as a signed word."""
    if index == 0:
        return MARK | (payload_bytes - LEAST_PAYLOAD_BYTES) << BODY_SHIFT | answer_bytes << ANSWER_SHIFT
    if index == 1:
        return sequence
    return sequence * SEQUENCE_STEP + (index - 2) * WORD_STEP


@kernel
def write_payload(base: int, length_bytes: int, sequence: int, answer_bytes: int) -> None:
    """The payload of ``length_bytes`` of packet ``sequence`` at host address ``base``."""
    words = length_bytes >> 3
    for index in range(words):
        store_word(base, index, payload_word(sequence, index, length_bytes, answer_bytes))
    last = payload_word(sequence, words, length_bytes, answer_bytes)
    for byte in range(length_bytes & 7):
        store_byte(base + 8 * words, byte, last >> 8 * byte)


@kernel
def holds_payload(base: int, length_bytes: int, sequence: int, answer_bytes: int) -> bool:
    """Whether every byte at host address ``base`` is of packet ``sequence``'s payload."""
    words = length_bytes >> 3
    for index in range(words):
        if load_word(base, index) != payload_word(sequence, index, length_bytes, answer_bytes):
            return False
    last = payload_word(sequence, words, length_bytes, answer_bytes)
    for byte in range(length_bytes & 7):
        if load_byte(base + 8 * words, byte) != (last >> 8 * byte) & 0xFF:
            return False
    return True


@kernel
def store_be16(base: int, offset: int, value: int) -> None:
    """A 16-bit word in network order."""
    store_byte(base, offset, value >> 8)
    store_byte(base, offset + 1, value)


@kernel
def load_be16(base: int, offset: int) -> int:
    """Read one."""
    return load_byte(base, offset) << 8 | load_byte(base, offset + 1)


@kernel
def ones_complement_sum(base: int, length_bytes: int) -> int:
    """Sum of ``length_bytes`` (even) as 16-bit words, carries folded in (RFC 1071)."""
    total = 0
    for offset in range(0, length_bytes, 2):
        total += load_be16(base, offset)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


ETHERNET_BYTES = 14
IP_LENGTH, IP_IDENTIFICATION, IP_CHECKSUM, IP_BYTES = 16, 18, 24, 20
UDP_SOURCE_PORT, UDP_LENGTH, UDP_BYTES = 34, 38, 8
FIRST_FLOW_PORT = 10_000
FLOW_PORTS = 50_000


@kernel
def write_frame(
    base: int, headers: int, frame_bytes: int, sequence: int, flow: int, answer_bytes: int
) -> None:
    """A whole frame, FCS included in ``frame_bytes`` but not written, at host address ``base``.

    UDP's checksum is left out (0, RFC 768): the kernel must not find for the guest's program what a real NIC, which
    checks before DMA, could not find either.
    """
    for index in range(HEADER_BYTES >> 3):
        store_word(base, index, load_word(headers, index))
    for byte in range(HEADER_BYTES & ~7, HEADER_BYTES):
        store_byte(base, byte, load_byte(headers, byte))
    length_bytes = max(frame_bytes - FCS_BYTES - HEADER_BYTES, LEAST_PAYLOAD_BYTES)
    store_be16(base, IP_LENGTH, length_bytes + UDP_BYTES + IP_BYTES)
    store_be16(base, IP_IDENTIFICATION, sequence)
    store_be16(base, IP_CHECKSUM, 0)
    store_be16(base, IP_CHECKSUM, ~ones_complement_sum(base + ETHERNET_BYTES, IP_BYTES) & 0xFFFF)
    store_be16(base, UDP_SOURCE_PORT, FIRST_FLOW_PORT + flow % FLOW_PORTS)
    store_be16(base, UDP_LENGTH, length_bytes + UDP_BYTES)
    write_payload(base + HEADER_BYTES, length_bytes, sequence, answer_bytes)
