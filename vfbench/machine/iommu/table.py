"""The flat IOMMU page table in guest memory, as guest, hypervisor and device all read it, and what lies beside it.

One word for each IOVA page of the queue's range: the guest-physical page, and two bits.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import area
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT

READ = 1
WRITE = 2
ACCESS_MASK = READ | WRITE
PAGE_MASK = -PAGE_BYTES
IOVA_BASE = 1 << 40
RING_IOVA_PAGES = 32
"""Addresses behind the range, for the pages of two rings of 4096 descriptors of 16 bytes."""

STATE, TABLE, FREE_IOVAS, CALL_LIST, FLUSH_QUEUE, KEPT = range(6)
"""The areas of a mechanism that is an IOMMU, in the order in which it names its structures in guest memory."""

KEPT_WORDS = 2
"""Of KEPT, for each page of packet memory: under which address its last mapping of either direction still stands."""

IOVA_FREE_COUNT, CALL_COUNT, FLUSH_COUNT, FLUSH_SINCE, NOTIFIES = range(0, 40, 8)
"""Offsets of the words of STATE. TELLS: the hypervisor is notified of maps and unmaps."""

CALL_ENTRY_BYTES = 16
CALL_LIST_ENTRIES = 512
"""Entries of one batched call, as H_PUT_TCE_INDIRECT has (PAPR)."""
FLUSH_QUEUE_ENTRIES = 256
"""``IOVA_FQ_SIZE`` of the kernel's deferred unmapping (drivers/iommu/dma-iommu.c)."""


CALL_PAGES_SHIFT, CALL_PAGES_MASK = 4, 0x1F
"""In a call, or in an entry of the flush queue: how many pages in a row it is about; 0 stands for one."""


@kernel
def pages_in_call(call: int) -> int:
    """How many pages in a row an entry is about."""
    return max(1, (call >> CALL_PAGES_SHIFT) & CALL_PAGES_MASK)


@kernel
def entry_address(cpu: Any, slot: int, iova: int) -> int:
    """Guest-physical address of the table's entry for ``iova``."""
    return area(cpu, slot, TABLE) + ((iova - IOVA_BASE) >> PAGE_SHIFT) * 8


@kernel
def covers(cpu: Any, iova: int) -> bool:
    """Whether ``iova`` lies in the queue's range."""
    index = (iova - IOVA_BASE) >> PAGE_SHIFT
    return 0 <= index < cpu.pool_pages + RING_IOVA_PAGES
