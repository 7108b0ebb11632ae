"""Emulated IOMMU.

The guest sees an IOMMU and maps each page for the device before the device may use it. Each map and each unmap
reaches the hypervisor, which so learns what the device may write: a page mapped DMA_FROM_DEVICE is not migrated
until it is unmapped, and what is still mapped at the stop is copied then.

``strict`` tells of each unmap at once. ``deferred`` collects them (256 or 10 ms); Linux does not allow that behind
an IOMMU with caching mode, which an emulated one is (docs/linux.md). ``static`` maps all packet memory once and for
good, which is what ``iommu=pt`` does with all memory.

Sources: Alexander Duyck and Michael S. Tsirkin, linux-pci, October 2015; PAPR H_PUT_TCE_INDIRECT for many entries
a call; VT-d specification 6.1 for caching mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.machine.costs import IOVA_ALLOC, IOVA_ALLOC_DEFERRED
from vfbench.machine.driver.state import CALL_LIST_ENTRIES
from vfbench.machine.iommu.exits import CALL_UNMAP
from vfbench.machine.iommu.guest import (
    flush_calls,
    in_place_iova,
    is_armed,
    map_in_place,
    map_page,
    map_rings,
    tell,
    unmap_page,
    unmap_page_later,
)
from vfbench.machine.iommu.table import PAGE_MASK, READ, WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.parameters import parameter
from vfbench.strategy import (
    FAULT_OF_STOP_ORDER,
    STOP_ORDERS,
    Hooks,
    Migration,
    Strategy,
    do_nothing,
    hook,
    stop_and_copy,
)

ENTRIES_PER_CALL = 0


@hook
def map_both_rings(cpu: Any, _address: int, _argument: int) -> None:
    map_rings(cpu, cpu.option[ENTRIES_PER_CALL])
    flush_calls(cpu)


@hook
def map_all_packet_memory(cpu: Any, _address: int, _argument: int) -> None:
    """Static: everything that a packet can ever lie in, both ways."""
    map_rings(cpu, cpu.option[ENTRIES_PER_CALL])
    for i in range(cpu.pool_pages):
        map_in_place(cpu, cpu.first_page + i * PAGE_BYTES, READ | WRITE, cpu.option[ENTRIES_PER_CALL])
    flush_calls(cpu)


@hook
def map_for_device_to_write(cpu: Any, page: int, _length_bytes: int) -> int:
    return map_page(cpu, page, WRITE, cpu.option[ENTRIES_PER_CALL], IOVA_ALLOC)


@hook
def map_for_device_to_read(cpu: Any, page: int, _length_bytes: int) -> int:
    return map_page(cpu, page, READ, cpu.option[ENTRIES_PER_CALL], IOVA_ALLOC)


@hook
def map_to_write_after_a_flush(cpu: Any, page: int, _length_bytes: int) -> int:
    """Addresses that come back many at once leave the allocator less to search."""
    return map_page(cpu, page, WRITE, cpu.option[ENTRIES_PER_CALL], IOVA_ALLOC_DEFERRED)


@hook
def map_to_read_after_a_flush(cpu: Any, page: int, _length_bytes: int) -> int:
    return map_page(cpu, page, READ, cpu.option[ENTRIES_PER_CALL], IOVA_ALLOC_DEFERRED)


@hook
def already_mapped(cpu: Any, page: int, _length_bytes: int) -> int:
    return in_place_iova(cpu, page)


@hook
def unmap_written(cpu: Any, iova: int, page: int) -> None:
    unmap_page(cpu, iova, page, WRITE, cpu.option[ENTRIES_PER_CALL])


@hook
def unmap_read(cpu: Any, iova: int, page: int) -> None:
    unmap_page(cpu, iova, page, READ, cpu.option[ENTRIES_PER_CALL])


@hook
def unmap_written_later(cpu: Any, iova: int, page: int) -> None:
    unmap_page_later(cpu, iova, page, WRITE)


@hook
def unmap_read_later(cpu: Any, iova: int, page: int) -> None:
    unmap_page_later(cpu, iova, page, READ)


@hook
def hand_over_calls(cpu: Any, _address: int, _argument: int) -> None:
    flush_calls(cpu)


@hook
def say_unmapped_too_early(cpu: Any, buffer: int, _length_bytes: int) -> None:
    """Fault 5: one half of the page is back, so the page is said to be unmapped; the other half stays in use."""
    if is_armed(cpu):
        tell(cpu, CALL_UNMAP, cpu.iova_base, buffer & PAGE_MASK | WRITE, cpu.option[ENTRIES_PER_CALL])


STRICT = Hooks(
    device_opened=map_both_rings,
    page_mapped=map_for_device_to_write,
    page_unmapped=unmap_written,
    frame_mapped=map_for_device_to_read,
    frame_unmapped=unmap_read,
    doorbell_ready=hand_over_calls,
)
DEFERRED = Hooks(
    device_opened=map_both_rings,
    page_mapped=map_to_write_after_a_flush,
    page_unmapped=unmap_written_later,
    frame_mapped=map_to_read_after_a_flush,
    frame_unmapped=unmap_read_later,
    doorbell_ready=hand_over_calls,
)
STATIC = Hooks(device_opened=map_all_packet_memory, page_mapped=already_mapped, frame_mapped=already_mapped)
MODES = {"strict": STRICT, "deferred": DEFERRED, "static": STATIC}


@dataclass(frozen=True)
class EmulatedIommu(Strategy):
    """A guest-visible IOMMU tells the hypervisor what the device may write; such pages wait until unmapped."""

    name: ClassVar[str] = "emulated-iommu"

    mode: str = parameter(
        "strict",
        choices=tuple(MODES),
        help="unmap at once, lazily in batches, or map everything once for good; a Linux guest behind caching mode "
        "gets strict when it asks for deferred ('IOMMU batching disallowed due to virtualization'), and static with "
        "iommu=pt",
    )
    exit_to: str = parameter(
        "kernel",
        choices=("user-space", "kernel", "other-core", "none"),
        help="who handles a map or unmap: QEMU, KVM, a polling core, or nobody at no cost (an upper bound)",
    )
    entries: int = parameter(
        1, unit="count", low=1, high=CALL_LIST_ENTRIES, help="maps and unmaps handed over with one exit"
    )
    tracking: str = parameter(
        "always",
        choices=("always", "migrating"),
        help="tell the hypervisor always, or only during a migration",
    )
    skip_mapped: bool = parameter(
        True, help="do not migrate a page mapped for the device until it is unmapped"
    )
    late_maps: bool = parameter(
        True, help="mappings made after tracking was armed are noticed; off is fault 6"
    )
    unmap_early: bool = parameter(
        False, help="tell of an unmap while the device still uses the page (fault 5)"
    )
    stop_order: str = parameter(
        "device-first",
        choices=STOP_ORDERS,
        help="what stops first; guest-first is fault 4, device-last fault 1",
    )

    @property
    def hooks(self) -> Hooks:
        hooks = MODES[self.mode]
        return Hooks(
            device_opened=hooks.device_opened,
            page_mapped=hooks.page_mapped,
            page_unmapped=hooks.page_unmapped,
            buffer_synced=say_unmapped_too_early if self.unmap_early else do_nothing,
            frame_mapped=hooks.frame_mapped,
            frame_unmapped=hooks.frame_unmapped,
            doorbell_ready=hooks.doorbell_ready,
        )

    @property
    def options(self) -> tuple[int, ...]:
        return (self.entries,)

    @property
    def guest_iommu(self) -> bool:
        return True

    @property
    def dma_visible_by(self) -> str:
        return "iommu"

    @property
    def mapping(self) -> str:
        return self.mode

    @property
    def entries_per_call(self) -> int:
        return self.entries

    @property
    def faults(self) -> tuple[int, ...]:
        others = {5: self.unmap_early, 6: not self.late_maps and not self.tracks_always}
        return tuple(sorted((*FAULT_OF_STOP_ORDER[self.stop_order], *(n for n, on in others.items() if on))))

    @property
    def exit_class(self) -> str:
        return self.exit_to

    @property
    def tracks_always(self) -> bool:
        return self.tracking == "always"

    @property
    def misses_late_maps(self) -> bool:
        return not self.late_maps

    def migrate(self, migration: Migration) -> None:
        migration.arm_tracking()
        migration.pre_copy(skip_mapped=self.skip_mapped)
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
