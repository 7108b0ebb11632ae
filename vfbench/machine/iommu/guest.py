"""An IOMMU as the guest sees it: a page table and a list of free addresses in guest memory, and calls that notify the
hypervisor of both.

The table is flat: one word for each IOVA page of the queue's range, the guest-physical page and two bits. Calls
are written to a list in guest memory and handed over with one exit, as H_PUT_TCE_INDIRECT does (PAPR); with one
entry a call that is VT-d's caching mode, where each map and each unmap is an invalidation that exits (VT-d 6.1).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    DEFERRED_QUEUE,
    IOVA_FREE,
    PAGE_TABLE_MAP,
    PAGE_TABLE_MAP_NEXT,
    PAGE_TABLE_UNMAP,
)
from vfbench.machine.cpu import area, load_field, now_ps, spend, store_field, word
from vfbench.machine.driver.state import FLUSH_TIMEOUT_JIFFIES, JIFFY_PS
from vfbench.machine.host import INVALIDATE_ALL, exit_to_hypervisor
from vfbench.machine.iommu.hypervisor import (
    CALL_MAP,
    CALL_UNMAP,
    EXIT_CALLS,
    EXIT_FLUSH,
    invalidate,
    invalidate_run,
)
from vfbench.machine.iommu.table import (
    CALL_COUNT,
    CALL_ENTRY_BYTES,
    CALL_LIST,
    CALL_PAGES_MASK,
    CALL_PAGES_SHIFT,
    FLUSH_COUNT,
    FLUSH_QUEUE,
    FLUSH_QUEUE_ENTRIES,
    FLUSH_SINCE,
    FREE_IOVAS,
    IOVA_BASE,
    IOVA_FREE_COUNT,
    NOTIFIES,
    PAGE_MASK,
    READ,
    STATE,
    WRITE,
    entry_address,
)
from vfbench.machine.memory.block_pool import is_block
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT

ENTRIES = 0
"""The mechanism's word: maps and unmaps handed over with one exit."""


@kernel
def alloc_iova(cpu: Any, slot: int, search: int) -> int:
    """Take a free IOVA page; the range is as large as packet memory and rings, so there always is one.

    ``search``: the cost of finding it, IOVA_ALLOC or, where addresses come back many at once, IOVA_ALLOC_DEFERRED.
    """
    spend(cpu, search)
    count = load_field(cpu, area(cpu, slot, STATE) + IOVA_FREE_COUNT) - 1
    store_field(cpu, area(cpu, slot, STATE) + IOVA_FREE_COUNT, count)
    return load_field(cpu, area(cpu, slot, FREE_IOVAS) + count * 8)


@kernel
def free_iova(cpu: Any, slot: int, iova: int) -> None:
    """Give an IOVA page back."""
    spend(cpu, IOVA_FREE)
    count = load_field(cpu, area(cpu, slot, STATE) + IOVA_FREE_COUNT)
    store_field(cpu, area(cpu, slot, FREE_IOVAS) + count * 8, iova)
    store_field(cpu, area(cpu, slot, STATE) + IOVA_FREE_COUNT, count + 1)


@kernel
def set_entry(cpu: Any, slot: int, iova: int, page: int, access: int) -> None:
    """Point ``iova`` at guest-physical ``page`` with READ and WRITE bits of ``access``."""
    spend(cpu, PAGE_TABLE_MAP)
    store_field(cpu, entry_address(cpu, slot, iova), page | access)


@kernel
def clear_entry(cpu: Any, slot: int, iova: int) -> None:
    """Take the translation of ``iova`` out of the table; the device may still hold it in its IOTLB."""
    spend(cpu, PAGE_TABLE_UNMAP)
    store_field(cpu, entry_address(cpu, slot, iova), 0)


@kernel
def is_armed(cpu: Any, slot: int) -> bool:
    """Whether the hypervisor asked to be notified of mappings."""
    return load_field(cpu, area(cpu, slot, STATE) + NOTIFIES) != 0


@kernel
def flush_calls(cpu: Any, slot: int) -> None:
    """Hand the calls collected so far to the hypervisor in one exit."""
    count = load_field(cpu, area(cpu, slot, STATE) + CALL_COUNT)
    if count != 0:
        store_field(cpu, area(cpu, slot, STATE) + CALL_COUNT, 0)
        exit_to_hypervisor(cpu, slot, EXIT_CALLS, count)


@kernel
def queue_call(cpu: Any, slot: int, kind: int, iova: int, page: int) -> None:
    """Queue a call for the hypervisor, by the next doorbell: ``iova`` was mapped to, or unmapped from, ``page``."""
    count = load_field(cpu, area(cpu, slot, STATE) + CALL_COUNT)
    entry = area(cpu, slot, CALL_LIST) + count * CALL_ENTRY_BYTES
    store_field(cpu, entry, iova | kind)
    store_field(cpu, entry + 8, page)
    store_field(cpu, area(cpu, slot, STATE) + CALL_COUNT, count + 1)
    if count + 1 >= word(cpu, slot, ENTRIES):
        flush_calls(cpu, slot)


@kernel
def pages_of(length_bytes: int) -> int:
    """Pages that a mapping of so many bytes from a page's begin on covers."""
    return (length_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT


@kernel
def map_run(cpu: Any, slot: int, block: int, length_bytes: int, access: int, search: int) -> int:
    """Map pages in a row with one address and one call, ``dma_map_page`` of a compound page.

    A block's addresses are its own, as a magazine of that size keeps them (``iova_rcache``): only the search is paid.
    """
    spend(cpu, search)
    spend(cpu, PAGE_TABLE_MAP)
    iova, pages = in_place_iova(cpu, block), pages_of(length_bytes)
    for i in range(pages):
        if i > 0:
            spend(cpu, PAGE_TABLE_MAP_NEXT)
        store_field(cpu, entry_address(cpu, slot, iova + i * PAGE_BYTES), block + i * PAGE_BYTES | access)
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_MAP | pages << CALL_PAGES_SHIFT, iova, block & PAGE_MASK | access)
    return iova


@kernel
def clear_run(cpu: Any, slot: int, iova: int, pages: int) -> None:
    """Take the translations of pages in a row out of the table."""
    spend(cpu, PAGE_TABLE_UNMAP)
    for i in range(pages):
        store_field(cpu, entry_address(cpu, slot, iova + i * PAGE_BYTES), 0)


@kernel
def unmap_run(cpu: Any, slot: int, iova: int, block: int, length_bytes: int, access: int) -> None:
    """Unmap pages in a row strictly, with one invalidation of all (page-selective, with an address mask)."""
    pages = pages_of(length_bytes)
    clear_run(cpu, slot, iova, pages)
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_UNMAP | pages << CALL_PAGES_SHIFT, iova, block & PAGE_MASK | access)
    else:
        invalidate_run(cpu, iova, pages)
    spend(cpu, IOVA_FREE)


@kernel
def map_page(cpu: Any, slot: int, page: int, length_bytes: int, access: int, search: int) -> int:
    """Map a page, or a block, for the device, ``dma_map_page``; returns its IOVA. ``search`` as for ``alloc_iova``."""
    if is_block(cpu, page):
        return map_run(cpu, slot, page, length_bytes, access, search)
    iova = alloc_iova(cpu, slot, search)
    set_entry(cpu, slot, iova, page & PAGE_MASK, access)
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_MAP, iova, page & PAGE_MASK | access)
    return iova


@kernel
def unmap_page(cpu: Any, slot: int, iova: int, page: int, length_bytes: int, access: int) -> None:
    """Unmap strictly: translation and IOTLB entry are gone before the address is used again."""
    if is_block(cpu, page):
        unmap_run(cpu, slot, iova, page, length_bytes, access)
        return
    clear_entry(cpu, slot, iova)
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_UNMAP, iova, page & PAGE_MASK | access)
    else:
        invalidate(cpu, iova)
    free_iova(cpu, slot, iova)


@kernel
def unmap_page_later(cpu: Any, slot: int, iova: int, page: int, length_bytes: int, access: int) -> None:
    """Unmap lazily: the IOTLB is flushed for many at once, and until then the device can still write.

    Source: ``queue_iova`` and ``fq_flush_timeout`` (drivers/iommu/dma-iommu.c): 256 entries, or a timer that the
    first of them starts. The timer's flush is done at the first unmap after it was due, without that unmap.
    """
    kind = CALL_UNMAP
    if is_block(cpu, page):
        clear_run(cpu, slot, iova, pages_of(length_bytes))
        kind |= pages_of(length_bytes) << CALL_PAGES_SHIFT
    else:
        clear_entry(cpu, slot, iova)
    spend(cpu, DEFERRED_QUEUE)
    if (
        now_ps(cpu) // JIFFY_PS
        >= load_field(cpu, area(cpu, slot, STATE) + FLUSH_SINCE) // JIFFY_PS + FLUSH_TIMEOUT_JIFFIES
    ):
        flush_unmaps(cpu, slot)
    count = load_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT)
    if count == 0:
        store_field(cpu, area(cpu, slot, STATE) + FLUSH_SINCE, now_ps(cpu))
    entry = area(cpu, slot, FLUSH_QUEUE) + count * CALL_ENTRY_BYTES
    store_field(cpu, entry, iova | kind)
    store_field(cpu, entry + 8, page & PAGE_MASK | access)
    store_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT, count + 1)
    if count + 1 >= FLUSH_QUEUE_ENTRIES:
        flush_unmaps(cpu, slot)


@kernel
def flush_unmaps(cpu: Any, slot: int) -> None:
    """Flush the IOTLB once for all unmaps queued, then give their addresses back."""
    count = load_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT)
    if count == 0:
        return
    store_field(cpu, area(cpu, slot, STATE) + FLUSH_COUNT, 0)
    if is_armed(cpu, slot):
        exit_to_hypervisor(cpu, slot, EXIT_FLUSH, count)
    else:
        invalidate(cpu, INVALIDATE_ALL)
    for i in range(count):
        call = load_field(cpu, area(cpu, slot, FLUSH_QUEUE) + i * CALL_ENTRY_BYTES)
        if (call >> CALL_PAGES_SHIFT) & CALL_PAGES_MASK:
            spend(cpu, IOVA_FREE)
        else:
            free_iova(cpu, slot, call & PAGE_MASK)


@kernel
def map_in_place(cpu: Any, slot: int, page: int, access: int) -> int:
    """Map a page of packet memory for good, at an address that follows from the page's own."""
    iova = in_place_iova(cpu, page)
    set_entry(cpu, slot, iova, page & PAGE_MASK, access)
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_MAP, iova, page & PAGE_MASK | access)
    return iova


@kernel
def in_place_iova(cpu: Any, page: int) -> int:
    """The IOVA under which a page of packet memory is mapped in place."""
    return IOVA_BASE + ((page - cpu.first_page) & PAGE_MASK)


@kernel
def map_rings(cpu: Any, slot: int) -> None:
    """Map the pages of both descriptor rings for good, both ways, as ``dma_alloc_coherent`` does.

    They take the last addresses of the range, which are never handed out.
    """
    iova = IOVA_BASE + (cpu.pool_pages << PAGE_SHIFT)
    for ring, size in ((cpu.rx_ring, cpu.rx_size), (cpu.tx_ring, cpu.tx_size)):
        page = ring
        while page < ring + size * 16:
            set_entry(cpu, slot, iova, page, READ | WRITE)
            if is_armed(cpu, slot):
                queue_call(cpu, slot, CALL_MAP, iova, page | READ | WRITE)
            page += PAGE_BYTES
            iova += PAGE_BYTES
