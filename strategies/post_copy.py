"""Post-copy.

Stop early and copy afterwards: the VF's state moves, the guest runs at once at the destination, and a page that has not
come yet is fetched when it is met. What nobody has copied nobody needs to track. A processor or a driver that meets an
absent page waits for it; a device would have to wait too (PRI, on-demand paging). One that can't fault must have its
pages sent ahead, which lengthens the stop; let loose, it writes what the incoming page covers. If the source dies
before all has come, the guest is lost. QEMU refuses post-copy for a guest with a VFIO device.

Sources: Hines, Deshpande and Gopalan, VEE 2009; QEMU, docs/devel/migration/postcopy.rst and hw/vfio/migration.c;
Lesokhin et al., Page Fault Support for Network Controllers, ASPLOS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.absent_memory import DEVICES, AbsentMemory
from vfbench.mechanisms.backends import Vf
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class PostCopy(Strategy):
    """The guest runs at the destination before its memory has come, and fetches what it meets."""

    name: ClassVar[str] = "post-copy"

    device: str = parameter(
        "pre-sent",
        choices=DEVICES,
        help="a device that meets an absent page waits for it, has its pages sent ahead, or goes on (fault 19)",
    )
    preempt: bool = parameter(
        False, help="pages that are asked for have a channel of their own (postcopy-preempt)"
    )
    source_dies: bool = parameter(False, help="the source dies when a tenth of the rest has come: fault 20")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), AbsentMemory(self.device, self.preempt, self.source_dies))

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": "guest-first"}

    def migrate(self, migration: Migration) -> None:
        migration.pause_guest()
        migration.stop_device()
        migration.postpone_rest()
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.fetch_rest()
