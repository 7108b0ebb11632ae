"""The guest's packet memory: whole pages with a reference count each, and a free list.

Source: Linux's per-CPU page lists (hot pages first: ``lifo``) or a long free list that turns round (``fifo``),
``page_ref_count`` and ``page_frag`` (a page handed out in pieces). All of it lies in guest memory, where the
driver's stores show in the dirty log.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import PAGE_ALLOC, PAGE_FREE
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.state import FRAGMENT_PAGE, FRAGMENT_USED, FREE_HEAD, FREE_TAIL
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT

FRAGMENT_BYTES = 1024
"""What a copied-out packet takes: 256 bytes of data, headroom and ``skb_shared_info``, from the 1 KiB class."""


@kernel
def refcount_address(cpu: Any, address: int) -> int:
    """Address of the reference count of the page of ``address``."""
    return cpu.page_refcounts + ((address - cpu.first_page) >> PAGE_SHIFT) * 8


@kernel
def alloc_page(cpu: Any) -> int:
    """Take a free page, held once; returns its address or 0 when there is none."""
    head = load_field(cpu, cpu.driver + FREE_HEAD)
    tail = load_field(cpu, cpu.driver + FREE_TAIL)
    if head == tail:
        return 0
    spend(cpu, PAGE_ALLOC)
    if cpu.pages_fifo:
        page = load_field(cpu, cpu.free_pages + (head % cpu.pool_pages) * 8)
        store_field(cpu, cpu.driver + FREE_HEAD, head + 1)
    else:
        page = load_field(cpu, cpu.free_pages + (tail - 1) * 8)
        store_field(cpu, cpu.driver + FREE_TAIL, tail - 1)
    store_field(cpu, refcount_address(cpu, page), 1)
    return page


@kernel
def get_page(cpu: Any, address: int) -> None:
    """One more holder of the page of ``address``."""
    counter = refcount_address(cpu, address)
    store_field(cpu, counter, load_field(cpu, counter) + 1)


@kernel
def release_page(cpu: Any, address: int) -> None:
    """One holder fewer of the page of ``address``; the last one frees it."""
    counter = refcount_address(cpu, address)
    references = load_field(cpu, counter) - 1
    store_field(cpu, counter, references)
    if references == 0:
        spend(cpu, PAGE_FREE)
        tail = load_field(cpu, cpu.driver + FREE_TAIL)
        slot = tail % cpu.pool_pages if cpu.pages_fifo else tail
        store_field(cpu, cpu.free_pages + slot * 8, address & -PAGE_BYTES)
        store_field(cpu, cpu.driver + FREE_TAIL, tail + 1)


@kernel
def alloc_fragment(cpu: Any, size_bytes: int) -> int:
    """Take a piece of ``size_bytes`` of the current fragment page, or of a new one when it is used up; 0 if none."""
    page = load_field(cpu, cpu.driver + FRAGMENT_PAGE)
    used = load_field(cpu, cpu.driver + FRAGMENT_USED)
    if page == 0 or used + size_bytes > PAGE_BYTES:
        if page != 0:
            release_page(cpu, page)
        page, used = alloc_page(cpu), 0
        store_field(cpu, cpu.driver + FRAGMENT_PAGE, page)
        if page == 0:
            return 0
    get_page(cpu, page)
    store_field(cpu, cpu.driver + FRAGMENT_USED, used + size_bytes)
    return page + used
