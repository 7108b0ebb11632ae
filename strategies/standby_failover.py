"""Standby failover.

The guest has a VF and a virtio-net device with the same MAC address as its standby. When a migration begins, the VF is
unplugged and virtio-net carries the traffic; memory is copied as for any paravirtual device; after the guest runs on, a
VF is plugged in and takes over once its link is up. The guest may refuse to give its VF up: then the migration is
cancelled, and nothing is lost but time.

Source: Linux's net_failover (Documentation/networking/net_failover.rst), QEMU's failover_pair_id
(docs/system/virtio-net-failover.rst), which waits for the unplug and cancels; bonding over a VF: Zhai, Cummings and
Dong, OLS 2008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.backends import Standby, Vf
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy

UNPLUGS = {"acpi": "unplug_acpi", "native": "unplug_native", "refused": "unplug_native"}


@dataclass(frozen=True)
class StandbyFailover(Strategy):
    """A VF that is unplugged for the migration, with virtio-net as its standby."""

    name: ClassVar[str] = "standby-failover"

    unplug: str = parameter(
        "acpi",
        choices=tuple(UNPLUGS),
        help="how the guest gives its VF up: by ACPI hot-plug, by native PCIe hot-plug (a button, seconds), or not",
    )
    link_watch: bool = parameter(
        True, help="the VF carries traffic only once its driver has seen the link (2 s)"
    )

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        watch = "link_watch" if self.link_watch else ""
        vf = Vf(unplugs_by=UNPLUGS[self.unplug], link_watch=watch, kept=self.unplug == "refused")
        return (vf, Standby())

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"datapath_migrating": "virtio", "stop_order": "guest-first"}

    def migrate(self, migration: Migration) -> None:
        migration.unplug_vf()
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.resume()
        migration.plug_vf()
