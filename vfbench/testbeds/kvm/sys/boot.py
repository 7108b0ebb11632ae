"""How a vCPU starts: long mode, paging on, memory and the device's registers mapped to themselves, no firmware.

Page 0 and what has no memory behind it are not mapped: an access there is a page fault, whose handler hands its
address (CR2) to user space by three ports and halts. So do a general protection fault and an invalid opcode, with
the instruction's address; any other exception ends as a triple fault, which KVM reports as KVM_EXIT_SHUTDOWN.

Source: Intel SDM volume 3, 4.5 (four-level paging), 6.14 (exceptions in 64-bit mode) and 10.8.5 (initialising IA-32e
mode).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vfbench.testbeds.kvm.sys import abi
from vfbench.testbeds.kvm.sys.registers import FAULT_HIGH_PORT, FAULT_LOW_PORT, FAULT_PORT, MMIO_BASE

PAGE_BYTES = 4096
LARGE_PAGE_BYTES = 2 << 20
MAPPED_BYTES = 4 << 30

# The first 2 MiB of guest memory belong to the testbed; everything from FREE_BASE on is the guest program's.
PAGE_TABLES_BASE = 0x1000
PAGE_TABLES_END = 0x8000
GDT_BASE = 0x8000
IDT_BASE = 0x9000
HANDLERS_BASE = 0xA000
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

# Descriptors of the segments that `enter_long_mode` loads: an exception loads CS again.
_GDT = (0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
_INTERRUPT_GATE = 0x8E00 << 32
_CODE_SELECTOR = 0x08

INVALID_OPCODE, GENERAL_PROTECTION, PAGE_FAULT = 6, 13, 14
_READ_ADDRESS = {
    INVALID_OPCODE: bytes([0x48, 0x8B, 0x04, 0x24]),  # mov (%rsp), %rax
    GENERAL_PROTECTION: bytes([0x48, 0x8B, 0x44, 0x24, 0x08]),  # mov 8(%rsp), %rax: above the error code
    PAGE_FAULT: bytes([0x0F, 0x20, 0xD0]),  # mov %cr2, %rax
}
_HANDLER_BYTES = 64

_CODE_READ_ACCESSED = 0xB
_DATA_WRITE_ACCESSED = 0x3


def write_page_tables(memory: NDArray[np.uint8]) -> None:
    """Identity-map `memory` but for its page 0, and the device's registers.

    One PML4, one PDPT, four page directories with pages of 2 MiB, and a table of small pages for the first.
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
    mapped = (large_pages < len(memory)) | (large_pages == MMIO_BASE)
    entries = np.where(mapped, large_pages | np.uint64(link | _DIRTY | _LARGE), np.uint64(0))
    tables[2 : 2 + directories] = entries.reshape(-1, 512)
    small = 2 + directories
    tables[2, 0] = (PAGE_TABLES_BASE + small * PAGE_BYTES) | link
    tables[small, 1:] = np.arange(1, 512, dtype=np.uint64) * np.uint64(PAGE_BYTES) | np.uint64(link | _DIRTY)


def write_exception_handlers(memory: NDArray[np.uint8]) -> None:
    """The segment and interrupt descriptor tables, and a handler for each exception that says where it happened."""
    memory[GDT_BASE : GDT_BASE + 8 * len(_GDT)].view(np.uint64)[:] = _GDT
    gates = memory[IDT_BASE : IDT_BASE + PAGE_BYTES].view(np.uint64).reshape(-1, 2)
    gates[:] = 0
    for number, (vector, read_address) in enumerate(_READ_ADDRESS.items()):
        start = HANDLERS_BASE + number * _HANDLER_BYTES
        code = read_address + _report(vector)
        memory[start : start + len(code)] = list(code)
        gates[vector, 0] = start & 0xFFFF | _CODE_SELECTOR << 16 | _INTERRUPT_GATE | (start >> 16) << 48


def _report(vector: int) -> bytes:
    """Both halves of %rax by a port each, then the vector by one that ends the run."""
    return bytes(
        [
            *(0xE7, FAULT_LOW_PORT),  # out %eax, $FAULT_LOW_PORT
            *(0x48, 0xC1, 0xE8, 0x20),  # shr $32, %rax
            *(0xE7, FAULT_HIGH_PORT),
            *(0xB8, vector, 0, 0, 0),  # mov $vector, %eax
            *(0xE7, FAULT_PORT),
            *(0xF4, 0xEB, 0xFD),  # hlt; jmp to the hlt
        ]
    )


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
    sregs.gdt.base, sregs.gdt.limit = GDT_BASE, 8 * len(_GDT) - 1
    sregs.idt.base, sregs.idt.limit = IDT_BASE, PAGE_BYTES - 1
