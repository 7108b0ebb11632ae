"""VFIO migration.

The way of a real variant driver: the card itself saves and loads its VF's state, and a dirty source of choice says what
it wrote. Initial bytes of the state go while the VF runs, and the destination acknowledges them before the switchover;
what is left goes in the stop. Several VFs of a guest go through P2P together before any of them stops, and their states
are loaded one after the other, or all at once over multifd.

Sources: Linux's VFIO migration protocol v2 (include/uapi/linux/vfio.h), drivers/vfio/pci/mlx5; QEMU,
docs/devel/migration/vfio.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import DeviceState, Mechanism, Trait
from vfbench.mechanisms.backends import MigratableVf
from vfbench.mechanisms.device_log import DeviceLog
from vfbench.mechanisms.iommu_dirty_bits import DirtyBits
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy, stop_and_copy

MIB = 1 << 20
SOURCES = {"device-log": DeviceLog, "iommu-dirty-bits": DirtyBits}


@dataclass(frozen=True)
class VfioMigration(Strategy):
    """A VF whose variant driver moves its state, over a dirty source of choice."""

    name: ClassVar[str] = "vfio-migration"

    state_bytes: int = parameter(
        100 * MIB,
        unit="bytes",
        low=0,
        high=1 << 32,
        help="state of one VF (mlx5: about 100 MiB; pds: 64 KiB)",
    )
    initial_bytes: int = parameter(
        90 * MIB, unit="bytes", low=0, high=1 << 32, help="of that, what goes before the stop (PRE_COPY)"
    )
    vfs: int = parameter(
        1, unit="count", low=1, high=16, help="VFs of the guest, which share out guest.queues among them"
    )
    parallel: bool = parameter(False, help="load the states of several VFs at once (multifd)")
    source: str = parameter("device-log", choices=tuple(SOURCES), help="who says what the device wrote")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        early_bytes = min(self.initial_bytes, self.state_bytes)
        state = DeviceState(self.state_bytes, early_bytes, self.vfs, self.parallel)
        return (MigratableVf(state=state), SOURCES[self.source]())

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": "guest-first"}

    def migrate(self, migration: Migration) -> None:
        migration.arm_tracking()
        migration.pre_copy()
        stop_and_copy(migration, "guest-first")
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
