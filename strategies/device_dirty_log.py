"""Device dirty log.

The VF itself writes down which pages it writes. When a migration begins the hypervisor hands it ranges of addresses and
a page size; at each sync it asks the device for what was written since. The guest knows nothing of it and pays nothing
before a migration. What it costs is the device's: an entry for the first write to a page, a wait where the ring of
entries is full, and time to answer that grows with the addresses asked for rather than with what is dirty in them.

Sources: Linux 7.3, VFIO_DEVICE_FEATURE_DMA_LOGGING_START; drivers/vfio/pci/mlx5; QEMU 11.1, hw/vfio/listener.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.device_log import COVERS, MOST_RANGES, DeviceLog
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
class DeviceDirtyLog(Strategy):
    """The VF logs the pages that it writes while a migration is under way (VFIO DMA logging)."""

    name: ClassVar[str] = "device-dirty-log"

    page_bytes: int = parameter(
        4096, unit="bytes", choices=(4096, 65536, 2 << 20), help="page of the log: what a bit stands for"
    )
    ranges: int = parameter(
        MOST_RANGES, unit="count", low=1, high=MOST_RANGES, help="ranges that it takes; surplus ones merge"
    )
    covers: str = parameter(
        "memory",
        choices=COVERS,
        help="what is logged: all memory as QEMU asks for, only memory for DMA, or that without the rings (fault 8)",
    )
    ring_entries: int = parameter(
        262_144, unit="count", low=64, high=1 << 24, help="unread entries at which the device waits"
    )
    fails_at: int = parameter(
        0, unit="count", high=1 << 40, help="after so many entries the device reports an error (0: never)"
    )
    heeds_errors: bool = parameter(True, help="after an error everything is dirty; off is fault 9")
    stop_order: str = stop_order("guest-first", HOST_STOP_ORDERS)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        log = DeviceLog(
            self.page_bytes, self.ranges, self.covers, self.ring_entries, self.fails_at, self.heeds_errors
        )
        return (Vf(), log)

    @property
    def faults(self) -> tuple[int, ...]:
        return faults_of_host_stop(self.stop_order)

    def migrate(self, migration: Migration) -> None:
        move_tracked(migration, self.stop_order)
