"""The observer of packets in several buffers: frames longer than one, and frames that the host's GRO joined.

A packet's blocks are those of its first frame's sequence number, from 0 to its end; joined
frames follow one another behind one set of headers. Each block is compared; a bad one spoils the frames it is in, a
buffer that is not the packet's all of them.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import after_races, word_index
from vfbench.machine.driver.state import HELD_PACKETS
from vfbench.machine.memory.absent import await_page
from vfbench.machine.memory.faults import check_address
from vfbench.machine.memory.guest_memory import BLOCK_SHIFT
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.oracle.oracle import (
    NOTHING,
    blocks_of,
    content,
    content_sequence,
    latency_bucket,
    mark_device_write,
    note_loss_of_slot,
    note_seen_by_peer,
)
from vfbench.machine.oracle.part_words import (
    FRAMES_SHIFT,
    GOES_ON,
    frames_ended,
    part_bytes,
    part_offset,
    part_payload,
    part_word,
)
from vfbench.machine.queue_pair import MOST_DESCRIPTORS
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, HEADER_BYTES, WIRE_OVERHEAD_BYTES


@kernel
def write_part(cpu: Any, address: int, length_bytes: int, sequence: int, offset: int, time_ps: int) -> None:
    """DMA, or a copy by the host: bytes of packet ``sequence`` from ``offset`` on, into one page."""
    first, first_block = word_index(cpu, address), offset >> BLOCK_SHIFT
    for block in range(blocks_of(length_bytes)):
        word = content(sequence, first_block + block)
        store_word(cpu.words, first + block, after_races(cpu, first + block, word, time_ps))
    mark_device_write(cpu, address)


@kernel
def note_part_written(pair: Any, slot: int, frame: Any, word: int, frames: int) -> None:
    """``slot`` was used for what ``word`` says of ``frame``; so many frames end in it."""
    note_loss_of_slot(pair, slot)
    used = pair.oracle.slot[slot]
    used.pending = frames
    used.sequence = frame.sequence
    used.length = word
    used.arrival_ps = frame.arrival_ps
    used.flow = frame.flow
    used.tag = frame.tag


@kernel
def note_gathered(pair: Any, index: int, slot: int, skip_bytes: int, length_bytes: int) -> None:
    """The driver takes ``length_bytes`` of the buffer of ``slot``, from ``skip_bytes`` on, as its packet's part."""
    sent, part = pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)], pair.oracle.gathered[index]
    held_bytes = part_bytes(sent.length)
    taken_bytes = max(0, min(length_bytes, held_bytes - skip_bytes))
    goes_on = sent.length & GOES_ON != 0
    part.sequence = sent.sequence if sent.pending != 0 or goes_on else NOTHING
    part.arrival_ps, part.flow, part.tag, part.frames = sent.arrival_ps, sent.flow, sent.tag, 0
    ends = skip_bytes + taken_bytes >= held_bytes
    part.length = part_word(
        taken_bytes,
        part_offset(sent.length) + skip_bytes,
        goes_on or not ends,
        part_payload(sent.length),
    )
    if ends:
        part.frames = sent.pending
        sent.pending = 0
        sent.length = held_bytes


@kernel
def note_parts_held(pair: Any, parts: int, first: int) -> None:
    """What was gathered is kept by the application, from position ``first`` of its queue on; not handed over yet."""
    for i in range(parts):
        held, part = pair.oracle.held[(first + i) & (HELD_PACKETS - 1)], pair.oracle.gathered[i]
        held.sequence = part.sequence
        held.length = part.length
        held.arrival_ps = part.arrival_ps
        held.flow = part.flow | part.frames << FRAMES_SHIFT
        part.frames = 0


@kernel
def note_parts_dropped(pair: Any, parts: int) -> None:
    """What was gathered found no room in its socket."""
    for i in range(parts):
        pair.oracle.lost_socket += pair.oracle.gathered[i].frames
        pair.oracle.gathered[i].frames = 0


@kernel
def note_parts_handed_over(pair: Any, parts: int, first: int, now_ps: int) -> None:
    """They are the application's. Joined frames have the first one's latency."""
    last = pair.oracle.held[(first + parts - 1) & (HELD_PACKETS - 1)]
    frames = frames_ended(last)
    pair.oracle.rx_handed_over += frames
    if last.sequence == NOTHING:
        return
    if pair.oracle.measures_latency:
        pair.oracle.latency[latency_bucket((now_ps - last.arrival_ps) // 1000)] += frames
    if not pair.oracle.seen_by_replies:
        note_seen_by_peer(pair, now_ps)


@kernel
def begin_reading(pair: Any, position: int) -> None:
    """The application begins with the packet whose first buffer it kept at ``position``."""
    pair.oracle.read_bytes = pair.oracle.read_spoilt = pair.oracle.read_foreign = pair.oracle.read_bad = 0
    pair.oracle.read_bad_frame = -1
    pair.oracle.read_sequence = pair.oracle.held[position].sequence


@kernel
def spoil_frames(pair: Any, block: int, payload_bytes: int) -> None:
    """Block number ``block`` of the packet is bad: so is each frame that has bytes in it."""
    first = last = 0
    if payload_bytes > 0:
        begin = (block << BLOCK_SHIFT) - HEADER_BYTES
        first, last = max(0, begin) // payload_bytes, (begin + (1 << BLOCK_SHIFT) - 1) // payload_bytes
    first = max(first, pair.oracle.read_bad_frame + 1)
    if last >= first:
        pair.oracle.read_bad += last - first + 1
        pair.oracle.read_bad_frame = last


@kernel
def read_part(cpu: Any, pair: Any, position: int, address: int, length_bytes: int, last: bool) -> None:
    """The application read the part that it kept at ``position`` and found this at ``address``."""
    held = pair.oracle.held[position]
    check_address(cpu, address)
    check_address(cpu, address + length_bytes - 1)
    await_page(cpu, address)
    word = held.length
    if not last:
        pair.oracle.read_spoilt += held.flow >> FRAMES_SHIFT
    if (
        held.sequence == NOTHING
        or held.sequence != pair.oracle.read_sequence
        or part_bytes(word) != length_bytes
        or part_offset(word) != pair.oracle.read_bytes
        or (word & GOES_ON != 0) == last
    ):
        pair.oracle.read_foreign = 1
    else:
        begin, first = word_index(cpu, address), part_offset(word) >> BLOCK_SHIFT
        for block in range(blocks_of(length_bytes)):
            if load_word(cpu.words, begin + block) != content(held.sequence, first + block):
                spoil_frames(pair, first + block, part_payload(word))
    pair.oracle.read_bytes += length_bytes


@kernel
def end_reading(cpu: Any, pair: Any, position: int, address: int) -> None:
    """Judge the packet whose last buffer the application kept at ``position``, at ``address``."""
    held = pair.oracle.held[position]
    pair.oracle.rx_corrupted += pair.oracle.read_spoilt
    frames = held.flow >> FRAMES_SHIFT
    if held.sequence == NOTHING or frames == 0:
        if content_sequence(load_word(cpu.words, word_index(cpu, address))) == NOTHING:
            pair.oracle.rx_phantom += 1
        else:
            pair.oracle.rx_duplicated += 1
        return
    bad = frames if pair.oracle.read_foreign else min(frames, pair.oracle.read_bad)
    pair.oracle.rx_corrupted += bad
    pair.oracle.rx_delivered += frames - bad
    payload_bytes = part_payload(held.length)
    if bad == 0:
        repeated_bytes = (frames - 1) * FRAME_OVERHEAD_BYTES
        pair.oracle.rx_delivered_bytes += (
            pair.oracle.read_bytes + repeated_bytes + frames * WIRE_OVERHEAD_BYTES
        )
    else:
        pair.oracle.rx_delivered_bytes += (frames - bad) * (
            payload_bytes + FRAME_OVERHEAD_BYTES + WIRE_OVERHEAD_BYTES
        )
