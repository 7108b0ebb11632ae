"""The oracle: what became of every packet, read from memory contents.

A packet is delivered when the application has read it whole and every block of it held what was sent for that
descriptor; corrupted when a block held anything else; lost when it never got that far. A packet handed over
for a descriptor that carried nothing new is a duplicate (its content is an earlier packet's) or a phantom.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import after_races, word_index
from vfbench.machine.driver.state import HELD_PACKETS
from vfbench.machine.memory.absent import await_page
from vfbench.machine.memory.faults import check_address
from vfbench.machine.memory.guest_memory import (
    BLOCK_BYTES,
    BLOCK_SHIFT,
    BLOCKS_SHIFT,
    CONTENT,
    DEVICE_WROTE,
    MAPPED,
    MAPPED_WRITTEN,
    PAGE_SHIFT,
    SENT,
    TORN,
)
from vfbench.machine.memory.words import bit_length, load_byte, load_word, store_byte, store_word
from vfbench.machine.oracle.part_words import FLOW_MASK, frames_ended
from vfbench.machine.queue_pair import LATENCY_BITS, LATENCY_BUCKETS, LATENCY_SUB_BUCKETS, MOST_DESCRIPTORS
from vfbench.machine.sides import GUEST, implementation, primitive
from vfbench.machine.wire import BUFFER_BYTES, WIRE_OVERHEAD_BYTES

NOTHING = -1
"""The sequence number of a packet that was never sent."""


@kernel
def content(sequence: int, block: int) -> int:
    """The content word of one 512-byte block of packet ``sequence``."""
    return CONTENT | sequence << BLOCKS_SHIFT | block


@kernel
def content_sequence(word: int) -> int:
    """The packet that a received content word belongs to, or NOTHING when the word is not a whole packet's."""
    if word & CONTENT == 0 or word & (TORN | SENT) != 0:
        return NOTHING
    return (word & (SENT - 1)) >> BLOCKS_SHIFT


@kernel
def blocks_of(length_bytes: int) -> int:
    """How many blocks a packet of ``length_bytes`` covers."""
    return (length_bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT


@primitive
def mark_device_write(cpu: Any, address: int) -> None:
    """Remember that the device's side wrote to the page; the dirty log does not see it."""
    page = address >> PAGE_SHIFT
    marks = load_byte(cpu.marks, page)
    if marks & DEVICE_WROTE == 0 or marks & (MAPPED | MAPPED_WRITTEN) == MAPPED:
        written = MAPPED_WRITTEN if marks & MAPPED else 0
        store_byte(cpu.marks, page, marks | DEVICE_WROTE | written)


@primitive
def write_content(cpu: Any, address: int, length_bytes: int, sequence: int, time_ps: int) -> None:
    """DMA: the device writes packet ``sequence`` at guest-physical ``address``."""
    first = word_index(cpu, address)
    for block in range(blocks_of(length_bytes)):
        word = content(sequence, block)
        store_word(cpu.words, first + block, after_races(cpu, first + block, word, time_ps))
    mark_device_write(cpu, address)


@kernel
def holds_packet(cpu: Any, address: int, length_bytes: int, sequence: int) -> bool:
    """Whether every block at ``address`` holds packet ``sequence``."""
    first = word_index(cpu, address)
    for block in range(blocks_of(length_bytes)):
        if load_word(cpu.words, first + block) != content(sequence, block):
            return False
    return True


@kernel
def note_loss_of_slot(pair: Any, slot: int) -> None:
    """A packet that was written for ``slot`` and never handed over is lost when the slot is used again."""
    pair.oracle.lost_ring += pair.oracle.slot[slot].pending
    pair.oracle.slot[slot].pending = 0


@kernel
def note_written(pair: Any, slot: int, frame: Any) -> None:
    """The device used ``slot`` for ``frame``."""
    note_loss_of_slot(pair, slot)
    used = pair.oracle.slot[slot]
    used.pending = 1
    used.sequence = frame.sequence
    used.length = frame.length
    used.arrival_ps = frame.arrival_ps
    used.flow = frame.flow
    used.tag = frame.tag


@kernel
def latency_bucket(latency_ns: int) -> int:
    """Index of an HDR-style bucket: 128 linear steps, then 64 for each doubling (below 1.6 % wide)."""
    shift = max(0, bit_length(latency_ns) - LATENCY_BITS)
    return min(shift * (LATENCY_SUB_BUCKETS // 2) + (latency_ns >> shift), LATENCY_BUCKETS - 1)


@kernel
def note_seen_by_peer(pair: Any, time_ps: int) -> None:
    """A packet got through; the peer's longest wait grows if this one took longest."""
    if pair.oracle.seen_ps > 0 and time_ps - pair.oracle.seen_ps > pair.oracle.longest_gap_ps:
        pair.oracle.longest_gap_ps = time_ps - pair.oracle.seen_ps
    pair.oracle.seen_ps = time_ps


@primitive
def note_handed_over(pair: Any, slot: int, position: int, now_ps: int) -> None:
    """The driver handed the packet of ``slot`` to the application, which keeps it at ``position`` of its queue."""
    pair.oracle.rx_handed_over += 1
    held, sent = pair.oracle.held[position], pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)]
    held.sequence = NOTHING
    if sent.pending == 0:
        return
    sent.pending = 0
    held.sequence = sent.sequence
    held.length = sent.length
    if pair.oracle.measures_latency:
        pair.oracle.latency[latency_bucket((now_ps - sent.arrival_ps) // 1000)] += 1
    if not pair.oracle.seen_by_replies:
        note_seen_by_peer(pair, now_ps)


@primitive
def note_held(pair: Any, slot: int, position: int) -> None:
    """GRO holds the packet of ``slot``, at ``position`` of the application's queue, and has not handed it over yet."""
    held, sent = (
        pair.oracle.held[position & (HELD_PACKETS - 1)],
        pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)],
    )
    held.flow = sent.flow
    held.sequence = NOTHING
    if sent.pending == 0:
        return
    sent.pending = 0
    held.sequence = sent.sequence
    held.length = sent.length
    held.arrival_ps = sent.arrival_ps


@primitive
def held_flow(pair: Any, position: int) -> int:
    """The flow of the packet at ``position``, as its headers say."""
    return pair.oracle.held[position & (HELD_PACKETS - 1)].flow & FLOW_MASK


@primitive
def note_passed_up(pair: Any, position: int, now_ps: int) -> None:
    """The packet that GRO held at ``position`` is the application's, or a part of one, which counts with its last."""
    held = pair.oracle.held[position & (HELD_PACKETS - 1)]
    frames = frames_ended(held)
    pair.oracle.rx_handed_over += frames
    if held.sequence == NOTHING or frames == 0:
        return
    if pair.oracle.measures_latency:
        pair.oracle.latency[latency_bucket((now_ps - held.arrival_ps) // 1000)] += frames
    if not pair.oracle.seen_by_replies:
        note_seen_by_peer(pair, now_ps)


@implementation(note_held, GUEST)
def note_held_nowhere(pair: Any, slot: int, position: int) -> None:
    """A real guest of the suite has no GRO: it is refused before it starts."""


@implementation(held_flow, GUEST)
def no_flow(pair: Any, position: int) -> int:
    """As above."""
    return 0


@implementation(note_passed_up, GUEST)
def note_passed_up_nowhere(pair: Any, position: int, now_ps: int) -> None:
    """As above."""


@primitive
def note_consumed(cpu: Any, pair: Any, position: int, address: int, length_bytes: int) -> None:
    """The application read the packet that it kept at ``position`` and found this at ``address``."""
    sent = pair.oracle.held[position]
    sequence = sent.sequence
    check_address(cpu, address)
    check_address(cpu, address + BUFFER_BYTES - 1)
    await_page(cpu, address)
    if sequence == NOTHING:
        earlier = content_sequence(load_word(cpu.words, word_index(cpu, address)))
        if earlier == NOTHING:
            pair.oracle.rx_phantom += 1
        else:
            pair.oracle.rx_duplicated += 1
    elif length_bytes == sent.length and holds_packet(cpu, address, length_bytes, sequence):
        pair.oracle.rx_delivered += 1
        pair.oracle.rx_delivered_bytes += length_bytes + WIRE_OVERHEAD_BYTES
    else:
        pair.oracle.rx_corrupted += 1


@primitive
def note_sending(pair: Any, sequence: int, flow: int) -> None:
    """The guest's stack took frame ``sequence`` for sending."""
    pair.oracle.tx_offered += 1
    pair.oracle.sent_flow[sequence & (len(pair.oracle.sent_flow) - 1)] = flow


@primitive
def note_tags(pair: Any, first: int, count: int, tag: int, last_bits: int) -> None:
    """The frames from number ``first`` carry tags: ``tag``, one more each, and ``last_bits`` in the last."""
    mask = len(pair.oracle.sent_tag) - 1
    for i in range(count):
        pair.oracle.sent_tag[(first + i) & mask] = tag + i
    if count > 0:
        pair.oracle.sent_tag[(first + count - 1) & mask] |= last_bits


@implementation(note_tags, GUEST)
def note_tags_nowhere(pair: Any, first: int, count: int, tag: int, last_bits: int) -> None:
    """A real guest's frames carry none: workloads that want them are refused before it starts."""


@primitive
def note_socket_full(pair: Any, slot: int) -> None:
    """The packet of ``slot`` found no room in its socket."""
    sent = pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)]
    pair.oracle.lost_socket += sent.pending
    sent.pending = 0


@primitive
def note_refused(pair: Any) -> None:
    """The guest's stack had no room for a frame that the application wanted to send."""
    pair.oracle.tx_refused += 1


@kernel
def note_at_peer(pair: Any, sequence: int, whole: bool, length_bytes: int, time_ps: int) -> None:
    """A frame that the guest sent reached the peer, which expects them in order."""
    if sequence < pair.oracle.tx_expected:
        pair.oracle.tx_duplicated += 1
        return
    pair.oracle.tx_expected = sequence + 1
    if not whole:
        pair.oracle.tx_corrupted += 1
        return
    pair.oracle.tx_delivered += 1
    pair.oracle.tx_delivered_bytes += length_bytes + WIRE_OVERHEAD_BYTES
    if pair.oracle.seen_by_replies:
        note_seen_by_peer(pair, time_ps)
    if pair.oracle.reports_replies and pair.oracle.replies < len(pair.oracle.reply_ps):
        i = pair.oracle.replies
        pair.oracle.reply_ps[i] = time_ps
        pair.oracle.reply_length[i] = length_bytes
        pair.oracle.reply_flow[i] = pair.oracle.sent_flow[sequence & (len(pair.oracle.sent_flow) - 1)]
        pair.oracle.reply_tag[i] = pair.oracle.sent_tag[sequence & (len(pair.oracle.sent_tag) - 1)]
        pair.oracle.replies = i + 1
