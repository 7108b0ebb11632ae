"""The sending end of a TCP stream, in segments: window, slow start, fast retransmit by SACK, timeout.

State is a row of words at ``base``: the columns below, then a mark for each segment of the window, in a ring. NewReno
with selective acknowledgements: the window halves when three duplicates say that something was lost (RFC 5681, 6675),
and falls to one segment when nothing is heard for the timeout, which doubles each time (RFC 6298; Linux waits at least
200 ms). What is lost and sent again is marked as such, so each ack opens room for just as much.
"""

from __future__ import annotations

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.wire import NEVER_PS

(
    UNACKED,
    NEXT,
    WINDOW,
    CONGESTION_1024,
    THRESHOLD,
    PIPE,
    DUPLICATES,
    RECOVERS_AT,
    AFTER_TIMEOUT,
    HOLE,
    KNOWN_UNTIL,
    HIGHEST,
    DUE_PS,
    TIMEOUT_PS,
    LEAST_TIMEOUT_PS,
    RESENT,
    TIMEOUTS,
    RING_MASK,
    SENDER_COLUMNS,
) = range(19)
"""First segment not acknowledged; next new one; receiver's window; congestion window in 1/1024; slow start's end;
segments in flight; duplicates; where recovery ends, -1 outside it; whether a timeout began it; first that may have to
be sent again; up to where losses are known; above it nothing is known to have arrived; when the timeout is due; how
long it is now, and at least; counts of segments sent again and of timeouts; the ring of marks."""

OUTSTANDING, SACKED, LOST = range(3)
INITIAL_WINDOW = 10
"""RFC 6928, as Linux."""
DUPLICATES_FOR_LOSS = 3
MOST_TIMEOUT_PS = 120 * 10**12
"""TCP_RTO_MAX."""


def sender_words(window: int) -> int:
    """Words of one sender whose window is so many segments."""
    return int(SENDER_COLUMNS) + ring_of(window)


def ring_of(window: int) -> int:
    """Marks that a window needs: a power of two."""
    return 1 << max(1, (window - 1).bit_length())


def start_values(window: int, timeout_ps: int) -> list[int]:
    """What a sender's words are before it sends."""
    values = [0] * sender_words(window)
    values[WINDOW], values[THRESHOLD], values[RECOVERS_AT] = window, window, -1
    values[CONGESTION_1024] = min(INITIAL_WINDOW, window) << 10
    values[DUE_PS], values[RING_MASK] = NEVER_PS, ring_of(window) - 1
    values[TIMEOUT_PS] = values[LEAST_TIMEOUT_PS] = timeout_ps
    return values


@kernel
def mark_place(base: int, sequence: int) -> int:
    """Where the mark of a segment stands."""
    return SENDER_COLUMNS + (sequence & load_word(base, RING_MASK))


@kernel
def room(base: int) -> int:
    """How many more segments may be in flight."""
    return (load_word(base, CONGESTION_1024) >> 10) - load_word(base, PIPE)


@kernel
def new_segments(base: int) -> int:
    """How many new segments may be sent now."""
    unsent = load_word(base, UNACKED) + load_word(base, WINDOW) - load_word(base, NEXT)
    return max(0, min(room(base), unsent))


@kernel
def next_lost(base: int) -> int:
    """The first segment that is taken for lost and has not been sent again; -1 if there is none."""
    sequence, highest = max(load_word(base, HOLE), load_word(base, UNACKED)), load_word(base, HIGHEST)
    while sequence < highest and load_word(base, mark_place(base, sequence)) != LOST:
        sequence += 1
    store_word(base, HOLE, sequence)
    return sequence if sequence < highest else -1


@kernel
def next_segment(base: int) -> int:
    """What may be sent now: a lost segment before a new one; -1 if the windows are full."""
    if room(base) <= 0:
        return -1
    if load_word(base, RECOVERS_AT) >= 0:
        lost = next_lost(base)
        if lost >= 0:
            return lost
    return load_word(base, NEXT) if new_segments(base) > 0 else -1


@kernel
def note_sent(base: int, first: int, count: int, now_ps: int) -> None:
    """``count`` segments from ``first`` are on their way, for the first time or again."""
    for sequence in range(first, first + count):
        store_word(base, mark_place(base, sequence), OUTSTANDING)
    if first == load_word(base, NEXT):
        store_word(base, NEXT, first + count)
    else:
        store_word(base, RESENT, load_word(base, RESENT) + count)
    store_word(base, PIPE, load_word(base, PIPE) + count)
    if load_word(base, DUE_PS) == NEVER_PS:
        store_word(base, DUE_PS, now_ps + load_word(base, TIMEOUT_PS))


@kernel
def take_lost(base: int, until: int) -> None:
    """What was sent before ``until`` and has not arrived counts as lost from now on."""
    for sequence in range(max(load_word(base, UNACKED), load_word(base, KNOWN_UNTIL)), until):
        place = mark_place(base, sequence)
        if load_word(base, place) == OUTSTANDING:
            store_word(base, place, LOST)
            store_word(base, PIPE, load_word(base, PIPE) - 1)
    store_word(base, KNOWN_UNTIL, max(load_word(base, KNOWN_UNTIL), until))


@kernel
def grow(base: int, acked: int) -> None:
    """Slow start: a segment more for each acknowledged; then one for each window."""
    congestion = load_word(base, CONGESTION_1024)
    if congestion >> 10 < load_word(base, THRESHOLD):
        congestion += acked << 10
    else:
        congestion += (acked << 20) // congestion
    store_word(base, CONGESTION_1024, min(congestion, load_word(base, WINDOW) << 10))


@kernel
def halve(base: int) -> None:
    """Loss: slow start ends at half of what was in flight."""
    flight = load_word(base, NEXT) - load_word(base, UNACKED)
    store_word(base, HOLE, load_word(base, UNACKED))
    store_word(base, KNOWN_UNTIL, load_word(base, UNACKED))
    store_word(base, THRESHOLD, max(2, min(flight, load_word(base, CONGESTION_1024) >> 10) // 2))
    store_word(base, RECOVERS_AT, load_word(base, NEXT))


@kernel
def take_acknowledged(base: int, until: int, now_ps: int) -> None:
    """Everything before ``until`` has arrived."""
    first = load_word(base, UNACKED)
    for sequence in range(first, until):
        place = mark_place(base, sequence)
        if load_word(base, place) == OUTSTANDING:
            store_word(base, PIPE, load_word(base, PIPE) - 1)
        store_word(base, place, OUTSTANDING)
    store_word(base, UNACKED, until)
    store_word(base, DUPLICATES, 0)
    store_word(base, TIMEOUT_PS, load_word(base, LEAST_TIMEOUT_PS))
    waits = until < load_word(base, NEXT)
    store_word(base, DUE_PS, now_ps + load_word(base, TIMEOUT_PS) if waits else NEVER_PS)
    if 0 <= load_word(base, RECOVERS_AT) <= until:
        if not load_word(base, AFTER_TIMEOUT):
            store_word(base, CONGESTION_1024, load_word(base, THRESHOLD) << 10)
        store_word(base, RECOVERS_AT, -1)
        store_word(base, AFTER_TIMEOUT, 0)
    if load_word(base, RECOVERS_AT) < 0 or load_word(base, AFTER_TIMEOUT):
        grow(base, until - first)


@kernel
def take_sacked(base: int, first: int, end: int) -> None:
    """Segments ``first`` up to ``end`` have arrived, before others that have not."""
    for sequence in range(max(first, load_word(base, UNACKED)), min(end, load_word(base, NEXT))):
        place = mark_place(base, sequence)
        if load_word(base, place) == OUTSTANDING:
            store_word(base, PIPE, load_word(base, PIPE) - 1)
        store_word(base, place, SACKED)
    store_word(base, HIGHEST, max(load_word(base, HIGHEST), min(end, load_word(base, NEXT))))


@kernel
def take_ack(base: int, acked: int, first: int, end: int, now_ps: int) -> None:
    """An acknowledgement of all before ``acked``, and of ``first`` up to ``end`` behind a gap."""
    if acked > load_word(base, NEXT) or acked < load_word(base, UNACKED):
        return
    if acked > load_word(base, UNACKED):
        take_acknowledged(base, acked, now_ps)
    elif end > first:
        store_word(base, DUPLICATES, load_word(base, DUPLICATES) + 1)
    if end > first:
        take_sacked(base, first, end)
    if load_word(base, RECOVERS_AT) < 0 and load_word(base, DUPLICATES) >= DUPLICATES_FOR_LOSS:
        halve(base)
        store_word(base, CONGESTION_1024, load_word(base, THRESHOLD) << 10)
        take_lost(base, load_word(base, HIGHEST))
    elif load_word(base, RECOVERS_AT) >= 0 and end > first:
        take_lost(base, min(first, load_word(base, RECOVERS_AT)))


@kernel
def take_timeout(base: int, now_ps: int) -> None:
    """Nothing was heard for too long: all that is not known to have arrived is sent again, one segment at first."""
    halve(base)
    store_word(base, AFTER_TIMEOUT, 1)
    store_word(base, HIGHEST, load_word(base, NEXT))
    take_lost(base, load_word(base, NEXT))
    store_word(base, CONGESTION_1024, 1 << 10)
    store_word(base, DUPLICATES, 0)
    store_word(base, TIMEOUTS, load_word(base, TIMEOUTS) + 1)
    store_word(base, TIMEOUT_PS, min(MOST_TIMEOUT_PS, 2 * load_word(base, TIMEOUT_PS)))
    store_word(base, DUE_PS, now_ps + load_word(base, TIMEOUT_PS))
