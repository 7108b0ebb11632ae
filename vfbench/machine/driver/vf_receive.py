"""The VF driver's receive side, as ixgbevf has it.

Who owns what: the device moves the head and fills buffers; the driver moves the tail and cleans from
``next_to_clean``. A descriptor is the driver's again once DD is set. The two halves of an Rx page are used in
turn, and a page only while nobody else holds it (``ixgbevf_can_reuse_rx_page``).

A buffer's entry is two words: the buffer's guest-physical address, and the IOVA that the device knows its page by.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DESCRIPTOR_READ, DOORBELL_WRITE, RX_PACKET, SKB_COPY_FIXED
from vfbench.machine.cpu import copy, load_field, spend, store_field
from vfbench.machine.driver.gather import receive_part
from vfbench.machine.driver.gro import receive_packet
from vfbench.machine.driver.state import GATHERED, NEXT_TO_CLEAN, NEXT_TO_USE
from vfbench.machine.hooks import (
    MAP_FAILED,
    descriptor_done,
    map_page,
    run_hooks,
    sync_for_cpu,
    sync_for_device,
    unmap_page,
)
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import HALF_PAGE_BYTES, PAGE_BYTES
from vfbench.machine.memory.page_pool import (
    FRAGMENT_BYTES,
    alloc_fragment,
    alloc_page,
    get_page,
    refcount_address,
    release_page,
)
from vfbench.machine.slots import BEFORE_DOORBELL
from vfbench.machine.vf.descriptors import (
    DESCRIPTOR_BYTES,
    DESCRIPTOR_SHIFT,
    rx_ends_packet,
    rx_is_done,
    rx_length,
)
from vfbench.machine.vf.register_access import write_register
from vfbench.machine.vf.registers import RDT


@kernel
def page_is_free_again(cpu: Any, buffer: int) -> bool:
    """Only the driver holds the buffer's page: whoever had its other half has let it go."""
    return load_field(cpu, refcount_address(cpu, buffer)) == 1


@kernel
def device_address(cpu: Any, entry: int) -> int:
    """The address by which the device knows the half page of ``entry``."""
    return load_field(cpu, entry + 8) + (load_field(cpu, entry) & HALF_PAGE_BYTES)


@kernel
def copy_out(cpu: Any, buffer: int, length_bytes: int) -> int:
    """Copy a small packet into memory of its own, so that its half page serves again; 0 if there is no memory."""
    target = alloc_fragment(cpu, FRAGMENT_BYTES)
    if target != 0:
        spend(cpu, SKB_COPY_FIXED)
        copy(cpu, target, buffer, length_bytes)
    return target


@kernel
def give_up_page(cpu: Any, entry: int) -> None:
    """Unmap the buffer's page; the driver's hold passes to the packet, and the slot is empty until the refill."""
    buffer = load_field(cpu, entry)
    unmap_page(cpu, load_field(cpu, entry + 8), buffer & -PAGE_BYTES, PAGE_BYTES, WRITE)
    store_field(cpu, entry, 0)


@kernel
def take_packet(cpu: Any, entry: int, length_bytes: int, alone: bool) -> int:
    """Take the packet out of its buffer, settle what becomes of the page; returns where the packet is, 0 if nowhere.

    Not ``alone``: it is a part of a packet, and is never copied.
    """
    buffer = load_field(cpu, entry)
    if alone and length_bytes <= cpu.copybreak_bytes:
        return copy_out(cpu, buffer, length_bytes)
    if cpu.reuse and page_is_free_again(cpu, buffer):
        get_page(cpu, buffer)
        store_field(cpu, entry, buffer ^ HALF_PAGE_BYTES)
    else:
        give_up_page(cpu, entry)
    return buffer


@kernel
def receive_one(cpu: Any, pair: Any, application: Any) -> int:
    """Take the next packet, or part of one, if the device is done with its descriptor; returns 1 if so, else 0."""
    slot = load_field(cpu, cpu.driver + NEXT_TO_CLEAN)
    descriptor = cpu.rx_ring + (slot << DESCRIPTOR_SHIFT)
    entry = cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT)
    status = load_field(cpu, descriptor + 8)
    if not rx_is_done(status) or load_field(cpu, entry) == 0:
        return 0
    spend(cpu, DESCRIPTOR_READ)
    descriptor_done(cpu, descriptor, DESCRIPTOR_BYTES)
    length_bytes = rx_length(status)
    sync_for_cpu(cpu, device_address(cpu, entry), load_field(cpu, entry), length_bytes)
    ends = rx_ends_packet(status)
    alone = ends and not (cpu.gathers and load_field(cpu, cpu.driver + GATHERED) != 0)
    if alone and not cpu.gro:
        spend(cpu, RX_PACKET)
    packet = take_packet(cpu, entry, length_bytes, alone)
    store_field(cpu, cpu.driver + NEXT_TO_CLEAN, (slot + 1) & (cpu.rx_size - 1))
    if not alone:
        # The budget counts packets (ixgbevf_clean_rx_irq).
        pair.poll_left += not ends
        receive_part(cpu, pair, application, slot, 0, packet, length_bytes, ends)
    elif packet != 0:
        receive_packet(cpu, pair, application, slot, packet, length_bytes)
    return 1


@kernel
def map_buffer(cpu: Any, entry: int, buffer: int) -> bool:
    """Map a fresh page for the device and keep both its addresses; False, and the page let go, when that fails."""
    iova = map_page(cpu, buffer, PAGE_BYTES, WRITE)
    if iova == MAP_FAILED:
        release_page(cpu, buffer)
        return False
    store_field(cpu, entry, buffer)
    store_field(cpu, entry + 8, iova)
    return True


@kernel
def take_recycled(cpu: Any, slot: int, empty: int) -> bool:
    """Without a fresh page, a recycled one of the ``empty`` slots from ``slot`` on moves up (``next_to_alloc``)."""
    entry, mask = cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT), cpu.rx_size - 1
    for i in range(1, empty):
        other = cpu.rx_buffers + (((slot + i) & mask) << DESCRIPTOR_SHIFT)
        if load_field(cpu, other) != 0:
            store_field(cpu, entry, load_field(cpu, other))
            store_field(cpu, entry + 8, load_field(cpu, other + 8))
            store_field(cpu, other, 0)
            return True
    return False


@kernel
def find_buffer(cpu: Any, slot: int, empty: int) -> bool:
    """A buffer for a slot that has none: a fresh page, or a recycled one; False when there is neither."""
    buffer = alloc_page(cpu)
    if buffer != 0 and map_buffer(cpu, cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT), buffer):
        return True
    return take_recycled(cpu, slot, empty)


@kernel
def fill_slot(cpu: Any, slot: int, empty: int) -> bool:
    """Give the slot's buffer to the device, another if it has none; ``empty`` slots begin here. False without one."""
    entry = cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT)
    if load_field(cpu, entry) == 0 and not find_buffer(cpu, slot, empty):
        return False
    buffer = load_field(cpu, entry)
    iova = device_address(cpu, entry)
    sync_for_device(cpu, iova, buffer, HALF_PAGE_BYTES)
    descriptor = cpu.rx_ring + (slot << DESCRIPTOR_SHIFT)
    store_field(cpu, descriptor, iova)
    store_field(cpu, descriptor + 8, 0)
    return True


@kernel
def empty_slots(cpu: Any) -> int:
    """Slots cleaned and not given to the device again."""
    cleaned = load_field(cpu, cpu.driver + NEXT_TO_CLEAN)
    return (cleaned - load_field(cpu, cpu.driver + NEXT_TO_USE) - 1) & (cpu.rx_size - 1)


@kernel
def refill(cpu: Any, pair: Any) -> None:
    """Give every empty slot to the device again, then bump the tail once."""
    slot = load_field(cpu, cpu.driver + NEXT_TO_USE)
    filled = 0
    empty = empty_slots(cpu)
    for _ in range(empty):
        if not fill_slot(cpu, slot, empty - filled):
            break
        slot = (slot + 1) & (cpu.rx_size - 1)
        filled += 1
    if filled == 0:
        return
    # The next descriptor still says what it said last time round: clear it, or its stale DD bit would look completed.
    store_field(cpu, cpu.rx_ring + (slot << DESCRIPTOR_SHIFT) + 8, 0)
    store_field(cpu, cpu.driver + NEXT_TO_USE, slot)
    run_hooks(cpu, BEFORE_DOORBELL)
    spend(cpu, DOORBELL_WRITE)
    write_register(cpu, pair, RDT, slot)
