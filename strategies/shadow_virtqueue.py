"""Shadow virtqueues.

The guest drives virtio-net, and the card serves its virtqueues itself (vDPA): as fast as a VF, and its DMA as unseen.
When a migration begins the hypervisor suspends the device, gives it rings of its own instead of the guest's, and relays
each buffer between the two, so that it knows, and logs, which pages were written. The relay takes a core, and is as
full as that core. The traffic stops twice: while the relay is put in, and while the destination's device is made, which
then serves the guest's rings without a relay. A device reaches guest memory that is pinned and mapped for it: QEMU did
that for each device once the guest had stopped, until it was moved ahead of the migration.

Sources: QEMU, hw/virtio/vhost-shadow-virtqueue.c and vhost-vdpa.c; Linux, drivers/vdpa/mlx5, suspend and resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.vdpa import Relay, Vdpa
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class ShadowVirtqueue(Strategy):
    """vDPA, with the hypervisor's own rings in front of the device while it migrates."""

    name: ClassVar[str] = "shadow-virtqueue"

    queue_size: int = parameter(
        256, unit="count", choices=(64, 128, 256, 512, 1024), help="descriptors of each virtqueue"
    )
    pins_after_stop: int = parameter(
        0,
        unit="count",
        high=64,
        in_identity_at_default=False,
        help="devices for which the destination pins and maps all memory after the stop (0: ahead of the migration)",
    )
    logs: bool = parameter(True, help="the relay logs the pages that it passes back; off is fault 18")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vdpa(self.queue_size, self.pins_after_stop), Relay(self.logs))

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"datapath_migrating": "vdpa-relay", "stop_order": "guest-first"}

    def migrate(self, migration: Migration) -> None:
        migration.switch_to("relay")
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.switch_to("vdpa")
        migration.resume()
