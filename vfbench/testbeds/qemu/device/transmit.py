"""Frames that a real driver sends: context descriptors, several buffers a frame, and what the peer makes of it."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.iommu.iotlb import translate
from vfbench.machine.iommu.table import READ
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.machine.oracle.oracle import note_at_peer
from vfbench.machine.vf import device as vf
from vfbench.machine.vf.descriptors import (
    DESCRIPTOR_SHIFT,
    TX_COMMAND_END_OF_PACKET,
    TX_COMMAND_REPORT_STATUS,
    TX_STATUS_DONE,
    tx_length,
)
from vfbench.machine.vf.dma import dma_load, dma_store
from vfbench.machine.vf.landing import request_interrupt
from vfbench.testbeds.qemu.device.dma import for_guest_memory, is_guest_memory
from vfbench.testbeds.qemu.device.payload import (
    BODY_MASK,
    BODY_SHIFT,
    FCS_BYTES,
    HEADER_BYTES,
    LEAST_PAYLOAD_BYTES,
    MARK,
    holds_payload,
    load_be16,
)
from vfbench.testbeds.qemu.device.records import LEDGER_FLOW, LEDGER_WORDS, TX_FRAME_BYTES

DESCRIPTOR_TYPE_SHIFT, DESCRIPTOR_TYPE_MASK, DATA_DESCRIPTOR = 20, 0xF, 3
ETHERTYPE, ETHERTYPE_IPV4 = 12, 0x0800
IP_PROTOCOL, UDP = 23, 17
MARK_MASK = 0xFFFF_FFFF


@kernel
def copy_bytes(target: int, source: int, length_bytes: int) -> None:
    """From one host address to another, a word at a time."""
    words = length_bytes >> 3
    for index in range(words):
        store_word(target, index, load_word(source, index))
    for byte in range(words << 3, length_bytes):
        store_byte(target, byte, load_byte(source, byte))


@kernel
def gather(device: Any, pair: Any, iova: int, length_bytes: int) -> None:
    """Append a buffer of the frame under way, page by page as the device's addresses go."""
    if device.tx_bytes + length_bytes > TX_FRAME_BYTES:
        device.tx_headless += 1
        return
    while length_bytes > 0:
        piece = min(length_bytes, PAGE_BYTES - (iova & (PAGE_BYTES - 1)))
        address = translate(device, pair, iova, READ)
        if not is_guest_memory(device, address):
            pair.oracle.dma_faults += 1
            return
        copy_bytes(device.tx_frame + device.tx_bytes, device.guest_ram + address, piece)
        device.tx_bytes += piece
        iova += piece
        length_bytes -= piece


@kernel
def take_answer(device: Any, pair: Any, time_ps: int) -> None:
    """An answer of the guest's program: whole if every word of it is the one that it should have sent."""
    payload = device.tx_frame + HEADER_BYTES
    sequence = load_word(payload, 1)
    payload_bytes = ((load_word(payload, 0) >> BODY_SHIFT) & BODY_MASK) + LEAST_PAYLOAD_BYTES
    whole = (
        payload_bytes + HEADER_BYTES <= device.tx_bytes
        and 0 <= sequence < device.ledger_frames
        and holds_payload(payload, payload_bytes, sequence, 0)
    )
    entry = device.ledger + 8 * LEDGER_WORDS * (sequence % device.ledger_frames)
    pair.oracle.sent_flow[sequence & (len(pair.oracle.sent_flow) - 1)] = load_word(entry, LEDGER_FLOW)
    note_at_peer(pair, sequence, whole, device.tx_bytes + FCS_BYTES, time_ps)


@kernel
def take_frame(device: Any, pair: Any, time_ps: int) -> None:
    """A whole frame is on the wire."""
    frame = device.tx_frame
    protocol = load_byte(frame, IP_PROTOCOL) if load_be16(frame, ETHERTYPE) == ETHERTYPE_IPV4 else -1
    if protocol == UDP and load_word(frame + HEADER_BYTES, 0) & MARK_MASK == MARK:
        take_answer(device, pair, time_ps)
    else:
        device.other_frames += 1
    device.tx_bytes = 0


@for_guest_memory(vf.send_frame)
def send_descriptor(device: Any, pair: Any, time_ps: int) -> None:
    """The descriptor at the head: a buffer of a frame, its last one, or context for frames to come (7.2.3.2)."""
    descriptor = pair.nic.tx_base + (pair.nic.tx_head << DESCRIPTOR_SHIFT)
    command = dma_load(device, descriptor + 8)
    pair.nic.tx_free_ps = time_ps
    if (command >> DESCRIPTOR_TYPE_SHIFT) & DESCRIPTOR_TYPE_MASK == DATA_DESCRIPTOR:
        gather(device, pair, dma_load(device, descriptor), tx_length(command))
        if command & TX_COMMAND_END_OF_PACKET:
            take_frame(device, pair, time_ps)
    if command & TX_COMMAND_REPORT_STATUS:
        dma_store(device, descriptor + 8, TX_STATUS_DONE, time_ps)
        request_interrupt(device, pair, time_ps)
    pair.nic.tx_head = (pair.nic.tx_head + 1) & (device.tx_size - 1)
