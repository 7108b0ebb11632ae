"""What the hypervisor does when the guest's IOMMU driver calls it.

A page mapped for the device to write carries MAPPED until it is unmapped; then it counts as dirty, written or not, for
the hypervisor cannot know. The exit's own price is that of its class; the work behind it is the same for all classes.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    INVALIDATION_LOCKED,
    IOMMU_SHADOW_MAP,
    IOMMU_SHADOW_UNMAP,
    IOTLB_INVALIDATE,
)
from vfbench.machine.cpu import area, spend
from vfbench.machine.hooks import page_unmapped
from vfbench.machine.host import (
    INVALIDATE_ALL,
    forget_mapping,
    host_area,
    host_load,
    note_mapped,
    note_unmapped,
    queue_invalidation,
    work_for_guest,
)
from vfbench.machine.iommu.table import (
    CALL_ENTRY_BYTES,
    CALL_LIST,
    FLUSH_QUEUE,
    PAGE_MASK,
    RING_IOVA_PAGES,
    TABLE,
    WRITE,
    pages_in_call,
)
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.memory.words import load_word
from vfbench.machine.sides import primitive

EXIT_CALLS = 1
"""Carry out the first N entries of the call list."""
EXIT_FLUSH = 2
"""Carry out the first N entries of the flush queue and flush the whole IOTLB."""

NOBODY = 0
"""``vfbench.mechanism.EXIT_CLASSES``: the guest does not leave."""
CALL_MAP = 1
CALL_UNMAP = 2

NOTES_MAPS, UNMAPS_ARE_WRITES = 0, 1
"""The mechanism's structures on the host, a word each: whether a map marks its page, and an unmap makes it dirty."""


@primitive
def invalidate(cpu: Any, iova: int) -> None:
    """Invalidate one IOTLB entry, or all with ``INVALIDATE_ALL``, and wait for it."""
    queue_invalidation(cpu, iova)
    spend(cpu, IOTLB_INVALIDATE)
    cpu.invalidation_used_ps += cpu.cost[INVALIDATION_LOCKED]
    cpu.clock_ps += cpu.invalidation_wait_ps


@primitive
def invalidate_run(cpu: Any, iova: int, pages: int) -> None:
    """One invalidation of pages in a row (an address mask), and one wait."""
    for i in range(1, pages):
        queue_invalidation(cpu, iova + (i << PAGE_SHIFT))
    invalidate(cpu, iova)


@primitive
def invalidate_for_guest(host: Any, iova: int) -> None:
    """The same, while the guest waits for its call to be carried out."""
    invalidate(host, iova)


@kernel
def charge(host: Any, slot: int, cost: int) -> None:
    """Work for the guest's call, which costs nothing where nobody carries it out: the upper bound."""
    if host.exit_class[slot] != NOBODY:
        work_for_guest(host, cost)


@kernel
def end_mapping(host: Any, slot: int, page: int) -> None:
    """The device may no longer write ``page``."""
    page_unmapped(host, page)
    if load_word(host_area(host, slot, UNMAPS_ARE_WRITES), 0):
        note_unmapped(host, page)
    else:
        forget_mapping(host, page)


@kernel
def carry_out_call(host: Any, slot: int, entry: int) -> None:
    """One entry of the call list: mirror it to the host's table and note what it means for tracking."""
    call, target = host_load(host, entry), host_load(host, entry + 8)
    pages = pages_in_call(call)
    if call & CALL_MAP:
        host.maps += 1
        for i in range(pages):
            charge(host, slot, IOMMU_SHADOW_MAP)
            if target & WRITE and load_word(host_area(host, slot, NOTES_MAPS), 0):
                note_mapped(host, (target >> PAGE_SHIFT) + i)
        return
    host.unmaps += 1
    for i in range(1, pages):
        queue_invalidation(host, (call & PAGE_MASK) + (i << PAGE_SHIFT))
    for _ in range(pages):
        charge(host, slot, IOMMU_SHADOW_UNMAP)
    invalidate_for_guest(host, call & PAGE_MASK)
    if target & WRITE:
        for i in range(pages):
            end_mapping(host, slot, (target >> PAGE_SHIFT) + i)


@kernel
def carry_out_flush(host: Any, slot: int, count: int) -> None:
    """All queued unmaps, with one invalidation of everything."""
    for i in range(count):
        entry = area(host, slot, FLUSH_QUEUE) + i * CALL_ENTRY_BYTES
        call, target = host_load(host, entry), host_load(host, entry + 8)
        host.unmaps += 1
        for page in range(pages_in_call(call)):
            charge(host, slot, IOMMU_SHADOW_UNMAP)
            if target & WRITE:
                end_mapping(host, slot, (target >> PAGE_SHIFT) + page)
    invalidate_for_guest(host, INVALIDATE_ALL)


@kernel
def carry_out(host: Any, slot: int, reason: int, argument: int) -> int:
    """The handler of the guest's calls."""
    if reason == EXIT_CALLS:
        for i in range(argument):
            carry_out_call(host, slot, area(host, slot, CALL_LIST) + i * CALL_ENTRY_BYTES)
    else:
        carry_out_flush(host, slot, argument)
    return 0


@kernel
def walk_table(host: Any, slot: int) -> int:
    """Tracking starts: the hypervisor walks the guest's table and marks each page that the device may write.

    Returns how many entries it read.
    """
    entries = host.pool_pages + RING_IOVA_PAGES
    for i in range(entries):
        entry = host_load(host, area(host, slot, TABLE) + i * 8)
        if entry & WRITE:
            note_mapped(host, entry >> PAGE_SHIFT)
    return entries
