"""Emulated IOMMU.

The guest sees an IOMMU and maps each page for the device before the device may use it. Each map and each unmap
reaches the hypervisor, which so learns what the device may write: a page mapped DMA_FROM_DEVICE is not migrated
until it is unmapped, and what is still mapped at the stop is copied then.

Sources: Alexander Duyck and Michael S. Tsirkin, linux-pci, October 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.machine.iommu.table import CALL_LIST_ENTRIES
from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.guest_iommu import MODES, GuestIommu
from vfbench.parameters import parameter
from vfbench.strategy import FAULT_OF_STOP_ORDER, Migration, Strategy, move_tracked, stop_order


@dataclass(frozen=True)
class EmulatedIommu(Strategy):
    """A guest-visible IOMMU notifies the hypervisor of what the device may write; such pages wait until unmapped."""

    name: ClassVar[str] = "emulated-iommu"
    linux_defaults: ClassVar[Mapping[str, object]] = {"exit_to": "user-space", "skip_mapped": False}

    mode: str = parameter(
        "strict",
        choices=MODES,
        help="unmap at once, lazily in batches, map everything once for good, or leave a page mapped for some "
        "milliseconds so that its next map finds it (optimistic, no Linux has it); a Linux guest behind caching mode "
        "gets strict when it asks for deferred ('IOMMU batching disallowed due to virtualization'), and static with "
        "iommu=pt",
    )
    exit_to: str = parameter(
        "kernel",
        choices=("user-space", "kernel", "other-core", "none"),
        help="who carries a map or unmap out",
    )
    entries: int = parameter(
        1, unit="count", low=1, high=CALL_LIST_ENTRIES, help="maps and unmaps handed over with one exit"
    )
    tracking: str = parameter(
        "always", choices=("always", "migrating"), help="notify the hypervisor always, or while migrating"
    )
    skip_mapped: bool = parameter(
        True, help="do not migrate a page mapped for the device until it is unmapped"
    )
    late_maps: bool = parameter(True, help="maps after tracking was armed are noticed; off is fault 6")
    unmap_early: bool = parameter(
        False, help="notify of an unmap while the device still uses the page (fault 5)"
    )
    stop_order: str = stop_order("device-first")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        always, early = self.tracking == "always", self.unmap_early
        options = (self.mode, self.exit_to, self.entries, always, self.skip_mapped, self.late_maps, early)
        return (Vf(), GuestIommu(*options))

    @property
    def faults(self) -> tuple[int, ...]:
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
