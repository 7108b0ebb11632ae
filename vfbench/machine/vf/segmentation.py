"""How the card sends what lies in several descriptors: cut into frames (TSO, datasheet 7.2.4), or as one frame.

What is cut has a context in front, and its headers are repeated before so much of the payload a frame. One frame is its
headers and what follows them up to the descriptor that ends the packet (EOP).

The frames leave one after the other as the wire takes them; the descriptors are the driver's again when the last one is
out. A send that has begun is finished, even when the queue is disabled meanwhile (datasheet 4.6.8).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import word_index
from vfbench.machine.iommu.iotlb import is_packet_memory, translate
from vfbench.machine.iommu.table import READ
from vfbench.machine.memory.absent import device_waits
from vfbench.machine.memory.guest_memory import BLOCK_SHIFT, BLOCKS_SHIFT, CONTENT, PAGE_BYTES, SENT
from vfbench.machine.memory.words import load_word
from vfbench.machine.oracle.oracle import note_at_peer
from vfbench.machine.sides import DEVICE, HOST, implementation, primitive
from vfbench.machine.vf.descriptors import (
    DESCRIPTOR_SHIFT,
    TX_COMMAND_END_OF_PACKET,
    tx_length,
    tx_payload,
)
from vfbench.machine.vf.dma import dma_load
from vfbench.machine.vf.registers import TDT
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES

UNREADABLE = -1
"""In place of the first block's word: a descriptor led nowhere."""


@kernel
def segment_bytes(mss_bytes: int, left_bytes: int) -> int:
    """Length of the next frame, headers and FCS included."""
    return min(mss_bytes, left_bytes) + FRAME_OVERHEAD_BYTES


@kernel
def spread_payload(cpu: Any, pair: Any) -> int:
    """Payload of the frame whose headers are at the head; 0 where descriptors end before it does."""
    payload_bytes, slot = 0, (pair.nic.tx_head + 1) & (cpu.tx_size - 1)
    while slot != pair.nic.register[TDT]:
        command = dma_load(cpu, pair.nic.tx_base + (slot << DESCRIPTOR_SHIFT) + 8)
        payload_bytes += tx_length(command)
        if command & TX_COMMAND_END_OF_PACKET:
            return payload_bytes
        slot = (slot + 1) & (cpu.tx_size - 1)
    return 0


@primitive
def spread_frame_bytes(cpu: Any, pair: Any, command: int) -> int:
    """Length of the frame whose headers are at the head."""
    return spread_payload(cpu, pair) + FRAME_OVERHEAD_BYTES


@implementation(spread_frame_bytes, HOST)
def described_bytes(cpu: Any, pair: Any, command: int) -> int:
    """Beside a real guest of the suite no frame is spread; a real driver's descriptors are taken one by one."""
    return tx_length(command)


implementation(spread_frame_bytes, DEVICE)(described_bytes)


@kernel
def begin_send(cpu: Any, pair: Any, mss_bytes: int) -> bool:
    """Read the headers at the head, behind a context if there is one; False, and passed over, where nothing follows."""
    slot = pair.nic.tx_head
    if mss_bytes != 0:
        slot = (slot + 1) & (cpu.tx_size - 1)
    descriptor = pair.nic.tx_base + (slot << DESCRIPTOR_SHIFT)
    pair.nic.tx_free_ps += device_waits(cpu, descriptor)
    if mss_bytes != 0:
        payload_bytes = tx_payload(dma_load(cpu, descriptor + 8))
    else:
        payload_bytes = mss_bytes = spread_payload(cpu, pair)
    if payload_bytes == 0 or slot == pair.nic.register[TDT]:
        pair.nic.tx_head = slot if slot != pair.nic.tx_head else (slot + 1) & (cpu.tx_size - 1)
        return False
    address = translate(cpu, pair, dma_load(cpu, descriptor), READ)
    pair.nic.tx_free_ps += device_waits(cpu, address)
    readable = is_packet_memory(cpu, address)
    pair.nic.tx_first = load_word(cpu.words, word_index(cpu, address)) if readable else UNREADABLE
    pair.nic.tx_left, pair.nic.tx_mss = payload_bytes, mss_bytes
    pair.nic.tx_sent = pair.nic.tx_frames = pair.nic.tx_taken = 0
    pair.nic.tx_slot = (slot + 1) & (cpu.tx_size - 1)
    return True


@kernel
def holds_blocks(cpu: Any, pair: Any, address: int, offset: int, length_bytes: int) -> bool:
    """Whether the blocks at ``address`` are the send's own, from ``offset`` of its payload on."""
    word, first_block = word_index(cpu, address), offset >> BLOCK_SHIFT
    for block in range(first_block, ((offset + length_bytes - 1) >> BLOCK_SHIFT) + 1):
        if load_word(cpu.words, word + block - first_block) != pair.nic.tx_first + 1 + block:
            return False
    return True


@kernel
def read_piece(cpu: Any, pair: Any, most_bytes: int, whole: bool) -> bool:
    """Read on in the descriptor under way, within a page; whether what was read so far is still whole."""
    descriptor = pair.nic.tx_base + (pair.nic.tx_slot << DESCRIPTOR_SHIFT)
    pair.nic.tx_free_ps += device_waits(cpu, descriptor)
    length_bytes = tx_length(dma_load(cpu, descriptor + 8))
    iova = dma_load(cpu, descriptor) + pair.nic.tx_taken
    if pair.nic.tx_slot == pair.nic.register[TDT] or length_bytes <= pair.nic.tx_taken:
        # The descriptors end before the send does: what is left of it can't be read.
        pair.nic.tx_first = UNREADABLE
        pair.nic.tx_sent += most_bytes
        return False
    piece = min(min(most_bytes, length_bytes - pair.nic.tx_taken), PAGE_BYTES - (iova & (PAGE_BYTES - 1)))
    address = translate(cpu, pair, iova, READ)
    pair.nic.tx_free_ps += device_waits(cpu, address)
    if not is_packet_memory(cpu, address):
        pair.nic.tx_first = UNREADABLE
    elif whole and pair.nic.tx_first != UNREADABLE:
        whole = holds_blocks(cpu, pair, address, pair.nic.tx_sent, piece)
    pair.nic.tx_sent += piece
    pair.nic.tx_taken += piece
    if pair.nic.tx_taken == length_bytes:
        pair.nic.tx_slot = (pair.nic.tx_slot + 1) & (cpu.tx_size - 1)
        pair.nic.tx_taken = 0
    return whole


@kernel
def send_segment(cpu: Any, pair: Any, time_ps: int) -> int:
    """The next frame of the send is on the wire; returns its length."""
    payload_bytes = min(pair.nic.tx_mss, pair.nic.tx_left)
    whole = pair.nic.tx_first & (CONTENT | SENT) == CONTENT | SENT
    end = pair.nic.tx_sent + payload_bytes
    while pair.nic.tx_sent < end:
        whole = read_piece(cpu, pair, end - pair.nic.tx_sent, whole)
    pair.nic.tx_left -= payload_bytes
    if pair.nic.tx_first == UNREADABLE:
        pair.oracle.dma_faults += 1
    else:
        sequence = ((pair.nic.tx_first & (SENT - 1)) >> BLOCKS_SHIFT) + pair.nic.tx_frames
        note_at_peer(pair, sequence, whole, payload_bytes + FRAME_OVERHEAD_BYTES, time_ps)
    pair.nic.tx_frames += 1
    return payload_bytes + FRAME_OVERHEAD_BYTES


@kernel
def last_of_send(cpu: Any, pair: Any) -> int:
    """The slot of the send's last descriptor, once all of it is on the wire."""
    return pair.nic.tx_slot if pair.nic.tx_taken != 0 else (pair.nic.tx_slot - 1) & (cpu.tx_size - 1)
