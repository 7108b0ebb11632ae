"""Ring inspection.

The host reads the VF's receive rings, which lie in the guest's memory, and marks the pages of buffers that the device
is done with; the guest is as it was. It takes a core of the host for the time of the pre-copy and one more pass after
the stop, knows this one device's descriptors, and can fall behind: a turn of the ring that it did not see leaves it
with nothing to go by, and everything has to be taken for dirty.

Source: Xu, Davda, SRVM, VEE 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.ring_reader import RingReader
from vfbench.parameters import parameter
from vfbench.strategy import (
    HOST_STOP_ORDERS,
    Migration,
    Strategy,
    faults_of_host_stop,
    move_tracked,
    stop_order,
)


@dataclass(frozen=True)
class RingInspection(Strategy):
    """A host thread reads the VF's rings during the pre-copy and marks the buffers that are done."""

    name: ClassVar[str] = "ring-inspection"

    last_pass: bool = parameter(True, help="read the rings once more after the stop; off is fault 15")
    heed_misses: bool = parameter(True, help="after it fell behind everything is dirty; off is fault 16")
    stop_order: str = stop_order("guest-first", HOST_STOP_ORDERS)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), RingReader(self.last_pass, self.heed_misses))

    @property
    def faults(self) -> tuple[int, ...]:
        return faults_of_host_stop(self.stop_order)

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
