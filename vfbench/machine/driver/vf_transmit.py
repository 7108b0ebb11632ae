"""The VF driver's transmit side: one map and one unmap for each frame, as a real driver does it.

What the card cuts into frames is in ``vf_segmentation.py``. A slot's entry is two words: the guest-physical address of
what is mapped, 0 for nothing, with its pages (0: one) and the further descriptors of its send above it; and the IOVA.

The tail is bumped once for the frames of a poll (``xmit_more``). The device writes back nothing but DD.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DOORBELL_WRITE, TX_PACKET
from vfbench.machine.cpu import load_field, spend, spend_copy, store, store_field
from vfbench.machine.driver.state import TX_NEXT_TO_CLEAN, TX_NEXT_TO_USE, TX_SEQUENCE, TX_TAIL_WRITTEN
from vfbench.machine.hooks import MAP_FAILED, descriptor_done, map_page, run_hooks, unmap_page
from vfbench.machine.iommu.table import READ
from vfbench.machine.memory.block_pool import release_send_memory
from vfbench.machine.memory.guest_memory import (
    BLOCK_BYTES,
    BLOCK_SHIFT,
    BLOCKS_SHIFT,
    CONTENT,
    PAGE_SHIFT,
    SENT,
)
from vfbench.machine.memory.page_pool import alloc_page, release_page
from vfbench.machine.oracle.oracle import note_refused, note_sending
from vfbench.machine.sides import primitive
from vfbench.machine.slots import BEFORE_DOORBELL
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES, DESCRIPTOR_SHIFT, tx_command, tx_is_done
from vfbench.machine.vf.register_access import write_register
from vfbench.machine.vf.registers import TDT

PAGES_SHIFT, EXTRA_SHIFT = 48, 52
ADDRESS_MASK, PAGES_MASK = (1 << PAGES_SHIFT) - 1, 0xF


@primitive
def write_block(cpu: Any, address: int, length_bytes: int, word: int) -> None:
    """A block of a frame to send, by its content word: all that the model's memory keeps of a block."""
    store(cpu, address, word)


@kernel
def write_frame(cpu: Any, address: int, length_bytes: int, sequence: int) -> None:
    """The stack writes the frame's bytes, block by block."""
    spend_copy(cpu, length_bytes)
    for block in range((length_bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT):
        begin = block << BLOCK_SHIFT
        word = CONTENT | SENT | sequence << BLOCKS_SHIFT | block
        write_block(cpu, address + begin, min(BLOCK_BYTES, length_bytes - begin), word)


@kernel
def ring_is_full(cpu: Any) -> bool:
    """Whether the transmit ring has no free descriptor."""
    used = load_field(cpu, cpu.driver + TX_NEXT_TO_USE)
    return (used + 1) & (cpu.tx_size - 1) == load_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN)


@kernel
def new_frame(cpu: Any, pair: Any, length_bytes: int, flow: int) -> int:
    """Write the next frame into a page of its own; returns the page, 0 if there is none."""
    page = alloc_page(cpu)
    if page == 0:
        note_refused(pair)
        return 0
    sequence = load_field(cpu, cpu.driver + TX_SEQUENCE)
    store_field(cpu, cpu.driver + TX_SEQUENCE, sequence + 1)
    note_sending(pair, sequence, flow)
    write_frame(cpu, page, length_bytes, sequence)
    spend(cpu, TX_PACKET)
    return page


@kernel
def post_frame(cpu: Any, page: int, length_bytes: int) -> None:
    """Map the frame for the device and describe it in the next free descriptor; dropped when it can't be mapped."""
    slot = load_field(cpu, cpu.driver + TX_NEXT_TO_USE)
    iova = map_page(cpu, page, length_bytes, READ)
    if iova == MAP_FAILED:
        release_page(cpu, page)
        return
    entry = cpu.tx_buffers + (slot << DESCRIPTOR_SHIFT)
    store_field(cpu, entry, page)
    store_field(cpu, entry + 8, iova)
    descriptor = cpu.tx_ring + (slot << DESCRIPTOR_SHIFT)
    store_field(cpu, descriptor, iova)
    store_field(cpu, descriptor + 8, tx_command(length_bytes))
    store_field(cpu, cpu.driver + TX_NEXT_TO_USE, (slot + 1) & (cpu.tx_size - 1))


@kernel
def send_one(cpu: Any, pair: Any, length_bytes: int, flow: int) -> None:
    """Queue one frame for the device; refused when ring or memory is full, as the queue discipline would."""
    if ring_is_full(cpu):
        clean_transmitted(cpu)
    if ring_is_full(cpu):
        note_refused(pair)
        return
    page = new_frame(cpu, pair, length_bytes, flow)
    if page != 0:
        post_frame(cpu, page, length_bytes)


@kernel
def ring_transmit_doorbell(cpu: Any, pair: Any) -> None:
    """Tell the device of the frames queued since the last time."""
    slot = load_field(cpu, cpu.driver + TX_NEXT_TO_USE)
    if slot == load_field(cpu, cpu.driver + TX_TAIL_WRITTEN):
        return
    run_hooks(cpu, BEFORE_DOORBELL)
    store_field(cpu, cpu.driver + TX_TAIL_WRITTEN, slot)
    spend(cpu, DOORBELL_WRITE)
    write_register(cpu, pair, TDT, slot)


@kernel
def release_frame(cpu: Any, entry: int) -> None:
    """Unmap a frame, or a part of a send, and free its memory; nothing for a slot that has none of its own."""
    word = load_field(cpu, entry)
    address, pages = word & ADDRESS_MASK, (word >> PAGES_SHIFT) & PAGES_MASK
    if address != 0:
        unmap_page(cpu, load_field(cpu, entry + 8), address, max(1, pages) << PAGE_SHIFT, READ)
        release_send_memory(cpu, address)


@kernel
def clean_transmitted(cpu: Any) -> None:
    """Unmap and free the frames that the device has sent, and the sends that it has cut: each as a whole."""
    mask = cpu.tx_size - 1
    slot = load_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN)
    end = load_field(cpu, cpu.driver + TX_TAIL_WRITTEN)
    started = slot
    while slot != end:
        last = slot + (load_field(cpu, cpu.tx_buffers + (slot << DESCRIPTOR_SHIFT)) >> EXTRA_SHIFT) & mask
        descriptor = cpu.tx_ring + (last << DESCRIPTOR_SHIFT)
        if not tx_is_done(load_field(cpu, descriptor + 8)):
            break
        descriptor_done(cpu, descriptor, DESCRIPTOR_BYTES)
        after = (last + 1) & mask
        while slot != after:
            release_frame(cpu, cpu.tx_buffers + (slot << DESCRIPTOR_SHIFT))
            slot = (slot + 1) & mask
    if slot != started:
        store_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN, slot)
