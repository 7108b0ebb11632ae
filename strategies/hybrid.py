"""Hybrid.

What the parts of the others do best, together. The driver's dummy writes tell what was written, exactly and without
hardware, but only while a migration is under way, so nothing is paid before it. The hypervisor sends last what changes
most: packet memory after all the rest, and posted buffers, which the device is about to overwrite, at the stop, as an
emulated IOMMU lets it, but from a list that the driver shows it and without an exit. It goes on as long as each round
leaves less than the one before, so that little is left for the stop, and the stop has the fence: nothing can corrupt.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.armed_dummy_writes import ArmedDummyWrites
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.fence import Fence
from vfbench.mechanisms.withheld_buffers import WithheldBuffers
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class Hybrid(Strategy):
    """Dummy writes armed by the migration, packet memory sent last, posted buffers at a fenced stop."""

    name: ClassVar[str] = "hybrid"

    withhold: bool = parameter(True, help="send packet memory last, and posted buffers at the stop")
    shrink: bool = parameter(
        True, help="go on while each round leaves less than the one before, whatever the limit allows"
    )

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        withheld = (WithheldBuffers(),) if self.withhold else ()
        return (Vf(), ArmedDummyWrites(), *withheld, Fence())

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": "device-first"}

    def migrate(self, migration: Migration) -> None:
        migration.arm_tracking()
        migration.pre_copy()
        if self.shrink:
            migration.shrink_rest()
        migration.notify_driver()
        migration.stop_device()
        migration.drain()
        migration.pause_guest()
        migration.copy_rest()
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
