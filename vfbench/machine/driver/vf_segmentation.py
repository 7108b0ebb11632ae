"""A send that the card cuts into frames (TSO), as ixgbevf queues it: one context, headers, then fragments.

A frame that is longer than a page goes the same way, without a context.

Each fragment is mapped once; a mapping over 16 KiB takes several descriptors. Only the last descriptor asks for status,
and the driver takes the whole send back when that is done (``next_to_watch``).

Sources: ``ixgbevf_tso``, ``ixgbevf_tx_map``, ``ixgbevf_clean_tx_irq`` (drivers/net/ethernet/intel/ixgbevf).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import TX_FRAGMENT
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.send_memory import (
    MOST_FRAGMENTS,
    begin_large_send,
    fragment_length,
    memory_is_short,
    mss_bytes,
    new_fragment,
    refuse_send,
    write_headers,
)
from vfbench.machine.driver.state import TX_NEXT_TO_CLEAN, TX_NEXT_TO_USE
from vfbench.machine.driver.vf_transmit import (
    EXTRA_SHIFT,
    PAGES_SHIFT,
    clean_transmitted,
    release_frame,
)
from vfbench.machine.hooks import MAP_FAILED, map_page
from vfbench.machine.iommu.table import READ
from vfbench.machine.memory.block_pool import is_block, release_send_memory
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.memory.page_pool import alloc_page
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT, MOST_BYTES_PER_DESCRIPTOR, tx_context, tx_part
from vfbench.machine.wire import HEADER_BYTES

DESCRIPTORS_NEEDED = MOST_FRAGMENTS + 4
"""``DESC_NEEDED``: with fewer free the queue stops, for a send may take so many."""


@kernel
def free_descriptors(cpu: Any) -> int:
    """Descriptors that the driver may fill."""
    used = load_field(cpu, cpu.driver + TX_NEXT_TO_USE) - load_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN)
    return cpu.tx_size - 1 - (used & (cpu.tx_size - 1))


@kernel
def put_descriptor(cpu: Any, slot: int, first: int, second: int) -> None:
    """Write a descriptor, and an entry beside it that has nothing to unmap."""
    descriptor, entry = cpu.tx_ring + (slot << DESCRIPTOR_SHIFT), cpu.tx_buffers + (slot << DESCRIPTOR_SHIFT)
    store_field(cpu, descriptor, first)
    store_field(cpu, descriptor + 8, second)
    store_field(cpu, entry, 0)


@kernel
def put_context(cpu: Any, slot: int) -> int:
    """Tell the card into what to cut what follows; returns the next slot."""
    put_descriptor(cpu, slot, 0, tx_context(mss_bytes(cpu)))
    return (slot + 1) & (cpu.tx_size - 1)


@kernel
def put_part(cpu: Any, slot: int, address: int, length_bytes: int, cut_bytes: int, last: bool) -> int:
    """Map headers or a fragment and describe it, 16 KiB a descriptor; returns the next slot, or MAP_FAILED.

    ``cut_bytes``: the payload of the whole send, or 0 where it is one frame.
    """
    iova = map_page(cpu, address, length_bytes, READ)
    if iova == MAP_FAILED:
        release_send_memory(cpu, address)
        return MAP_FAILED
    spend(cpu, TX_FRAGMENT)
    pages = (length_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT if is_block(cpu, address) else 0
    first, offset = slot, 0
    while offset < length_bytes:
        piece = min(MOST_BYTES_PER_DESCRIPTOR, length_bytes - offset)
        ends = last and offset + piece == length_bytes
        put_descriptor(cpu, slot, iova + offset, tx_part(piece, cut_bytes, ends))
        offset += piece
        slot = (slot + 1) & (cpu.tx_size - 1)
    entry = cpu.tx_buffers + (first << DESCRIPTOR_SHIFT)
    store_field(cpu, entry, address | pages << PAGES_SHIFT)
    store_field(cpu, entry + 8, iova)
    return slot


@kernel
def put_send(cpu: Any, first: int, payload_bytes: int, sequence: int) -> int:
    """Write headers and fragments into memory and describe them from slot ``first`` on; one frame needs no context.

    Returns the slot after the last, or, where a map failed, MAP_FAILED: then nothing stays mapped.
    """
    is_cut = payload_bytes > mss_bytes(cpu)
    slot = put_context(cpu, first) if is_cut else first
    cut_bytes = payload_bytes if is_cut else 0
    head = alloc_page(cpu)
    write_headers(cpu, head, sequence)
    after = put_part(cpu, slot, head, HEADER_BYTES, cut_bytes, False)
    offset = 0
    while after != MAP_FAILED and offset < payload_bytes:
        slot = after
        address = new_fragment(cpu, offset, payload_bytes, sequence)
        length_bytes = fragment_length(cpu, address, offset, payload_bytes)
        offset += length_bytes
        after = put_part(cpu, slot, address, length_bytes, cut_bytes, offset == payload_bytes)
    if after == MAP_FAILED:
        take_back(cpu, first, slot)
    return after


@kernel
def take_back(cpu: Any, first: int, end: int) -> None:
    """Unmap and free what was described from slot ``first`` up to ``end``."""
    while first != end:
        release_frame(cpu, cpu.tx_buffers + (first << DESCRIPTOR_SHIFT))
        first = (first + 1) & (cpu.tx_size - 1)


@kernel
def send_large(cpu: Any, pair: Any, payload_bytes: int, flow: int) -> None:
    """Queue one send of several frames, or one frame over a page; refused without room, dropped when a map fails."""
    if free_descriptors(cpu) < DESCRIPTORS_NEEDED:
        clean_transmitted(cpu)
    if free_descriptors(cpu) < DESCRIPTORS_NEEDED or memory_is_short(cpu):
        refuse_send(cpu, pair, payload_bytes)
        return
    sequence = begin_large_send(cpu, pair, payload_bytes, flow)
    first = load_field(cpu, cpu.driver + TX_NEXT_TO_USE)
    after = put_send(cpu, first, payload_bytes, sequence)
    if after == MAP_FAILED:
        return
    extra = (after - first - 1) & (cpu.tx_size - 1)
    entry = cpu.tx_buffers + (first << DESCRIPTOR_SHIFT)
    store_field(cpu, entry, load_field(cpu, entry) | extra << EXTRA_SHIFT)
    store_field(cpu, cpu.driver + TX_NEXT_TO_USE, after)
