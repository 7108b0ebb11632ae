"""virtio-net.

Give up the assigned device: a host thread copies packets in and out of the guest and logs every page that it
writes, so migration already works. Either always, or as a ``fallback``: the guest uses its VF, fails over to
virtio-net before the migration, the VF is unplugged for its time, and a VF is plugged in after it.

Source: Michael S. Tsirkin, linux-pci, October 2015; bonding over a VF: Zhai, Cummings and Dong, OLS 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class VirtioNet(Strategy):
    """A paravirtual device served by vhost, always or for the time of the migration."""

    name: ClassVar[str] = "virtio-net"

    use: str = parameter(
        "always", choices=("always", "fallback"), help="instead of the VF, or only while the guest migrates"
    )
    queue_size: int = parameter(
        256, unit="count", choices=(64, 128, 256, 512, 1024), help="descriptors of each virtqueue"
    )
    suppress_kicks: bool = parameter(True, help="spare vhost the kicks that it does not want")
    napi_tx: bool = parameter(
        True, help="be interrupted for frames sent, as Linux 6.12 is; false: the driver of 2015"
    )

    @property
    def path(self) -> str:
        return "virtio" if self.use == "always" else "vf"

    @property
    def path_migrating(self) -> str:
        return "virtio"

    @property
    def dma_visible_by(self) -> str:
        return "host-copy"

    @property
    def stop_order(self) -> str:
        return "guest-first"

    @property
    def has_virtio(self) -> bool:
        return True

    @property
    def virtqueue_size(self) -> int:
        return self.queue_size

    @property
    def kick_suppression(self) -> bool:
        return self.suppress_kicks

    @property
    def transmit_interrupts(self) -> bool:
        return self.napi_tx

    def migrate(self, migration: Migration) -> None:
        if self.use == "fallback":
            migration.unplug_vf()
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.resume()
        if self.use == "fallback":
            migration.plug_vf()
