"""Cooperative IOMMU.

The guest publishes which pages are mapped for the device in a table that it shares with the host: a store for each map
and each unmap, and no exit. The host reads the table when it wants to know, at each sync of a migration. What it learns
is what was mapped, not what was written, a superset; a page that was mapped and unmapped between two looks has to be in
it, or its packet is lost.

Source: Tian, Li, Guan, coIOMMU, USENIX ATC 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.shared_table import SharedTable
from vfbench.parameters import parameter
from vfbench.strategy import (
    HOST_STOP_ORDERS,
    Migration,
    Strategy,
    faults_of_host_stop,
    stop_and_copy,
    stop_order,
)


@dataclass(frozen=True)
class CooperativeIommu(Strategy):
    """The guest publishes mapped pages in a table that it shares with the host, and never exits for it."""

    name: ClassVar[str] = "cooperative-iommu"

    remember: bool = parameter(
        True, help="a page mapped and unmapped between two syncs counts as dirty; off is fault 14"
    )
    stop_order: str = stop_order("guest-first", HOST_STOP_ORDERS)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), SharedTable(self.remember))

    @property
    def faults(self) -> tuple[int, ...]:
        return faults_of_host_stop(self.stop_order)

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
