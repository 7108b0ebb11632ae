"""Dirty bits in the IOMMU.

The host's IOMMU sets a dirty bit in the entry through which the device wrote. At each sync the host walks the table,
notes and clears the bits, and flushes the IOTLB. The guest knows nothing of it. What a bit stands for is what the entry
maps: memory in huge pages is mapped 2 MiB at a time, so one packet makes 512 pages dirty unless the entries are split.
Behind a guest's IOMMU entries come and go, and the bits of one that goes have to be read first.

Sources: Linux 7.3, iommufd dirty tracking (AMD since Milan, VT-d second stage, SMMUv3); 7.3 does not split entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.guest_iommu import BELOW_A_TRACKER, behind_guest_iommu
from vfbench.mechanisms.iommu_dirty_bits import LARGE_BYTES, DirtyBits
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
class IommuDirtyBits(Strategy):
    """The host's IOMMU sets a bit for what the device wrote; each sync walks, clears and flushes."""

    name: ClassVar[str] = "iommu-dirty-bits"

    entry_bytes: int = parameter(
        LARGE_BYTES, unit="bytes", choices=(4096, LARGE_BYTES), help="what an entry of the host's table maps"
    )
    split: bool = parameter(
        False, help="split large entries when the migration begins, which Linux 7.3 does not"
    )
    guest_iommu: str = parameter(
        "none",
        choices=BELOW_A_TRACKER,
        help="an IOMMU that the guest sees, by how long it maps; entries are its pages",
    )
    flush: bool = parameter(True, help="flush the IOTLB after the bits were cleared; off is fault 12")
    fence: bool = parameter(True, help="copy only once what is under way has landed; off is fault 10")
    read_on_unmap: bool = parameter(
        True, help="read an entry's bit before it is unmapped; off is fault 11 with an IOMMU"
    )
    stop_order: str = stop_order("guest-first", HOST_STOP_ORDERS)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        followed = self.guest_iommu != "none"
        bits = DirtyBits(self.entry_bytes, self.split, self.flush, self.fence, self.read_on_unmap, followed)
        return (Vf(), *behind_guest_iommu(self.guest_iommu), bits)

    @property
    def faults(self) -> tuple[int, ...]:
        return faults_of_host_stop(self.stop_order)

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
