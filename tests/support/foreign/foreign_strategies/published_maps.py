"""A table that guest and host share: the guest publishes what it maps for the device, and leaves for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.machine.cpu import area, load_field, store_field
from vfbench.mechanism import FROM_DEVICE, DirtySource, Found, hook
from vfbench.mechanisms.backends import Vf
from vfbench.strategy import Strategy, stop_and_copy


@hook
def publish(cpu: Any, slot: int, address: int, length_bytes: int, direction: int) -> int:
    if direction & FROM_DEVICE:
        entry = area(cpu, slot, 0) + ((address - cpu.first_page) >> 12) * 8
        store_field(cpu, entry, load_field(cpu, entry) | 1)
    return 0


@hook
def withdraw(cpu: Any, slot: int, iova: int, address: int, length_bytes: int, direction: int) -> None:
    if direction & FROM_DEVICE:
        store_field(cpu, area(cpu, slot, 0) + ((address - cpu.first_page) >> 12) * 8, 2)


@dataclass(frozen=True)
class SharedTable(DirtySource):
    name: ClassVar[str] = "published-table"
    map, unmap = publish, withdraw
    traits = property(lambda self: {"dma_visible_by": "shared-table"})

    def guest_structures(self, sizes):
        return {"mapped": 8 * sizes.packet_pages}

    def sync(self, view, last):
        dirty = view.ring_pages.copy()
        for queue in range(view.queues):
            pages = view.packet_pages(queue)
            dirty[pages] |= view.guest_structure(queue, "mapped")[: len(pages)] != 0
        return Found(dirty)


@dataclass(frozen=True)
class PublishedMaps(Strategy):
    """Whatever is, or was, mapped for the device counts as written."""

    name: ClassVar[str] = "published-maps"
    mechanisms = property(lambda self: (Vf(), SharedTable()))

    def migrate(self, migration):
        migration.pre_copy()
        stop_and_copy(migration, "device-first")
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
