"""A virtual processor, and the handful of primitives through which guest code acts.

``load``, ``store``, ``dummy_write``, ``copy``, ``now_ps``, ``spend``: guest code (the driver, the application, a
strategy's hooks) uses these and nothing else. numba picks the implementation by the type of the processor's
record, so the same function runs on the modelled memory here and as plain machine code in a real guest.

Source of the log's behaviour: KVM marks a page on the first store after a sync, by a write-protection fault or
through Page-Modification Logging (Intel SDM 28.2.6), and the guest pays for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    COPY_RATE,
    COSTS,
    TOUCH_ATOMIC_EXTRA,
    TOUCH_CACHED,
    TOUCH_UNCACHED,
)
from vfbench.machine.memory.absent import ABSENT_FIELDS, await_page
from vfbench.machine.memory.faults import check_address, check_structure
from vfbench.machine.memory.guest_memory import (
    BLOCK_BYTES,
    BLOCK_SHIFT,
    CONTENT,
    CPU_WROTE,
    LOGGED,
    PAGE_SHIFT,
    TORN,
)
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.machine.sides import MODEL, primitive
from vfbench.machine.slots import AREAS, CHAIN, GUEST_POINTS, PRICES, SLOTS, WORDS

RACES = 256
INVALIDATIONS = 64

GUEST_FIELDS = [
    # where the queue's structures lie, guest-physical
    ("driver", "i8"),
    ("rx_ring", "i8"),
    ("tx_ring", "i8"),
    ("rx_buffers", "i8"),
    ("tx_buffers", "i8"),
    ("page_refcounts", "i8"),
    ("free_pages", "i8"),
    ("held", "i8"),
    ("rx_queue", "i8"),
    ("tx_queue", "i8"),
    ("rx_indirect", "i8"),  # pages of big receive buffers, a table for each of the queue's slots
    ("tx_indirect", "i8"),  # descriptor tables of large sends over virtio-net, one for each of its slots
    # sizes
    ("rx_size", "i8"),
    ("tx_size", "i8"),
    ("first_page", "i8"),  # guest-physical address of the queue's packet memory
    ("pool_pages", "i8"),
    ("dma_end", "i8"),  # the device may be pointed at packet memory and at what follows it up to here
    ("virtqueue_size", "i8"),
    # how the driver is built
    ("copybreak_bytes", "i8"),
    ("reuse", "i8"),
    ("pages_fifo", "i8"),
    ("refill_batch", "i8"),
    ("poll_budget", "i8"),
    ("virtio_buffers", "i8"),
    ("kick_suppression", "i8"),
    ("transmit_interrupts", "i8"),
    ("mirror_registers", "i8"),
    ("hold_ps", "i8"),
    ("gro", "i8"),
    ("gathers", "i8"),  # a packet may lie in several buffers
    # large sends
    ("frame_bytes", "i8"),  # the longest frame by the MTU, FCS included
    ("cut_over_bytes", "i8"),  # what is longer is cut into frames; 0: nothing is
    ("send_payload_bytes", "i8"),  # what the driver takes at once; 0: frames only
    ("fragment_bytes", "i8"),  # how much of it lies together
    ("first_block", "i8"),  # from here packet memory is handed out in blocks of 32 KiB; 0: nowhere
    # the strategy's mechanisms, by slot
    ("word", "i8", (SLOTS * WORDS,)),
    ("area", "i8", (SLOTS * AREAS,)),  # guest-physical addresses
    ("exit_class", "i8", (SLOTS,)),
    ("owns_iova", "i8"),  # the first hook of MAP hands out the device's addresses
    ("hook", "i8", (CHAIN * len(GUEST_POINTS),)),
    ("hook_slot", "i8", (CHAIN * len(GUEST_POINTS),)),
    # the workload
    ("hook_delivered", "i8"),
]
"""What guest code may read of its processor, on every testbed."""

HOST_FIELDS = [
    # the strategy's mechanisms on the host, by slot
    ("host_area", "i8", (SLOTS * AREAS,)),  # addresses in this process
    ("price", "i8", (SLOTS * PRICES,)),
    ("hypercall", "i8", (SLOTS,)),
    ("translate", "i8"),  # of the mechanism that owns the device's addresses
    ("translate_slot", "i8"),
    ("dma_hook", "i8", (CHAIN,)),
    ("dma_hook_slot", "i8", (CHAIN,)),
    ("work_hook", "i8", (CHAIN,)),
    ("work_hook_slot", "i8", (CHAIN,)),
    ("unmap_hook", "i8", (CHAIN,)),
    ("unmap_hook_slot", "i8", (CHAIN,)),
    ("queue", "i8"),  # which of the device's it is
    ("dma_held", "i8"),  # a mechanism keeps the device from moving packets
    # what is known of the guest's mappings
    ("invalidations", "i8"),  # IOTLB invalidations so far, and the last ones, for the device to honour
    ("invalidated_iova", "i8", (INVALIDATIONS,)),
    ("invalidations_seen", "i8"),  # the last one that the device honoured
    ("maps", "i8"),
    ("unmaps", "i8"),
    ("unwritten_unmaps", "i8"),
    ("fault_address", "i8"),  # of the access outside memory that ended the run
]
"""What the host's side of mechanisms may read and count, on every testbed."""

RACE = np.dtype([("word", "i8"), ("mask", "i8"), ("old", "i8"), ("from_ps", "i8"), ("until_ps", "i8")])
"""A dummy write that is not atomic: which bits of which word it restores, and between which instants."""

CPU = np.dtype(
    [
        *GUEST_FIELDS,
        *HOST_FIELDS,
        (MODEL, "i8"),
        ("words", "i8"),
        ("marks", "i8"),
        ("structure_bytes", "i8"),
        ("backed_bytes", "i8"),
        ("clock_ps", "i8"),
        ("idle_ps", "i8"),  # of the clock, time in which the processor did nothing
        ("host_ps", "i8"),  # time spent by the host's processors on this queue's behalf
        ("logging", "i8"),  # the dirty log is on: the first store to a page costs
        ("first_store_ps", "i8"),
        (
            "exit_ps",
            "i8",
            (SLOTS,),
        ),  # what one call to the hypervisor costs the guest, by the slot's exit class
        ("exit_host_ps", "i8", (SLOTS,)),
        ("exit_locked_ps", "i8", (SLOTS,)),  # of which a lock is held that all vCPUs share
        ("lock_used_ps", "i8"),  # for how long it was held since waits were last settled
        ("lock_wait_ps", "i8"),  # how long it is waited for
        ("invalidation_used_ps", "i8"),  # the same for the invalidation queue's lock
        ("invalidation_wait_ps", "i8"),
        ("guest_lock_areas", "i8"),  # of a lock that a mechanism takes in the guest; 0: it takes none
        ("guest_lock_hold_ps", "i8"),
        ("guest_lock_transfer_ps", "i8"),  # what it protects comes from another core's cache
        ("guest_lock_used_ps", "i8"),
        ("guest_lock_wait_ps", "i8"),
        ("halt_window_ps", "i8"),  # for how long the host polls before it halts an idle vCPU
        ("first_stores", "i8"),
        ("exits", "i8"),
        ("kicks", "i8"),
        ("interrupts", "i8"),
        ("race", RACE, (RACES,)),
        *ABSENT_FIELDS,
        ("race_last_ps", "i8"),  # no dummy write is under way from then on
        ("cost", "i8", (len(COSTS),)),
    ]
)
"""A modelled processor: what guest code sees, then its memory, its clock and what things cost (ps)."""


@kernel
def word_index(cpu: Any, address: int) -> int:
    """Which word holds guest-physical ``address``: its own in a structure, its block's in packet memory."""
    if address < cpu.structure_bytes:
        return address >> 3
    return (cpu.structure_bytes >> 3) + ((address - cpu.structure_bytes) >> BLOCK_SHIFT)


@kernel
def first_store(cpu: Any, page: int, marks: int) -> None:
    """The first store to a page since the last sync faults, or takes an entry of the PML buffer; the guest pays."""
    store_byte(cpu.marks, page, marks | LOGGED | CPU_WROTE)
    if cpu.logging and not marks & LOGGED:
        cpu.clock_ps += cpu.first_store_ps
        cpu.first_stores += 1


@kernel
def mark_stored(cpu: Any, address: int) -> None:
    """A vCPU stores to the page of ``address``."""
    page = address >> PAGE_SHIFT
    marks = load_byte(cpu.marks, page)
    if marks & (LOGGED | CPU_WROTE) != LOGGED | CPU_WROTE:
        first_store(cpu, page, marks)


@kernel
def model_load(cpu: Any, address: int) -> int:
    check_address(cpu, address)
    await_page(cpu, address)
    return load_word(cpu.words, word_index(cpu, address))


@kernel
def model_store(cpu: Any, address: int, value: int) -> None:
    check_address(cpu, address)
    await_page(cpu, address)
    mark_stored(cpu, address)
    store_word(cpu.words, word_index(cpu, address), value)


@kernel
def model_load_field(cpu: Any, address: int) -> int:
    check_structure(cpu, address)
    await_page(cpu, address)
    return load_word(cpu.words + address, 0)


@kernel
def model_store_field(cpu: Any, address: int, value: int) -> None:
    check_structure(cpu, address)
    await_page(cpu, address)
    mark_stored(cpu, address)
    store_word(cpu.words + address, 0, value)


@kernel
def model_now_ps(cpu: Any) -> int:
    return cpu.clock_ps


@kernel
def model_spend(cpu: Any, cost: int) -> None:
    cpu.clock_ps += cpu.cost[cost]


@kernel
def model_spend_copy(cpu: Any, length_bytes: int) -> None:
    cpu.clock_ps += (cpu.cost[COPY_RATE] * length_bytes) >> 10


@kernel
def sleep_until(cpu: Any, until_ps: int) -> None:
    """The processor has nothing to do up to ``until_ps``."""
    if until_ps > cpu.clock_ps:
        cpu.idle_ps += until_ps - cpu.clock_ps
        cpu.clock_ps = until_ps


@kernel
def byte_mask(cpu: Any, address: int) -> int:
    """The bits of ``address``'s byte in its word; a content word stands for its block and is torn as a whole."""
    if address >= cpu.structure_bytes:
        return -1
    byte = address & 7
    return -(1 << 56) if byte == 7 else 0xFF << (8 * byte)


@kernel
def race_index(word: int) -> int:
    """Where the last dummy write of ``word`` is kept; a buffer's first words differ in steps of four."""
    return ((word >> 2) ^ (word >> 10)) & (RACES - 1)


@kernel
def model_dummy_write(cpu: Any, address: int, atomic: int, cached: int) -> None:
    """Read a byte and write it back. Not atomic, a DMA write between the two is undone for that byte."""
    check_address(cpu, address)
    await_page(cpu, address)
    started_ps = cpu.clock_ps
    word = word_index(cpu, address)
    old = load_word(cpu.words, word)
    model_spend(cpu, TOUCH_CACHED if cached else TOUCH_UNCACHED)
    if atomic:
        model_spend(cpu, TOUCH_ATOMIC_EXTRA)
    mark_stored(cpu, address)
    if not atomic:
        race = cpu.race[race_index(word)]
        race.word = word
        race.mask = byte_mask(cpu, address)
        race.old = old
        race.from_ps = started_ps
        race.until_ps = cpu.clock_ps
        cpu.race_last_ps = cpu.clock_ps


@kernel
def after_races(cpu: Any, word: int, value: int, time_ps: int) -> int:
    """What a DMA write of ``value`` at ``time_ps`` leaves once a dummy write under way has stored its old byte."""
    if time_ps >= cpu.race_last_ps:
        return value
    race = cpu.race[race_index(word)]
    if race.word != word or time_ps < race.from_ps or time_ps >= race.until_ps:
        return value
    if race.mask == -1:
        return value | TORN if value & CONTENT and race.old != value else value
    return (value & ~race.mask) | (race.old & race.mask)


@kernel
def model_copy(cpu: Any, target: int, source: int, length_bytes: int) -> None:
    for first in (target, source):
        check_address(cpu, first)
        check_address(cpu, first + length_bytes - 1)
        for page in range(first >> PAGE_SHIFT, ((first + length_bytes - 1) >> PAGE_SHIFT) + 1):
            await_page(cpu, page << PAGE_SHIFT)
    to, begin = word_index(cpu, target), word_index(cpu, source)
    for block in range((length_bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT):
        store_word(cpu.words, to + block, load_word(cpu.words, begin + block))
    mark_stored(cpu, target)
    for page in range((target >> PAGE_SHIFT) + 1, ((target + length_bytes - 1) >> PAGE_SHIFT) + 1):
        mark_stored(cpu, page << PAGE_SHIFT)
    model_spend_copy(cpu, length_bytes)


@primitive
def load_field(cpu: Any, address: int) -> int:
    """:func:`load` for a word of the driver's structures, which are held byte for byte: one instruction."""
    return model_load_field(cpu, address)


@primitive
def store_field(cpu: Any, address: int, value: int) -> None:
    """:func:`store` for a word of the driver's structures."""
    model_store_field(cpu, address, value)


@primitive
def load(cpu: Any, address: int) -> int:
    """The 64-bit word at guest-physical ``address`` (8-byte aligned)."""
    return model_load(cpu, address)


@primitive
def store(cpu: Any, address: int, value: int) -> None:
    """Store a 64-bit word at guest-physical ``address`` (8-byte aligned); the page turns dirty."""
    model_store(cpu, address, value)


@primitive
def dummy_write(cpu: Any, address: int, atomic: int, cached: int) -> None:
    """Read the byte at ``address`` and write the same byte back.

    ``atomic``: as one locked instruction; otherwise a device's write between the read and the write is lost.
    ``cached``: the line is in the first-level cache already, say because the driver reads it anyway.
    """
    model_dummy_write(cpu, address, atomic, cached)


@primitive
def now_ps(cpu: Any) -> int:
    """The processor's clock in picoseconds."""
    return model_now_ps(cpu)


@primitive
def spend(cpu: Any, cost: int) -> None:
    """Spend what ``vfbench.machine.costs`` calls ``cost``; in a real guest the code itself takes the time."""
    model_spend(cpu, cost)


@primitive
def spend_price(cpu: Any, slot: int, index: int) -> None:
    """Spend the cost that the mechanism in ``slot`` names as number ``index``."""
    cpu.clock_ps += cpu.price[slot * PRICES + index]


@primitive
def take_guest_lock(cpu: Any) -> None:
    """Wait for the lock that a mechanism shares among the guest's processors; its hold is part of what it spends."""
    cpu.clock_ps += cpu.guest_lock_wait_ps
    cpu.guest_lock_used_ps += cpu.guest_lock_hold_ps


@primitive
def spend_copy(cpu: Any, length_bytes: int) -> None:
    """Spend the time to copy ``length_bytes`` at the profile's copy rate."""
    model_spend_copy(cpu, length_bytes)


@primitive
def copy(cpu: Any, target: int, source: int, length_bytes: int) -> None:
    """Copy a packet of ``length_bytes`` from ``source`` to ``target``, both in packet memory and each in one piece."""
    model_copy(cpu, target, source, length_bytes)


@kernel
def word(cpu: Any, slot: int, index: int) -> int:
    """A parameter of the mechanism in ``slot``."""
    return cpu.word[slot * WORDS + index]


@kernel
def area(cpu: Any, slot: int, index: int) -> int:
    """Where structure number ``index`` of the mechanism in ``slot`` lies in guest memory."""
    return cpu.area[slot * AREAS + index]
