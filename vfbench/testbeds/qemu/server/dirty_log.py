"""The dirty log that an idle vhost-user device shares with QEMU: a bit for each page of guest-physical memory.

It covers all of the guest's memory, so who serves that device can tell QEMU of any write, say of another device beside
it, as a kernel with VFIO's DMA logging would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.machine.memory.guest_memory import PAGE_SHIFT

if TYPE_CHECKING:
    from vfbench.testbeds.qemu.vhost.connection import Region

NO_HIGH_MEMORY = 1 << 62


class DirtyLog:
    """``devices`` are the records that may set bits in it by themselves, once they are told to (``device_sets``)."""

    def __init__(self, devices: Any, *, device_sets: bool) -> None:
        self._devices = devices
        self._device_sets = device_sets
        self._bytes: Any = None
        self._high_memory, self._shift = NO_HIGH_MEMORY, 0
        self.marked = 0

    @property
    def active(self) -> bool:
        """Whether QEMU keeps one, which it does while it migrates."""
        return self._bytes is not None

    def adopt(self, log: Any, regions: tuple[Region, ...]) -> None:
        """QEMU gave the log, or takes it away (None)."""
        self._bytes = log
        for region in regions:
            if region.guest_address != region.offset:
                self._high_memory, self._shift = region.offset, region.guest_address - region.offset
        for device in self._devices:
            device.high_memory, device.high_memory_shift = self._high_memory, self._shift
            on = log is not None and self._device_sets
            device.dirty_log = log.ctypes.data if on else 0
            device.dirty_log_bytes = len(log) if on else 0

    def mark(self, pages: Any) -> None:
        """Set the bits of ``pages`` of the memory's file; nothing happens while QEMU keeps no log."""
        if self._bytes is None or not len(pages):
            return
        numbers = np.asarray(pages, dtype=np.int64)
        high = numbers << PAGE_SHIFT >= self._high_memory
        numbers = np.where(high, numbers + (self._shift >> PAGE_SHIFT), numbers)
        np.bitwise_or.at(self._bytes, numbers >> 3, (1 << (numbers & 7)).astype(np.uint8))
        self.marked += len(numbers)
