"""What a packet's bytes are: seed, sequence number and offset give each of them, so any byte can be checked.

The first word names the packet, as a header would, so that a packet found where another is expected can be
told; the rest is noise (a multiplicative hash of seed, sequence and offset).

What a guest sends it writes itself, word by word, so that is cheaper: each 512-byte block begins with a word that
names frame and block, and every word after it is larger than the one before by the same odd number.
"""

from __future__ import annotations

from vfbench.kernels import kernel
from vfbench.machine.memory.guest_memory import BLOCK_BYTES, BLOCKS_SHIFT, CONTENT, SENT
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.machine.oracle.oracle import blocks_of, content

# Odd 64-bit multipliers of splitmix64 and MurmurHash3, as signed words.
_SEED, _SEQUENCE, _OFFSET, _MIX = (
    -0x61C8864680B583EB,
    -0x40A7B892E31B1A47,
    -0x6B2FB644ECCEEE15,
    -0x00AE502812AA7333,
)

FIRST_BYTE = (1 << BLOCKS_SHIFT) - 1
SENT_WORD_STEP = 0x1E3779B97F4A7C15


@kernel
def payload_word(seed: int, sequence: int, index: int) -> int:
    """The eight bytes of packet ``sequence`` at offset ``8 * index``, as a signed little-endian word."""
    if index == 0:
        # The first byte, which a dummy write rewrites, is the number of the block; here it tells packets apart, too.
        return content(sequence, 0) | (sequence & FIRST_BYTE)
    mixed = (seed * _SEED) ^ (sequence * _SEQUENCE) ^ (index * _OFFSET)
    mixed = (mixed ^ (mixed >> 29)) * _MIX
    return mixed ^ (mixed >> 32)


@kernel
def write_payload(address: int, length_bytes: int, seed: int, sequence: int) -> None:
    """DMA of a packet to host address ``address``."""
    words = length_bytes >> 3
    for index in range(words):
        store_word(address, index, payload_word(seed, sequence, index))
    last = payload_word(seed, sequence, words)
    for byte in range(length_bytes & 7):
        store_byte(address + 8 * words, byte, last >> 8 * byte)


@kernel
def holds_payload(address: int, length_bytes: int, seed: int, sequence: int) -> bool:
    """Whether every byte at host address ``address`` is packet ``sequence``'s."""
    words = length_bytes >> 3
    for index in range(words):
        if load_word(address, index) != payload_word(seed, sequence, index):
            return False
    last = payload_word(seed, sequence, words)
    for byte in range(length_bytes & 7):
        if load_byte(address + 8 * words, byte) != (last >> 8 * byte) & 0xFF:
            return False
    return True


@kernel
def holds_words(address: int, length_bytes: int, word: int, step: int) -> bool:
    """Whether every byte at host address ``address`` belongs to words that begin with ``word``, ``step`` apart."""
    words = length_bytes >> 3
    for index in range(words):
        if load_word(address, index) != word:
            return False
        word += step
    for byte in range(length_bytes & 7):
        if load_byte(address + 8 * words, byte) != (word >> 8 * byte) & 0xFF:
            return False
    return True


@kernel
def holds_sent_frame(address: int, length_bytes: int, first: int) -> bool:
    """Whether every byte at host address ``address`` is of the frame that its first word names."""
    if first & (CONTENT | SENT) != CONTENT | SENT:
        return False
    for block in range(blocks_of(length_bytes)):
        begin = block * BLOCK_BYTES
        left = min(BLOCK_BYTES, length_bytes - begin)
        if not holds_words(address + begin, left, first + block, SENT_WORD_STEP):
            return False
    return True
