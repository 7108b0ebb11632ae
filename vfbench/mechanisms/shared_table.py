"""A table that guest and host share: the guest writes into it what is mapped for the device, and never leaves for that.

A word for each page of packet memory: how many mappings for writing it has, and the epoch in which one last began or
ended. The host advances the epoch at each sync and takes for dirty what is mapped, and what was in the epoch that ends:
a superset of what was written, and nothing that was is left out. Rings stay mapped.

Source: Tian, Li, Guan, coIOMMU: A Virtual IOMMU with Cooperative DMA Buffer Tracking for Efficient Memory Management in
Direct I/O, USENIX ATC 2020 (its DMA tracking table). That the host pins on demand and unpins lazily, which is what the
paper does it for, costs no packet here and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import area, load_field, spend_price, store_field
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.mechanism import DirtySource, Found, HostView, Pages, QueueSizes, Trait, hook

EPOCH, TABLE = range(2)
"""Its structures in guest memory: the epoch, which the host alone writes, and a word a page, which the guest does."""
COUNT_BITS = 16
STORE_PRICE = 0


@kernel
def publish(cpu: Any, slot: int, address: int, change: int) -> None:
    """One mapping for writing more or less, in the epoch that it is."""
    spend_price(cpu, slot, STORE_PRICE)
    entry = area(cpu, slot, TABLE) + ((address - cpu.first_page) >> PAGE_SHIFT) * 8
    count = (load_field(cpu, entry) & ((1 << COUNT_BITS) - 1)) + change
    store_field(cpu, entry, load_field(cpu, area(cpu, slot, EPOCH)) << COUNT_BITS | count)


@hook
def publish_map(cpu: Any, slot: int, address: int, length_bytes: int, direction: int) -> int:
    """Before the device can know the page; the host's table maps all memory, so the address is the page's own."""
    if direction & WRITE:
        publish(cpu, slot, address, 1)
    return address


@hook
def publish_unmap(cpu: Any, slot: int, iova: int, address: int, length_bytes: int, direction: int) -> None:
    if direction & WRITE:
        publish(cpu, slot, address, -1)


@dataclass(frozen=True)
class SharedTable(DirtySource):
    """The guest publishes what is mapped for the device to write; the host reads it when it wants to know."""

    name: ClassVar[str] = "shared-table"
    demands: ClassVar[tuple[str, ...]] = ("guest-shared-table", "host-qemu")
    map: ClassVar[Kernel | None] = publish_map
    unmap: ClassVar[Kernel | None] = publish_unmap
    costs: ClassVar[tuple[str, ...]] = ("shared_table_store",)

    remembers: bool = True
    """Whether a page that was mapped and unmapped between two syncs is known to have been."""

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"epoch": PAGE_BYTES, "table": 8 * sizes.packet_pages}

    def fill_guest(self, structures: Mapping[str, npt.NDArray[np.int64]], iova_base: int) -> None:
        structures["epoch"][0] = 1

    def sync(self, view: HostView, last: bool) -> Found:
        dirty = view.ring_pages | view.structure_pages("epoch")
        entries = 0
        for queue in range(view.queues):
            entries += self._read(view, queue, dirty)
        return Found(dirty, entries * view.picoseconds("iommu_table_walk_entry"))

    def _read(self, view: HostView, queue: int, dirty: Pages) -> int:
        """One queue's table; returns how many entries it has."""
        packets, epoch = view.packet_pages(queue), view.guest_structure(queue, "epoch")
        ending = int(epoch[0])
        # The new epoch first: what the guest publishes while the table is read belongs to the next sync.
        epoch[0] = ending + 1
        table = view.guest_structure(queue, "table")[: len(packets)].copy()
        found = (table & ((1 << COUNT_BITS) - 1)) != 0
        if self.remembers:
            found |= table >> COUNT_BITS >= ending
        dirty[packets[found]] = True
        return len(table)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {
            "dma_visible_by": "shared-table",
            "guest_iommu": True,
            "mapping": "strict",
            "mappings_told_by": "shared-table",
            "tracks_always": True,
        }

    @property
    def faults(self) -> tuple[int, ...]:
        return () if self.remembers else (14,)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(refusals=("a table shared with the host: no Linux and no QEMU has coIOMMU",))
