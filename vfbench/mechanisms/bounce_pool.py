"""A bounce pool: the device is given memory of a pool, and the CPU copies to and from the buffer that was meant.

What the device wrote becomes a store of the CPU, and the dirty log sees it. The pool is handed out in slots of 2 KiB by
a search that goes on where the last one ended, under the lock of an area; Linux before 6.0 has one for the pool, later
ones one for each vCPU. A pool that is full fails the mapping. Nobody logs what the device wrote
to the pool and to the rings, which are coherent memory and not bounced: both are copied at the stop.

Armed only for a migration, what was mapped before stays as it is: recycled buffers may never be unmapped. Their pages
are marked by a store when they come back, as the pool's would be by the copy.

Source: Linux, kernel/dma/swiotlb.c (``swiotlb=force``; IO_TLB_SHIFT 11; since 5.18 a map copies in, whatever its
direction, so that no old content reaches the device).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import (
    area,
    copy,
    dummy_write,
    load_field,
    spend_price,
    store_field,
    take_guest_lock,
    word,
)
from vfbench.machine.iommu.table import READ, WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.mechanism import MAP_FAILED, DirtySource, Found, HostView, QueueSizes, Trait, hook

SLOT_BITS = 11
SLOT_BYTES = 1 << SLOT_BITS
SLOTS_PER_AREA_STEP = PAGE_BYTES // 8
"""The list of slots fills whole pages, so an area holds a multiple of so many: of 1 MiB."""

COPIES_IN, MARKS_OLD = range(2)
"""Its words."""
STATE, USED, POOL = range(3)
"""Its structures in guest memory."""
SLOT_COUNT, NEXT, ARMED, IN_USE, FAILED_MAPS, MOST_IN_USE = (8 * i for i in range(6))
"""Offsets in STATE."""
SLOT_PRICE = 0


@kernel
def state(cpu: Any, slot: int, field: int) -> int:
    """A word of its state."""
    return load_field(cpu, area(cpu, slot, STATE) + field)


@kernel
def set_state(cpu: Any, slot: int, field: int, value: int) -> None:
    store_field(cpu, area(cpu, slot, STATE) + field, value)


@kernel
def is_bounced(cpu: Any, slot: int, iova: int) -> bool:
    """Whether the device was given memory of the pool."""
    pool = area(cpu, slot, POOL)
    return pool <= iova < pool + state(cpu, slot, SLOT_COUNT) * SLOT_BYTES


@kernel
def are_free(cpu: Any, slot: int, first: int, count: int) -> bool:
    """Whether none of ``count`` slots from ``first`` is in use."""
    used = area(cpu, slot, USED)
    for i in range(first, first + count):
        if load_field(cpu, used + 8 * i) != 0:
            return False
    return True


@kernel
def find_slots(cpu: Any, slot: int, count: int) -> int:
    """The next ``count`` free slots in a row from where the last search ended; -1: none.

    What is larger than a slot begins on a page (``swiotlb_area_find_slots``: the stride of such a search is a page).
    """
    slots = state(cpu, slot, SLOT_COUNT)
    stride = 1 if count == 1 else PAGE_BYTES >> SLOT_BITS
    first = (state(cpu, slot, NEXT) + stride - 1) & -stride
    tried = 0
    while tried <= slots:
        tried += stride
        if first + count > slots:
            first = 0
        if are_free(cpu, slot, first, count):
            return first
        first += stride
    return -1


@kernel
def use_slots(cpu: Any, slot: int, first: int, count: int, used: int) -> None:
    """Take slots, or give them back."""
    for i in range(first, first + count):
        store_field(cpu, area(cpu, slot, USED) + 8 * i, used)
    in_use = state(cpu, slot, IN_USE) + (count if used else -count)
    set_state(cpu, slot, IN_USE, in_use)
    if in_use > state(cpu, slot, MOST_IN_USE):
        set_state(cpu, slot, MOST_IN_USE, in_use)


@kernel
def slots_of(length_bytes: int) -> int:
    """How many slots a mapping takes."""
    return (length_bytes + SLOT_BYTES - 1) >> SLOT_BITS


@hook
def bounce(cpu: Any, slot: int, address: int, length_bytes: int, direction: int) -> int:
    """Map: slots of the pool, with the buffer's content where the device reads it, or may see it."""
    if state(cpu, slot, ARMED) == 0:
        return address
    take_guest_lock(cpu)
    spend_price(cpu, slot, SLOT_PRICE)
    count = slots_of(length_bytes)
    first = find_slots(cpu, slot, count)
    if first < 0:
        set_state(cpu, slot, FAILED_MAPS, state(cpu, slot, FAILED_MAPS) + 1)
        return MAP_FAILED
    use_slots(cpu, slot, first, count, count)
    set_state(cpu, slot, NEXT, first + count)
    bounced = area(cpu, slot, POOL) + (first << SLOT_BITS)
    if direction & READ or word(cpu, slot, COPIES_IN):
        copy(cpu, bounced, address, length_bytes)
    return bounced


@hook
def give_back(cpu: Any, slot: int, iova: int, address: int, length_bytes: int, direction: int) -> None:
    """Unmap; what the device wrote was copied when it was synced (DMA_ATTR_SKIP_CPU_SYNC)."""
    if is_bounced(cpu, slot, iova):
        take_guest_lock(cpu)
        spend_price(cpu, slot, SLOT_PRICE)
        first = (iova - area(cpu, slot, POOL)) >> SLOT_BITS
        count = load_field(cpu, area(cpu, slot, USED) + 8 * first)
        use_slots(cpu, slot, first, count, 0)
    elif direction & WRITE:
        mark_old_mapping(cpu, slot, address)


@hook
def copy_on(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    """The buffer is back: the CPU copies on what the device wrote to the pool."""
    if is_bounced(cpu, slot, iova):
        copy(cpu, address, iova, length_bytes)
    else:
        mark_old_mapping(cpu, slot, address)


@kernel
def mark_old_mapping(cpu: Any, slot: int, address: int) -> None:
    """The device wrote past the pool, by a mapping from before."""
    if state(cpu, slot, ARMED) and word(cpu, slot, MARKS_OLD):
        dummy_write(cpu, address & -8, True, False)


@hook
def arm_pool(cpu: Any, slot: int) -> None:
    set_state(cpu, slot, ARMED, 1)


@hook
def disarm_pool(cpu: Any, slot: int) -> None:
    set_state(cpu, slot, ARMED, 0)


@dataclass(frozen=True)
class BouncePool(DirtySource):
    """DMA goes through a pool, from which and to which the CPU copies."""

    name: ClassVar[str] = "bounce-pool"
    demands: ClassVar[tuple[str, ...]] = ("guest-swiotlb",)
    owns_iova: ClassVar[bool] = True
    map: ClassVar[Kernel | None] = bounce
    unmap: ClassVar[Kernel | None] = give_back
    sync_for_cpu: ClassVar[Kernel | None] = copy_on
    costs: ClassVar[tuple[str, ...]] = ("swiotlb_slot",)
    guest_lock: ClassVar[tuple[str, str] | None] = ("swiotlb_slot_locked", "swiotlb_lock_transfer")

    pool_bytes: int = 64 << 20
    """Of all queues together; each has an area of its own."""
    always: bool = True
    """Whether mappings are bounced from the start, or only while the hypervisor tracks."""
    marks_old_mappings: bool = True
    copies_in: bool = True
    copied_at_stop: bool = True
    """Whether the pool and the rings are sent at the stop."""
    areas: int = 0
    """Into how many the pool is divided, each with a lock; 0: as many as the profile's kernel makes."""

    def lock_areas(self, figure: Callable[[str], float]) -> int:
        return self.areas or max(1, int(figure("swiotlb_areas")))

    @property
    def armed(self) -> Kernel | None:  # type: ignore[override]
        return None if self.always else arm_pool

    @property
    def disarmed(self) -> Kernel | None:  # type: ignore[override]
        return None if self.always else disarm_pool

    @property
    def words(self) -> tuple[int, ...]:
        return (int(self.copies_in), int(self.marks_old_mappings))

    def _slots(self, sizes: QueueSizes) -> int:
        """Slots of one queue's area: at least one step."""
        steps = self.pool_bytes // sizes.queues // (SLOTS_PER_AREA_STEP * SLOT_BYTES)
        return SLOTS_PER_AREA_STEP * max(1, steps)

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"state": PAGE_BYTES, "used": 8 * self._slots(sizes)}

    def payload_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"pool": SLOT_BYTES * self._slots(sizes)}

    def fill_guest(self, structures: Mapping[str, npt.NDArray[np.int64]], iova_base: int) -> None:
        structures["state"][SLOT_COUNT >> 3] = len(structures["used"])
        structures["state"][ARMED >> 3] = int(self.always)

    def sync(self, view: HostView, last: bool) -> Found:
        if not (last and self.copied_at_stop):
            return Found()
        return Found(view.structure_pages("pool") | view.ring_pages)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "cpu-copy", "bounced": "always" if self.always else "migrating"}

    @property
    def faults(self) -> tuple[int, ...]:
        switched_on = {8: not self.copied_at_stop, 13: not self.always and not self.marks_old_mappings}
        return tuple(number for number, on in switched_on.items() if on)

    def reports(self, view: HostView) -> Mapping[str, float]:
        states = [view.guest_structure(queue, "state") for queue in range(view.queues)]
        return {
            "failed_maps": float(sum(each[FAILED_MAPS >> 3] for each in states)),
            "most_slots": float(sum(each[MOST_IN_USE >> 3] for each in states)),
        }

    def linux(self) -> LinuxGuest:
        refused = []
        if not self.always:
            refused.append("a pool that is armed for a migration: swiotlb=force is decided at boot")
        if not self.copies_in:
            refused.append("maps that do not copy in: Linux has copied since 5.18")
        slots = self.pool_bytes >> SLOT_BITS
        return LinuxGuest(
            kernel_arguments=(f"swiotlb={slots},force",),
            copies_rings=self.copied_at_stop,
            copies_written=self.copied_at_stop,
            refusals=tuple(refused),
        )
