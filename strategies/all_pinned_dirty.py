"""All pinned pages are dirty.

A host without a log in the device and without dirty bits in its IOMMU knows only what is mapped for the device, and
has to take all of it for dirty: in every round, so that the pre-copy is wasted, or only at the stop, so that the stop
copies all of it. Without an IOMMU that the guest sees this is the whole memory; with one, what the guest maps.

Sources: Linux, drivers/vfio/vfio_iommu_type1.c; QEMU, x-pre-copy-dirty-page-tracking; it refuses such a migration
unless it is forced (enable-migration=on).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.guest_iommu import BELOW_A_TRACKER, behind_guest_iommu
from vfbench.mechanisms.pinned_pages import PinnedPages
from vfbench.parameters import parameter
from vfbench.strategy import (
    HOST_STOP_ORDERS,
    Migration,
    Strategy,
    faults_of_host_stop,
    move_tracked,
    stop_order,
)


@dataclass(frozen=True)
class AllPinnedDirty(Strategy):
    """Nothing tracks the VF: whatever is mapped for it counts as dirty, in every round or at the stop."""

    name: ClassVar[str] = "all-pinned-dirty"

    when: str = parameter(
        "every-round",
        choices=("every-round", "at-stop"),
        help="when mapped pages count as dirty (QEMU's x-pre-copy-dirty-page-tracking: on, off)",
    )
    guest_iommu: str = parameter(
        "none",
        choices=BELOW_A_TRACKER,
        help="an IOMMU that the guest sees, by how long it maps; only what it maps counts",
    )
    stop_order: str = stop_order("guest-first", HOST_STOP_ORDERS)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        pinned = PinnedPages(self.when == "every-round", self.guest_iommu != "none")
        return (Vf(), *behind_guest_iommu(self.guest_iommu, unmaps_are_writes=True), pinned)

    @property
    def faults(self) -> tuple[int, ...]:
        return faults_of_host_stop(self.stop_order)

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
