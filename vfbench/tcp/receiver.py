"""The receiving end of a TCP stream, in segments: in order, or kept behind a gap, and acknowledged.

State is a row of words at ``base``: the columns below, then a word for each segment of the window, in a ring: whether
it has arrived behind a gap. Every second segment is acknowledged (RFC 1122, 4.2.3.2), at once where one is out of
order, where a gap closes, or where the sender has no more to send for now (PSH).
"""

from __future__ import annotations

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word, store_word
from vfbench.tcp.sender import ring_of

EXPECTED, UNANSWERED, ACK_EVERY, RECEIVER_MASK, RECEIVER_COLUMNS = range(5)
"""The next segment in order; how many came since the last ack; how many are acknowledged together; the ring's mask."""

SACK_FROM_SHIFT, SACK_COUNT_SHIFT, SACK_MASK = 30, 46, 0xFFFF
ACKED_MASK = (1 << SACK_FROM_SHIFT) - 1
"""An ack in one word: all before which segment; how far behind it others begin, and how many these are."""


def receiver_words(window: int) -> int:
    """Words of one receiver whose window is so many segments."""
    return int(RECEIVER_COLUMNS) + ring_of(window)


def receiver_start_values(window: int, ack_every: int) -> list[int]:
    """What a receiver's words are before anything comes."""
    values = [0] * receiver_words(window)
    values[ACK_EVERY], values[RECEIVER_MASK] = ack_every, ring_of(window) - 1
    return values


@kernel
def take_segments(base: int, first: int, count: int, pushed: bool) -> bool:
    """``count`` segments from ``first`` came; whether they are to be acknowledged now."""
    expected, mask = load_word(base, EXPECTED), load_word(base, RECEIVER_MASK)
    at_once = pushed or first != expected
    for sequence in range(max(first, expected), min(first + count, expected + mask + 1)):
        store_word(base, RECEIVER_COLUMNS + (sequence & mask), 1)
    after = expected
    while load_word(base, RECEIVER_COLUMNS + (after & mask)) != 0:
        store_word(base, RECEIVER_COLUMNS + (after & mask), 0)
        after += 1
    store_word(base, EXPECTED, after)
    unanswered = load_word(base, UNANSWERED) + count
    if at_once or after > first + count or unanswered >= load_word(base, ACK_EVERY):
        store_word(base, UNANSWERED, 0)
        return True
    store_word(base, UNANSWERED, unanswered)
    return False


@kernel
def ack_word(base: int, first: int, count: int) -> int:
    """The acknowledgement after ``count`` segments from ``first``: with them, if they lie behind a gap."""
    expected = load_word(base, EXPECTED)
    word = expected & ACKED_MASK
    if first > expected:
        word |= ((first - expected) & SACK_MASK) << SACK_FROM_SHIFT | count << SACK_COUNT_SHIFT
    return word


@kernel
def acked_of(word: int) -> int:
    """All before this segment has arrived."""
    return word & ACKED_MASK


@kernel
def sacked_from(word: int) -> int:
    """Segments from here on have arrived behind a gap."""
    return acked_of(word) + ((word >> SACK_FROM_SHIFT) & SACK_MASK)


@kernel
def sacked_until(word: int) -> int:
    """They end before this one; none where it is the first."""
    return sacked_from(word) + ((word >> SACK_COUNT_SHIFT) & SACK_MASK)
