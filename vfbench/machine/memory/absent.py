"""Memory that is absent: the guest runs already, and a page has not come yet (post-copy).

``cpu.absent`` is the address of one byte for each page, set while the page is absent, or 0 where all are there. A
processor that meets an absent page waits until it has been fetched from the source. A device that can fault waits
likewise; one that can't goes on, reads what lies there, and writes what the page will cover when it comes.
Sources: Linux, Documentation/admin-guide/mm/userfaultfd.rst; QEMU, docs/devel/migration/postcopy.rst; PCIe PRI.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel, rare_kernel
from vfbench.machine.memory.guest_memory import BLOCKS_PER_PAGE, PAGE_SHIFT, WORDS_PER_PAGE
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.machine.sides import DEVICE, HOST, implementation, primitive

ABSENT_FIELDS = [
    ("absent", "i8"),
    ("absent_source", "i8"),  # address of the source's words
    ("absent_wait_ps", "i8"),  # for a processor, from the access to the page
    ("absent_device_wait_ps", "i8"),
    ("absent_faults", "i8"),  # of processors
    ("absent_device_faults", "i8"),
    ("absent_device_strays", "i8"),  # accesses of a device that can't fault
]
"""What a modelled processor's record holds of it."""


@kernel
def fetch_page(cpu: Any, page: int) -> None:
    """The page comes from the source, as it was at the stop."""
    first_block_page = cpu.structure_bytes >> PAGE_SHIFT
    word, count = page * WORDS_PER_PAGE, WORDS_PER_PAGE
    if page >= first_block_page:
        word = first_block_page * WORDS_PER_PAGE + (page - first_block_page) * BLOCKS_PER_PAGE
        count = BLOCKS_PER_PAGE
    for i in range(word, word + count):
        store_word(cpu.words, i, load_word(cpu.absent_source, i))
    store_byte(cpu.absent, page, 0)


@rare_kernel
def fault(cpu: Any, page: int) -> None:
    """A processor waits for a page."""
    if load_byte(cpu.absent, page):
        fetch_page(cpu, page)
        cpu.absent_faults += 1
        cpu.clock_ps += cpu.absent_wait_ps
        cpu.idle_ps += cpu.absent_wait_ps


@primitive
def await_page(cpu: Any, address: int) -> None:
    """A processor is about to read or write ``address``."""
    if cpu.absent != 0:
        fault(cpu, address >> PAGE_SHIFT)


@implementation(await_page, HOST)
def await_nothing(cpu: Any, address: int) -> None:
    """A real guest here has all its memory before it runs."""


@rare_kernel
def device_fault(cpu: Any, page: int) -> int:
    """A device meets a page: for how long it waits."""
    if load_byte(cpu.absent, page) == 0:
        return 0
    if cpu.absent_device_wait_ps == 0:
        cpu.absent_device_strays += 1
        return 0
    fetch_page(cpu, page)
    cpu.absent_device_faults += 1
    return cpu.absent_device_wait_ps


@primitive
def device_waits(cpu: Any, address: int) -> int:
    """The device is about to read or write guest-physical ``address``: for how long it must wait."""
    if cpu.absent != 0 and 0 <= address < cpu.backed_bytes:
        return device_fault(cpu, address >> PAGE_SHIFT)
    return 0


@implementation(device_waits, HOST)
def nothing_is_absent(cpu: Any, address: int) -> int:
    """A real guest here has all its memory before it runs."""
    return 0


implementation(device_waits, DEVICE)(nothing_is_absent)
