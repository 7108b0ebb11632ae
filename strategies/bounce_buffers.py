"""Bounce buffers.

The device never sees the guest's buffers: it is given memory of a pool, and the CPU copies each packet on. So all
that reaches a buffer is a store, which the dirty log shows, for a copy a packet and a search for room under a lock. A
full pool fails the mapping. Pool and rings, which the device still writes, are copied at the stop. With a pool for the
migration only, pages mapped before it are marked when they come back.

Sources: Linux, kernel/dma/swiotlb.c; proposed for this purpose on linux-pci, October 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.bounce_pool import BouncePool
from vfbench.parameters import parameter
from vfbench.strategy import (
    FAULT_OF_STOP_ORDER,
    Migration,
    Strategy,
    faults_of_host_stop,
    move_tracked,
    stop_order,
)

MIB = 1 << 20


@dataclass(frozen=True)
class BounceBuffers(Strategy):
    """DMA goes to a pool (swiotlb), and the CPU copies each packet on, so that stores show what came."""

    name: ClassVar[str] = "bounce-buffers"

    pool_bytes: int = parameter(
        64 * MIB, unit="bytes", low=MIB, high=1 << 30, multiple_of=MIB, help="the pool, shared by the queues"
    )
    when: str = parameter(
        "always", choices=("always", "migrating"), help="always (swiotlb=force), or while migrating"
    )
    old_mappings: str = parameter(
        "marked", choices=("marked", "forgotten"), help="pages mapped before; forgotten is fault 13"
    )
    copy_in: bool = parameter(True, help="a map copies into the pool in any direction (Linux 5.18 on)")
    pool_at_stop: str = parameter(
        "copied", choices=("copied", "left-out"), help="pool and rings at the stop; left out is fault 8"
    )
    areas: int = parameter(
        0, unit="count", high=1024, in_identity_at_default=False, help="with a lock each (0: the profile's)"
    )
    stop_order: str = stop_order("device-first")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        marked, copied = self.old_mappings == "marked", self.pool_at_stop == "copied"
        always = self.when == "always"
        return (Vf(), BouncePool(self.pool_bytes, always, marked, self.copy_in, copied, self.areas))

    @property
    def faults(self) -> tuple[int, ...]:
        # Whatever is in the pool is copied at the stop; only buffers from before the pool have to be taken back.
        if self.when == "always":
            return faults_of_host_stop(self.stop_order)
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
