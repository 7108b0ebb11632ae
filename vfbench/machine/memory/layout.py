"""Where a guest's structures, packet memory and heap lie: fixed by the experiment, the same on every testbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfbench.machine.driver.state import (
    CALL_LIST_ENTRIES,
    FLUSH_QUEUE_ENTRIES,
    HELD_ENTRY_BYTES,
    HELD_PACKETS,
)
from vfbench.machine.iommu.exits import CALL_ENTRY_BYTES
from vfbench.machine.iommu.table import RING_IOVA_PAGES
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT, Allocator, Region
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES
from vfbench.machine.virtio.virtqueue import virtqueue_bytes

if TYPE_CHECKING:
    from vfbench.experiment import Experiment


@dataclass(frozen=True)
class QueueLayout:
    """Where one queue's structures and its share of packet memory lie."""

    driver: Region
    rx_ring: Region
    tx_ring: Region
    rx_buffers: Region
    tx_buffers: Region
    held: Region
    page_holders: Region
    free_pages: Region
    page_table: Region
    iova_free: Region
    call_list: Region
    flush_queue: Region
    rx_queue: Region
    tx_queue: Region
    packets: Region

    @property
    def rings(self) -> tuple[Region, ...]:
        """What holds descriptors."""
        return (self.rx_ring, self.tx_ring, self.rx_queue, self.tx_queue)


STRUCTURES = tuple(name for name in QueueLayout.__annotations__ if name != "packets")
"""The structures of a queue in the order in which they lie in memory, and the fields of a processor's record."""


@dataclass(frozen=True)
class GuestLayout:
    """The whole guest: structures of all queues, then packet memory of all queues, heap, working set, cold pages."""

    queues: tuple[QueueLayout, ...]
    structures: Region
    heaps: tuple[Region, ...]
    working_set: Region
    backed_bytes: int
    memory_bytes: int

    @property
    def cold_pages(self) -> int:
        """Pages that nobody touches during a run: sent once, never compared."""
        return (self.memory_bytes - self.backed_bytes) >> PAGE_SHIFT


def _structure_sizes(experiment: Experiment, packet_pages: int) -> dict[str, int]:
    driver = experiment.driver
    virtqueue = virtqueue_bytes(experiment.strategy.virtqueue_size)
    table_bytes = 8 * (packet_pages + RING_IOVA_PAGES)
    return {
        "driver": PAGE_BYTES,
        "rx_ring": driver.rx_ring * DESCRIPTOR_BYTES,
        "tx_ring": driver.tx_ring * DESCRIPTOR_BYTES,
        "rx_buffers": driver.rx_ring * DESCRIPTOR_BYTES,
        "tx_buffers": driver.tx_ring * DESCRIPTOR_BYTES,
        "held": HELD_PACKETS * HELD_ENTRY_BYTES,
        "page_holders": 8 * packet_pages,
        "free_pages": 8 * packet_pages,
        "page_table": table_bytes,
        "iova_free": 8 * packet_pages,
        "call_list": CALL_LIST_ENTRIES * CALL_ENTRY_BYTES,
        "flush_queue": FLUSH_QUEUE_ENTRIES * CALL_ENTRY_BYTES,
        "rx_queue": virtqueue,
        "tx_queue": virtqueue,
    }


def lay_out(experiment: Experiment, base: int = PAGE_BYTES) -> GuestLayout:
    """Lay a guest out from ``base`` upwards; page 0 stays empty so that address 0 means none."""
    queues = experiment.guest.queues
    packet_pages = (experiment.guest.packet_memory_bytes >> PAGE_SHIFT) // queues
    allocator = Allocator(base)
    sizes = _structure_sizes(experiment, packet_pages)
    structures = [{name: allocator.take(sizes[name]) for name in STRUCTURES} for _ in range(queues)]
    end_of_structures = allocator.end
    packets = [allocator.take(packet_pages << PAGE_SHIFT) for _ in range(queues)]
    # An application that wants more than there is makes do with half of what is left.
    left_bytes = experiment.guest.memory_bytes - allocator.end - experiment.workload.working_set_bytes
    heap_bytes = min(experiment.workload.heap_bytes, max(0, left_bytes // 2)) // queues
    heaps = tuple(allocator.take(heap_bytes) for _ in range(queues))
    working_set = allocator.take(experiment.workload.working_set_bytes)
    return GuestLayout(
        queues=tuple(QueueLayout(**s, packets=p) for s, p in zip(structures, packets, strict=True)),
        structures=Region(0, end_of_structures),
        heaps=heaps,
        working_set=working_set,
        backed_bytes=allocator.end,
        memory_bytes=experiment.guest.memory_bytes,
    )
