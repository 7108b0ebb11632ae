"""Optimistic teardown: a page that is unmapped stays mapped for some milliseconds, and its next map finds it so.

The unmap is queued; a map of the same page in the same direction takes the old mapping over, and neither table nor
hypervisor is touched. What nobody took over by the time the queue is full or old (the limits of Linux's lazy mode) is
torn down, with one flush of the IOTLB. As in lazy mode the device can reach a page for so long after its unmap, and
the hypervisor, which is not told, goes on to take it for mapped.

Source: Amit et al., vIOMMU, USENIX ATC 2011, section 4 (from memory of its idea; no Linux has it).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DEFERRED_QUEUE, IOVA_ALLOC_DEFERRED
from vfbench.machine.cpu import area, load_field, now_ps, spend, store_field
from vfbench.machine.driver.state import FLUSH_TIMEOUT_JIFFIES, JIFFY_PS
from vfbench.machine.iommu.guest import clear_entry, flush_unmaps, map_page, unmap_page_later
from vfbench.machine.iommu.hypervisor import CALL_UNMAP
from vfbench.machine.iommu.table import (
    ACCESS_MASK,
    CALL_ENTRY_BYTES,
    FLUSH_COUNT,
    FLUSH_QUEUE,
    FLUSH_QUEUE_ENTRIES,
    FLUSH_SINCE,
    KEPT,
    KEPT_WORDS,
    PAGE_MASK,
    STATE,
)
from vfbench.machine.memory.block_pool import is_block
from vfbench.machine.memory.guest_memory import PAGE_SHIFT


@kernel
def kept_address(cpu: Any, slot: int, page: int, access: int) -> int:
    """Where the address is noted under which a page's last mapping of that direction still stands."""
    index = (page - cpu.first_page) >> PAGE_SHIFT
    return area(cpu, slot, KEPT) + (index * KEPT_WORDS + access - 1) * 8


@kernel
def can_be_kept(cpu: Any, page: int, access: int) -> bool:
    """A page of its own, mapped one way: blocks, and what is mapped both ways, are unmapped lazily."""
    return access < ACCESS_MASK and not is_block(cpu, page)


@kernel
def map_or_reuse(cpu: Any, slot: int, page: int, length_bytes: int, access: int) -> int:
    """Map a page; the mapping of before is taken out of the queue if it still stands."""
    if can_be_kept(cpu, page, access):
        noted = kept_address(cpu, slot, page, access)
        iova = load_field(cpu, noted)
        if iova != 0:
            spend(cpu, DEFERRED_QUEUE)
            store_field(cpu, noted, 0)
            return iova
    return map_page(cpu, slot, page, length_bytes, access, IOVA_ALLOC_DEFERRED)


@kernel
def unmap_or_keep(cpu: Any, slot: int, iova: int, page: int, length_bytes: int, access: int) -> None:
    """Unmap a page: it stays mapped until it is mapped again, or the queue is full or old."""
    since = load_field(cpu, area(cpu, slot, STATE) + FLUSH_SINCE)
    if now_ps(cpu) // JIFFY_PS >= since // JIFFY_PS + FLUSH_TIMEOUT_JIFFIES:
        tear_kept_down(cpu, slot)
    if not can_be_kept(cpu, page, access):
        unmap_page_later(cpu, slot, iova, page, length_bytes, access)
        return
    spend(cpu, DEFERRED_QUEUE)
    count = load_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT)
    if count == 0:
        store_field(cpu, area(cpu, slot, STATE) + FLUSH_SINCE, now_ps(cpu))
    store_field(cpu, kept_address(cpu, slot, page, access), iova)
    entry = area(cpu, slot, FLUSH_QUEUE) + count * CALL_ENTRY_BYTES
    store_field(cpu, entry, iova | CALL_UNMAP)
    store_field(cpu, entry + 8, page & PAGE_MASK | access)
    store_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT, count + 1)
    if count + 1 >= FLUSH_QUEUE_ENTRIES:
        tear_kept_down(cpu, slot)


@kernel
def still_stands(cpu: Any, slot: int, call: int, page: int) -> bool:
    """Whether nobody took over the mapping that an entry of the queue is about."""
    access = page & ACCESS_MASK
    if not can_be_kept(cpu, page & PAGE_MASK, access):
        return True
    return load_field(cpu, kept_address(cpu, slot, page & PAGE_MASK, access)) == call & PAGE_MASK


@kernel
def tear_kept_down(cpu: Any, slot: int) -> None:
    """Take out of the table what nobody took over, and flush the IOTLB once for all of it."""
    queue, left = area(cpu, slot, FLUSH_QUEUE), 0
    for i in range(load_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT)):
        call = load_field(cpu, queue + i * CALL_ENTRY_BYTES)
        page = load_field(cpu, queue + i * CALL_ENTRY_BYTES + 8)
        if not still_stands(cpu, slot, call, page):
            continue
        if can_be_kept(cpu, page & PAGE_MASK, page & ACCESS_MASK):
            store_field(cpu, kept_address(cpu, slot, page & PAGE_MASK, page & ACCESS_MASK), 0)
            clear_entry(cpu, slot, call & PAGE_MASK)
        store_field(cpu, queue + left * CALL_ENTRY_BYTES, call)
        store_field(cpu, queue + left * CALL_ENTRY_BYTES + 8, page)
        left += 1
    store_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT, left)
    flush_unmaps(cpu, slot)
