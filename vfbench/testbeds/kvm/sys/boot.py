"""How a vCPU starts: long mode, paging on, the first 4 GiB mapped to themselves, no firmware.

Source: Intel SDM volume 3, 4.5 (four-level paging) and 10.8.5 (initialising IA-32e mode). There is no IDT, so
any exception in the guest ends as a triple fault, which KVM reports as KVM_EXIT_SHUTDOWN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vfbench.testbeds.kvm.sys import abi

PAGE_BYTES = 4096
LARGE_PAGE_BYTES = 2 << 20
MAPPED_BYTES = 4 << 30

# The first 2 MiB of guest memory belong to the testbed; everything from FREE_BASE on is the guest program's.
PAGE_TABLES_BASE = 0x1000
PAGE_TABLES_END = 0x7000
STACK_BASE = 0x10000
STACK_TOP = 0x80000
CODE_BASE = 0x80000
CODE_END = 0x100000
RECORDS_BASE = 0x100000
FREE_BASE = 0x200000

# Where the guest's entry leaves its result (numba's native convention: result pointer, exception pointer).
RESULT_GPA = STACK_TOP - 64
EXCEPTION_GPA = STACK_TOP - 56

_PRESENT = 1 << 0
_WRITABLE = 1 << 1
_ACCESSED = 1 << 5
_DIRTY = 1 << 6
_LARGE = 1 << 7

_CR0_PE = 1 << 0
_CR0_NE = 1 << 5
_CR0_WP = 1 << 16
_CR0_PG = 1 << 31
_CR4_PAE = 1 << 5
_EFER_LME = 1 << 8
_EFER_LMA = 1 << 10

_CODE_READ_ACCESSED = 0xB
_DATA_WRITE_ACCESSED = 0x3


def write_page_tables(memory: NDArray[np.uint8]) -> None:
    """Identity-map 4 GiB with pages of 2 MiB: one PML4, one PDPT, four page directories.

    Accessed and dirty bits are set beforehand. Else the walker sets them, and pages that the program never
    stored to turn up in the dirty log.
    """
    directories = MAPPED_BYTES // (1 << 30)
    link = _PRESENT | _WRITABLE | _ACCESSED
    tables = memory[PAGE_TABLES_BASE:PAGE_TABLES_END].view(np.uint64).reshape(-1, 512)
    tables[:] = 0
    tables[0, 0] = (PAGE_TABLES_BASE + PAGE_BYTES) | link
    for directory in range(directories):
        tables[1, directory] = (PAGE_TABLES_BASE + (2 + directory) * PAGE_BYTES) | link
    large_pages = np.arange(directories * 512, dtype=np.uint64) * np.uint64(LARGE_PAGE_BYTES)
    tables[2 : 2 + directories] = (large_pages | np.uint64(link | _DIRTY | _LARGE)).reshape(-1, 512)


def _segment(kind: int, selector: int, *, code: bool) -> abi.kvm_segment:
    segment = abi.kvm_segment(limit=0xFFFFFFFF, selector=selector, type=kind, present=1, s=1, g=1)
    segment.l, segment.db = code, not code
    return segment


def enter_long_mode(sregs: abi.kvm_sregs) -> None:
    """Change the reset state to 64-bit mode at ring 0, with flat segments and paging on."""
    sregs.cr3 = PAGE_TABLES_BASE
    sregs.cr4 = _CR4_PAE
    sregs.cr0 = _CR0_PE | _CR0_NE | _CR0_WP | _CR0_PG
    sregs.efer = _EFER_LME | _EFER_LMA
    sregs.cs = _segment(_CODE_READ_ACCESSED, 0x08, code=True)
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(sregs, name, _segment(_DATA_WRITE_ACCESSED, 0x10, code=False))
    sregs.gdt.limit = 0
    sregs.idt.limit = 0
