"""The flat IOMMU page table in guest memory, as guest, hypervisor and device all read it."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT

READ = 1
WRITE = 2
ACCESS_MASK = READ | WRITE
PAGE_MASK = -PAGE_BYTES
RING_IOVA_PAGES = 32
"""Addresses behind the range, for the pages of two rings of 4096 descriptors of 16 bytes."""


@kernel
def entry_address(cpu: Any, iova: int) -> int:
    """Guest-physical address of the table's entry for ``iova``."""
    return cpu.page_table + ((iova - cpu.iova_base) >> PAGE_SHIFT) * 8


@kernel
def covers(cpu: Any, iova: int) -> bool:
    """Whether ``iova`` lies in the queue's range."""
    index = (iova - cpu.iova_base) >> PAGE_SHIFT
    return 0 <= index < cpu.iova_pages + RING_IOVA_PAGES
