"""Runs of eight pages for the bytes of large sends: ``SKB_FRAG_PAGE_ORDER``, order 3 (net/core/sock.c).

A quarter of packet memory is set aside for them. A free block's second count word names the next free one, the first
counts references as any page's does. Where none is left, the stack takes single pages (``skb_page_frag_refill``).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import PAGE_ALLOC, PAGE_FREE
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.state import FREE_BLOCK
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.memory.page_pool import refcount_address, release_page

BLOCK_PAGES = 8
SEND_BLOCK_BYTES = BLOCK_PAGES * PAGE_BYTES


@kernel
def is_block(cpu: Any, address: int) -> bool:
    """Whether ``address`` lies in a block, not in a single page."""
    return cpu.first_block != 0 and address >= cpu.first_block


@kernel
def alloc_block(cpu: Any) -> int:
    """Take a free block; 0 when there is none."""
    block = load_field(cpu, cpu.driver + FREE_BLOCK)
    if block != 0:
        spend(cpu, PAGE_ALLOC)
        counter = refcount_address(cpu, block)
        store_field(cpu, cpu.driver + FREE_BLOCK, load_field(cpu, counter + 8))
        store_field(cpu, counter, 1)
    return block


@kernel
def release_send_memory(cpu: Any, address: int) -> None:
    """Let go of a fragment of a send: a block or a single page."""
    if not is_block(cpu, address):
        release_page(cpu, address)
        return
    spend(cpu, PAGE_FREE)
    counter = refcount_address(cpu, address)
    store_field(cpu, counter, 0)
    store_field(cpu, counter + 8, load_field(cpu, cpu.driver + FREE_BLOCK))
    store_field(cpu, cpu.driver + FREE_BLOCK, address)
