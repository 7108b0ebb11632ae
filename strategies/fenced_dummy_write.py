"""Fenced dummy write.

The dummy write that cannot corrupt. The driver rewrites a byte of all that the device wrote, as in the dummy write. At
the stop the device comes first, and its posted writes have landed before the driver takes what is done: that is the
fence. Then the driver marks both rings and posts anew whatever lies past the fence, so that it is received again or
lost, and never taken for something else. Of each packet at the stop it can say whether it was delivered, comes again or
is lost. Its price is the dummy write's, and an orderly stop: no other order is offered.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.dummy_writes import BYTES, DummyWrites
from vfbench.mechanisms.fence import Fence
from vfbench.parameters import parameter
from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class FencedDummyWrite(Strategy):
    """Dummy writes, and a fence at the stop past which every descriptor starts afresh."""

    name: ClassVar[str] = "fenced-dummy-write"

    byte: str = parameter(
        "first", choices=tuple(BYTES), help="which bytes of a packet a dummy write rewrites"
    )
    atomic: bool = parameter(False, help="read and write in one locked instruction")
    reset: bool = parameter(True, help="post anew what lies past the fence; off is fault 17")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), DummyWrites(self.byte, atomic=self.atomic), Fence(self.reset))

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": "device-first"}

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        migration.notify_driver()
        migration.stop_device()
        migration.drain()
        migration.pause_guest()
        migration.copy_rest()
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
