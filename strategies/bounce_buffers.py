"""Bounce buffers.

The device never sees the guest's buffers: it is given memory of a pool, and the CPU copies each packet on. So all
that reaches a buffer is a store, which the dirty log shows, at the price of a copy a packet and a search for room in
the pool. A pool that is full fails the mapping, and the driver goes without. The pool itself and the rings, which the
device still writes, are copied at the stop. The pool may be used always, as with ``swiotlb=force``, or only during a
migration; then what was mapped before is not bounced, and its pages are marked instead when they come back.

Sources: Linux, kernel/dma/swiotlb.c; proposed for this purpose on linux-pci, October 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism, Trait
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.bounce_pool import BouncePool
from vfbench.parameters import parameter
from vfbench.strategy import (
    FAULT_OF_STOP_ORDER,
    STOP_ORDERS,
    Migration,
    Strategy,
    faults_of_host_stop,
    stop_and_copy,
)

MIB = 1 << 20


@dataclass(frozen=True)
class BounceBuffers(Strategy):
    """DMA goes to a pool (swiotlb), and the CPU copies each packet on, so that stores show what came."""

    name: ClassVar[str] = "bounce-buffers"

    pool_bytes: int = parameter(
        64 * MIB,
        unit="bytes",
        low=MIB,
        high=1 << 30,
        multiple_of=MIB,
        help="the pool, of which each queue has a share",
    )
    when: str = parameter(
        "always",
        choices=("always", "migrating"),
        help="bounce always (swiotlb=force), or only while migrating",
    )
    old_mappings: str = parameter(
        "marked",
        choices=("marked", "forgotten"),
        help="buffers mapped before the pool was armed: their pages are marked when they come back, or not (fault 13)",
    )
    copy_in: bool = parameter(
        True, help="a map copies the buffer into the pool whatever its direction (Linux 5.18 on)"
    )
    pool_at_stop: str = parameter(
        "copied", choices=("copied", "left-out"), help="pool and rings at the stop; left out is fault 8"
    )
    stop_order: str = parameter(
        "device-first",
        choices=STOP_ORDERS,
        help="what stops first; device-last is fault 1, and while migrating only undrained is 3, guest-first 4",
    )

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        pool = BouncePool(
            pool_bytes=self.pool_bytes,
            always=self.when == "always",
            marks_old_mappings=self.old_mappings == "marked",
            copies_in=self.copy_in,
            copied_at_stop=self.pool_at_stop == "copied",
        )
        return (Vf(), pool)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"stop_order": self.stop_order}

    @property
    def faults(self) -> tuple[int, ...]:
        # Whatever is in the pool is copied at the stop; only buffers from before the pool have to be taken back.
        if self.when == "always":
            return faults_of_host_stop(self.stop_order)
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        migration.arm_tracking()
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
