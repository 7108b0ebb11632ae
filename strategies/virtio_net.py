"""virtio-net.

Give up the assigned device: a host thread copies packets in and out of the guest and logs every page that it
writes, so migration already works. It costs the host a core for some Gb/s, every day.

Source: Michael S. Tsirkin, linux-pci, October 2015; Linux, drivers/vhost/net.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.backends import VirtioNet as VirtioNetBackend
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class VirtioNet(Strategy):
    """A paravirtual device served by vhost in the place of the VF."""

    name: ClassVar[str] = "virtio-net"
    linux_since: ClassVar[Mapping[tuple[int, int], Mapping[str, object]]] = {
        (6, 15): {"arm_after_kick": True}
    }

    queue_size: int = parameter(
        256, unit="count", choices=(64, 128, 256, 512, 1024), help="descriptors of each virtqueue"
    )
    suppress_kicks: bool = parameter(True, help="spare vhost the kicks that it does not want")
    napi_tx: bool = parameter(
        True, help="be interrupted for frames sent, as Linux 6.12 is; false: the driver of 2015"
    )
    arm_after_kick: bool = parameter(
        False, help="ask for that interrupt after the kick, as Linux 6.15 and newer; false: as Linux 6.12"
    )

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (VirtioNetBackend(self.queue_size, self.suppress_kicks, self.napi_tx, self.arm_after_kick),)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": "guest-first"}

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.resume()
