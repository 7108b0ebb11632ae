"""A guest-visible IOMMU whose maps and unmaps reach the hypervisor, which so learns what the device may write.

``strict`` invalidates at each unmap. ``deferred`` queues them (256 or 10 ms); Linux does not allow that behind an
IOMMU with caching mode, which an emulated one is (docs/linux.md). ``optimistic`` queues them and lets the next map of
the page take the old mapping over (vIOMMU, ATC 2011); no Linux has it. ``static`` maps all packet memory once and for
good, which is what ``iommu=pt`` does with all memory. A page that is mapped for the device to write counts as dirty
when it is unmapped, and what is still mapped at the stop is copied then.

Sources: VT-d specification 6.1 for caching mode; PAPR H_PUT_TCE_INDIRECT for many entries a call; Linux's
drivers/iommu/dma-iommu.c for both modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.costs import IOVA_ALLOC, IOVA_ALLOC_DEFERRED
from vfbench.machine.cpu import area, store_field, word
from vfbench.machine.iommu.guest import (
    flush_calls,
    flush_unmaps,
    in_place_iova,
    is_armed,
    map_in_place,
    map_rings,
    queue_call,
)
from vfbench.machine.iommu.guest import map_page as map_one
from vfbench.machine.iommu.guest import unmap_page as unmap_one
from vfbench.machine.iommu.guest import unmap_page_later as unmap_one_later
from vfbench.machine.iommu.hypervisor import CALL_UNMAP, carry_out, walk_table
from vfbench.machine.iommu.iotlb import translate_by_table
from vfbench.machine.iommu.optimistic import map_or_reuse, tear_kept_down, unmap_or_keep
from vfbench.machine.iommu.table import (
    CALL_ENTRY_BYTES,
    CALL_LIST_ENTRIES,
    FLUSH_QUEUE_ENTRIES,
    IOVA_BASE,
    IOVA_FREE_COUNT,
    KEPT_WORDS,
    NOTIFIES,
    PAGE_MASK,
    READ,
    RING_IOVA_PAGES,
    STATE,
    WRITE,
)
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.mechanism import DirtySource, Found, HostView, QueueSizes, Trait, hook

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

MODES = ("strict", "deferred", "static", "optimistic")
ALWAYS_NOTIFIES = 1
"""Word 1: the hypervisor is notified of mappings whether it tracks or not."""


@hook
def map_both_rings(cpu: Any, slot: int) -> None:
    map_rings(cpu, slot)


@hook
def map_all_packet_memory(cpu: Any, slot: int) -> None:
    map_rings(cpu, slot)
    for i in range(cpu.pool_pages):
        map_in_place(cpu, slot, cpu.first_page + i * PAGE_BYTES, READ | WRITE)
    flush_calls(cpu, slot)


@hook
def map_strictly(cpu: Any, slot: int, page: int, length_bytes: int, direction: int) -> int:
    return map_one(cpu, slot, page, length_bytes, direction, IOVA_ALLOC)


@hook
def map_after_a_flush(cpu: Any, slot: int, page: int, length_bytes: int, direction: int) -> int:
    return map_one(cpu, slot, page, length_bytes, direction, IOVA_ALLOC_DEFERRED)


@hook
def look_up(cpu: Any, slot: int, page: int, length_bytes: int, direction: int) -> int:
    return in_place_iova(cpu, page)


@hook
def unmap_strictly(cpu: Any, slot: int, iova: int, page: int, length_bytes: int, direction: int) -> None:
    unmap_one(cpu, slot, iova, page, length_bytes, direction)


@hook
def unmap_lazily(cpu: Any, slot: int, iova: int, page: int, length_bytes: int, direction: int) -> None:
    unmap_one_later(cpu, slot, iova, page, length_bytes, direction)


@hook
def map_optimistically(cpu: Any, slot: int, page: int, length_bytes: int, direction: int) -> int:
    return map_or_reuse(cpu, slot, page, length_bytes, direction)


@hook
def unmap_optimistically(
    cpu: Any, slot: int, iova: int, page: int, length_bytes: int, direction: int
) -> None:
    unmap_or_keep(cpu, slot, iova, page, length_bytes, direction)


@hook
def tear_everything_down(cpu: Any, slot: int) -> None:
    """The driver stands still: nothing stays mapped that nobody uses."""
    tear_kept_down(cpu, slot)
    flush_calls(cpu, slot)


@hook
def hand_calls_over(cpu: Any, slot: int) -> None:
    flush_calls(cpu, slot)


@hook
def flush_everything(cpu: Any, slot: int) -> None:
    """The driver stands still: nothing stays queued."""
    flush_unmaps(cpu, slot)
    flush_calls(cpu, slot)


@hook
def report_unmap_too_early(cpu: Any, slot: int, iova: int, buffer: int, length_bytes: int) -> None:
    """Fault 5: one half of the page is back, so the page is reported as unmapped; the other half stays in use."""
    if is_armed(cpu, slot):
        queue_call(cpu, slot, CALL_UNMAP, IOVA_BASE, buffer & PAGE_MASK | WRITE)


@hook
def notify_from_now(cpu: Any, slot: int) -> None:
    store_field(cpu, area(cpu, slot, STATE) + NOTIFIES, 1)


@hook
def notify_as_before(cpu: Any, slot: int) -> None:
    store_field(cpu, area(cpu, slot, STATE) + NOTIFIES, word(cpu, slot, ALWAYS_NOTIFIES))


MAPS = {
    "strict": map_strictly,
    "deferred": map_after_a_flush,
    "static": look_up,
    "optimistic": map_optimistically,
}
UNMAPS: dict[str, Kernel | None] = {
    "strict": unmap_strictly,
    "deferred": unmap_lazily,
    "static": None,
    "optimistic": unmap_optimistically,
}


@dataclass(frozen=True)
class GuestIommu(DirtySource):
    """Maps and unmaps reach the hypervisor; what was mapped for the device to write is dirty once it is unmapped."""

    name: ClassVar[str] = "guest-iommu"
    demands: ClassVar[tuple[str, ...]] = ("guest-iommu",)
    owns_iova: ClassVar[bool] = True
    translate: ClassVar[Kernel | None] = translate_by_table
    hypercall: ClassVar[Kernel | None] = carry_out
    armed: ClassVar[Kernel | None] = notify_from_now
    disarmed: ClassVar[Kernel | None] = notify_as_before

    mode: str = "strict"
    exits: str = "kernel"
    """Who carries a call out: one of ``vfbench.mechanism.EXIT_CLASSES``."""
    entries: int = 1
    """Maps and unmaps handed over with one exit."""
    notifies_always: bool = True
    """Whether the hypervisor is notified of mappings from the start, or only once tracking is armed."""
    withhold: bool = True
    """Whether a mapped page is kept from being sent until it is unmapped."""
    late_maps: bool = True
    """Whether mappings made after tracking was armed are noticed."""
    unmap_early: bool = False
    unmaps_are_writes: bool = True
    """Whether a page counts as dirty once it is unmapped, and at the stop while it is mapped; off where another source
    knows what was written."""

    @property
    def map(self) -> Kernel | None:  # type: ignore[override]
        return MAPS[self.mode]

    @property
    def unmap(self) -> Kernel | None:  # type: ignore[override]
        return UNMAPS[self.mode]

    @property
    def quiesce(self) -> Kernel | None:  # type: ignore[override]
        return tear_everything_down if self.mode == "optimistic" else flush_everything

    @property
    def opened(self) -> Kernel | None:  # type: ignore[override]
        return map_all_packet_memory if self.mode == "static" else map_both_rings

    @property
    def before_doorbell(self) -> Kernel | None:  # type: ignore[override]
        return None if self.mode == "static" else hand_calls_over

    @property
    def sync_for_cpu(self) -> Kernel | None:  # type: ignore[override]
        return report_unmap_too_early if self.unmap_early else None

    @property
    def needs(self) -> tuple[Need, ...]:
        # Untracked maps must reach the device without an exit: only then can notifications begin with a migration.
        return () if self.notifies_always else ("nested_translation",)

    @property
    def words(self) -> tuple[int, ...]:
        return (self.entries, int(self.notifies_always))

    @property
    def exit_to(self) -> str:
        return self.exits

    @property
    def withholds_mapped(self) -> bool:
        return self.withhold

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        kept = {"kept": 8 * KEPT_WORDS * sizes.packet_pages} if self.mode == "optimistic" else {}
        return {
            "state": PAGE_BYTES,
            "table": 8 * (sizes.packet_pages + RING_IOVA_PAGES),
            "free_iovas": 8 * sizes.packet_pages,
            "call_list": CALL_LIST_ENTRIES * CALL_ENTRY_BYTES,
            "flush_queue": FLUSH_QUEUE_ENTRIES * CALL_ENTRY_BYTES,
            **kept,
        }

    def fill_guest(self, structures: Mapping[str, npt.NDArray[np.int64]], packet_pages: int) -> None:
        addresses = IOVA_BASE + np.arange(packet_pages, dtype=np.int64) * PAGE_BYTES
        structures["free_iovas"][:packet_pages] = addresses[::-1]
        structures["state"][IOVA_FREE_COUNT >> 3] = packet_pages
        structures["state"][NOTIFIES >> 3] = int(self.notifies_always)

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"notes_maps": 1, "unmaps_are_writes": 1}

    def fill_host(self, structures: Mapping[str, npt.NDArray[np.int64]]) -> None:
        structures["notes_maps"][0] = 1
        structures["unmaps_are_writes"][0] = int(self.unmaps_are_writes)

    def arm(self, view: HostView) -> int:
        """Walk the guest's table: a guest that notifies only while tracked has not notified of earlier mappings."""
        entries = sum(view.run(walk_table))
        view.host_structure("notes_maps")[0] = int(self.late_maps)
        return entries * view.picoseconds("iommu_table_walk_entry")

    def disarm(self, view: HostView) -> int:
        view.host_structure("notes_maps")[0] = 1
        return 0

    def sync(self, view: HostView, last: bool) -> Found:
        return Found(dirty=view.mapped if last and self.unmaps_are_writes else None)

    @property
    def traits(self) -> Mapping[str, Trait]:
        visible: dict[str, Trait] = {"dma_visible_by": "iommu"} if self.unmaps_are_writes else {}
        return visible | {
            "guest_iommu": True,
            "mappings_told_by": "exit",
            "mapping": self.mode,
            "exit_class": self.exits,
            "entries_per_call": self.entries,
            "tracks_always": self.notifies_always,
            "skip_mapped": self.withhold,
        }

    @property
    def faults(self) -> tuple[int, ...]:
        switched_on = {5: self.unmap_early, 6: not self.late_maps and not self.notifies_always}
        return tuple(number for number, on in switched_on.items() if on)

    def linux(self) -> LinuxGuest:
        refused = []
        if self.mode == "deferred":
            refused.append("deferred unmapping: Linux is strict behind an IOMMU with caching mode")
        if self.mode == "optimistic":
            refused.append("optimistic teardown: no Linux keeps an unmapped page mapped for its next map")
        if self.exits not in ("user-space", "auto"):
            refused.append(f"exits to {self.exits}: QEMU's emulated IOMMU is served in user space")
        if self.entries != 1:
            refused.append(f"{self.entries} entries a call: caching mode exits for each map and each unmap")
        if self.withhold:
            refused.append(
                "pages that wait until they are unmapped: a stock QEMU sends every page that is dirty"
            )
        if not (self.notifies_always and self.late_maps):
            refused.append(
                "notifications only during a migration, or of some maps: caching mode notifies of each, always"
            )
        if self.unmap_early:
            refused.append(
                "notifications of an unmap while the device still uses the page: ixgbevf unmaps when it is done"
            )
        return LinuxGuest(
            kernel_arguments=(
                "intel_iommu=on",
                "iommu.passthrough=1" if self.mode == "static" else "iommu.strict=1",
            ),
            guest_iommu=True,
            device_log="unmap",
            refusals=tuple(refused),
        )


BELOW_A_TRACKER = ("none", *MODES)
"""Whether a guest sees an IOMMU while something else tracks the device, and how long that IOMMU maps."""


def behind_guest_iommu(mode: str, *, unmaps_are_writes: bool = False) -> tuple[GuestIommu, ...]:
    """The emulated IOMMU of QEMU in one of MODES, for a device that something else tracks; nothing for ``none``.

    ``unmaps_are_writes``: a page counts as dirty once it is unmapped.
    """
    if mode == "none":
        return ()
    return (GuestIommu(mode, exits="user-space", withhold=False, unmaps_are_writes=unmaps_are_writes),)
