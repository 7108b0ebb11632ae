"""Leaving the guest: what the hypervisor does when the guest's IOMMU driver calls it.

A page mapped for the device to write carries MAPPED until it is unmapped; then it counts as dirty, written or
not, for the hypervisor cannot know. The exit's own price is the strategy's exit class; the work behind it is the
same for all classes.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    IOMMU_SHADOW_MAP,
    IOMMU_SHADOW_UNMAP,
    IOMMU_TABLE_WALK_ENTRY,
    IOTLB_INVALIDATE,
)
from vfbench.machine.cpu import is_modelled, model_load, model_spend
from vfbench.machine.iommu.table import PAGE_MASK, RING_IOVA_PAGES, WRITE
from vfbench.machine.memory.guest_memory import LOGGED, MAPPED, MAPPED_WRITTEN, PAGE_SHIFT
from vfbench.machine.memory.words import load_byte, store_byte

EXIT_CALLS = 1
"""Carry out the first N entries of the call list."""
EXIT_FLUSH = 2
"""Carry out the first N entries of the flush queue and flush the whole IOTLB."""

CALL_ENTRY_BYTES = 16
CALL_MAP = 1
CALL_UNMAP = 2

INVALIDATE_ALL = -1


@kernel
def note_mapped(cpu: Any, page: int) -> None:
    """The hypervisor learns that the device may write ``page``."""
    marks = load_byte(cpu.marks, page)
    store_byte(cpu.marks, page, (marks | MAPPED) & ~MAPPED_WRITTEN)


@kernel
def note_unmapped(cpu: Any, page: int) -> None:
    """The hypervisor learns that the device is done with ``page``: it counts as dirty from now on."""
    marks = load_byte(cpu.marks, page)
    if marks & MAPPED:
        cpu.unwritten_unmaps += marks & MAPPED_WRITTEN == 0
        store_byte(cpu.marks, page, (marks | LOGGED) & ~(MAPPED | MAPPED_WRITTEN))


@kernel
def model_invalidate(cpu: Any, iova: int) -> None:
    cpu.invalidated_iova[cpu.invalidations & (len(cpu.invalidated_iova) - 1)] = iova
    cpu.invalidations += 1
    model_spend(cpu, IOTLB_INVALIDATE)


@kernel
def work_for_guest(cpu: Any, cost: int) -> None:
    """Work of the host during which the guest's processor waits."""
    model_spend(cpu, cost)
    cpu.host_ps += cpu.cost[cost]


@kernel
def carry_out_call(cpu: Any, entry: int) -> None:
    """One entry of the call list: mirror it to the host's table and note what it means for tracking."""
    call, target = model_load(cpu, entry), model_load(cpu, entry + 8)
    if call & CALL_MAP:
        cpu.maps += 1
        work_for_guest(cpu, IOMMU_SHADOW_MAP)
        if target & WRITE and cpu.notes_maps:
            note_mapped(cpu, target >> PAGE_SHIFT)
    else:
        cpu.unmaps += 1
        work_for_guest(cpu, IOMMU_SHADOW_UNMAP)
        model_invalidate(cpu, call & PAGE_MASK)
        if target & WRITE:
            note_unmapped(cpu, target >> PAGE_SHIFT)


@kernel
def carry_out_flush(cpu: Any, count: int) -> None:
    """All queued unmaps, with one invalidation of everything."""
    for i in range(count):
        target = model_load(cpu, cpu.flush_queue + i * CALL_ENTRY_BYTES + 8)
        cpu.unmaps += 1
        work_for_guest(cpu, IOMMU_TABLE_WALK_ENTRY)
        if target & WRITE:
            note_unmapped(cpu, target >> PAGE_SHIFT)
    model_invalidate(cpu, INVALIDATE_ALL)


@kernel
def model_exit(cpu: Any, reason: int, argument: int) -> None:
    cpu.exits += 1
    cpu.clock_ps += cpu.exit_ps
    cpu.host_ps += cpu.exit_host_ps
    if reason == EXIT_CALLS:
        for i in range(argument):
            carry_out_call(cpu, cpu.call_list + i * CALL_ENTRY_BYTES)
    else:
        carry_out_flush(cpu, argument)


def exit_to_hypervisor(cpu: Any, reason: int, argument: int) -> None:
    """Leave the guest for ``reason``; returns when the hypervisor is done."""
    model_exit(cpu, reason, argument)


def invalidate(cpu: Any, iova: int) -> None:
    """Invalidate one IOTLB entry, or all with ``INVALIDATE_ALL``, without the hypervisor's help."""
    model_invalidate(cpu, iova)


@overload(exit_to_hypervisor, strict=False)  # type: ignore[untyped-decorator]
def _exit_to_hypervisor(cpu: Any, reason: Any, argument: Any) -> Any:
    if is_modelled(cpu):
        return lambda cpu, reason, argument: model_exit(cpu, reason, argument)
    return None


@overload(invalidate, strict=False)  # type: ignore[untyped-decorator]
def _invalidate(cpu: Any, iova: Any) -> Any:
    if is_modelled(cpu):
        return lambda cpu, iova: model_invalidate(cpu, iova)
    return None


@kernel
def walk_table(cpu: Any) -> int:
    """Tracking starts: the hypervisor walks the guest's table and marks each page that the device may write.

    Returns how many entries it looked at.
    """
    entries = cpu.iova_pages + RING_IOVA_PAGES
    for i in range(entries):
        entry = model_load(cpu, cpu.page_table + i * 8)
        if entry & WRITE:
            note_mapped(cpu, entry >> PAGE_SHIFT)
    return entries
