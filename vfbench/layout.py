"""Where a guest's structures, packet memory and heap lie: fixed by the experiment, the same on every testbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfbench.machine.driver.state import (
    HELD_ENTRY_BYTES,
    HELD_PACKETS,
)
from vfbench.machine.memory.block_pool import BLOCK_PAGES, SEND_BLOCK_BYTES
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT, Allocator, Region
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES
from vfbench.machine.virtio.virtqueue import BIG_BUFFER_PAGES, MOST_CHAIN_ENTRIES, virtqueue_bytes
from vfbench.machine.wire import BUFFER_BYTES, ETHERNET_BYTES
from vfbench.mechanism import QueueSizes
from vfbench.strategy import backends

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vfbench.experiment import Experiment
    from vfbench.strategy import Strategy

DEFAULT_VIRTQUEUE = 256
OWN_PAGES = 512
"""A testbed may keep as much for itself below the guest's memory (2 MiB on a real VM)."""


@dataclass(frozen=True)
class QueueLayout:
    """Where one queue's structures and its share of packet memory lie."""

    driver: Region
    rx_ring: Region
    tx_ring: Region
    rx_buffers: Region
    tx_buffers: Region
    held: Region
    page_refcounts: Region
    free_pages: Region
    rx_queue: Region
    tx_queue: Region
    rx_indirect: Region
    tx_indirect: Region
    packets: Region
    mechanisms: tuple[dict[str, Region], ...]
    """For each slot, its mechanism's structures by name, payload structures last."""
    dma_end: int
    """The device may be pointed at packets and at what follows them up to here: mechanisms' payload structures."""
    blocks: int = 0
    """At the end of packet memory, runs of eight pages for the bytes of large sends."""

    @property
    def first_block(self) -> int:
        """Guest-physical address of the first of them."""
        return self.packets.end - self.blocks * SEND_BLOCK_BYTES

    @property
    def rings(self) -> tuple[Region, ...]:
        """What holds descriptors."""
        return (self.rx_ring, self.tx_ring, self.rx_queue, self.tx_queue)


STRUCTURES = tuple(QueueLayout.__annotations__)[: list(QueueLayout.__annotations__).index("packets")]
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
    driver, paths = experiment.driver, [each.path for each in backends(experiment.strategy)]
    rx, tx = (DESCRIPTOR_BYTES * n if PATH_VF in paths else 0 for n in (driver.rx_ring, driver.tx_ring))
    virtqueue = virtqueue_bytes(virtqueue_size(experiment.strategy)) if set(paths) - {PATH_VF} else 0
    return {
        "driver": PAGE_BYTES,
        "rx_ring": rx,
        "tx_ring": tx,
        "rx_buffers": rx,
        "tx_buffers": tx,
        "held": HELD_PACKETS * HELD_ENTRY_BYTES,
        "page_refcounts": 8 * packet_pages,
        "free_pages": 8 * packet_pages,
        "rx_queue": virtqueue,
        "tx_queue": virtqueue,
        "rx_indirect": _big_bytes(experiment) if virtqueue else 0,
        "tx_indirect": _indirect_bytes(experiment) if virtqueue else 0,
    }


def _big_bytes(experiment: Experiment) -> int:
    """A table of pages for each slot of the receive virtqueue, where buffers are big."""
    if experiment.driver.virtio_buffers != "big":
        return 0
    return virtqueue_size(experiment.strategy) * 16 * BIG_BUFFER_PAGES


def _indirect_bytes(experiment: Experiment) -> int:
    """A table for each slot of the transmit virtqueue, where large sends go down it."""
    if experiment.driver.segmentation == "off" and not spreads_frames(experiment):
        return 0
    return virtqueue_size(experiment.strategy) * 16 * MOST_CHAIN_ENTRIES


def spreads_frames(experiment: Experiment) -> bool:
    """Whether a frame may be longer than a receive buffer."""
    return experiment.link.mtu_bytes + ETHERNET_BYTES > BUFFER_BYTES


def send_blocks(experiment: Experiment) -> int:
    """Blocks of a queue: a quarter of its packet memory, where large sends lie in runs of pages."""
    driver = experiment.driver
    if driver.segmentation == "off" and not spreads_frames(experiment):
        return 0
    if driver.send_pages == "order-0":
        return 0
    return queue_sizes(experiment).packet_pages // 4 // BLOCK_PAGES


def virtqueue_size(strategy: Strategy) -> int:
    """Descriptors of each virtqueue, by whichever backend has one."""
    sizes = [each.driver_fields.get("virtqueue_size", 0) for each in backends(strategy)]
    return max(sizes) or DEFAULT_VIRTQUEUE


def queue_sizes(experiment: Experiment) -> QueueSizes:
    """What a mechanism's structures may depend on."""
    guest, driver = experiment.guest, experiment.driver
    return QueueSizes(
        rx_ring=driver.rx_ring,
        tx_ring=driver.tx_ring,
        packet_pages=(guest.packet_memory_bytes >> PAGE_SHIFT) // guest.queues,
        memory_pages=(guest.memory_bytes >> PAGE_SHIFT) + OWN_PAGES,
        queues=guest.queues,
    )


def _take(allocator: Allocator, sizes: list[Mapping[str, int]]) -> list[dict[str, Region]]:
    return [{name: allocator.take(size) for name, size in each.items()} for each in sizes]


def room_refusals(experiment: Experiment, base: int = PAGE_BYTES) -> list[str]:
    """A line for what does not fit: buffers into packet memory, or what lies from ``base`` upwards into the guest."""
    given_bytes, queues = experiment.guest.packet_memory_bytes, experiment.guest.queues
    pages, driver = (given_bytes >> PAGE_SHIFT) // queues, experiment.driver
    pages -= BLOCK_PAGES * send_blocks(experiment)
    # Half of them are held by packets that the application keeps and by buffers that were just returned.
    wanted = 2 * (driver.rx_ring + driver.tx_ring)
    if driver.virtio_buffers == "big":
        wanted += BIG_BUFFER_PAGES * virtqueue_size(experiment.strategy)
    if pages < wanted:
        return [
            f"guest.packet-memory: {given_bytes} bytes are {pages} pages a queue, "
            f"and rings of {driver.rx_ring} and {driver.tx_ring} want {wanted}{_also(experiment)}"
        ]
    given_bytes, taken_bytes = experiment.guest.memory_bytes, lay_out(experiment, base).backed_bytes - base
    if taken_bytes + PAGE_BYTES <= given_bytes:
        return []
    return [
        f"guest.memory: {given_bytes} bytes do not hold packet memory, working set and structures of "
        f"{taken_bytes + PAGE_BYTES} bytes"
    ]


def _also(experiment: Experiment) -> str:
    if experiment.driver.virtio_buffers != "big":
        return ""
    size = virtqueue_size(experiment.strategy)
    return f", with {size} big receive buffers of {BIG_BUFFER_PAGES} pages (driver.virtio-buffers=big)"


def lay_out(experiment: Experiment, base: int = PAGE_BYTES) -> GuestLayout:
    """Lay a guest out from ``base`` upwards; page 0 stays empty so that address 0 means none."""
    queues, available = experiment.guest.queues, queue_sizes(experiment)
    mechanisms = experiment.strategy.mechanisms
    allocator = Allocator(base)
    sizes = _structure_sizes(experiment, available.packet_pages)
    own = [each.guest_structures(available) for each in mechanisms]
    payload = [each.payload_structures(available) for each in mechanisms]
    structures, areas = [], []
    for _ in range(queues):
        structures.append({name: allocator.take(sizes[name]) for name in STRUCTURES})
        areas.append(_take(allocator, own))
    end_of_structures = allocator.end
    parts = []
    for structure, area in zip(structures, areas, strict=True):
        packets = allocator.take(available.packet_pages << PAGE_SHIFT)
        pools = _take(allocator, payload)
        by_slot = tuple({**words, **pool} for words, pool in zip(area, pools, strict=True))
        parts.append(
            QueueLayout(
                **structure,
                packets=packets,
                mechanisms=by_slot,
                dma_end=allocator.end,
                blocks=send_blocks(experiment),
            )
        )
    # An application that wants more than there is makes do with half of what is left.
    left_bytes = experiment.guest.memory_bytes - allocator.end - experiment.workload.working_set_bytes
    heap_bytes = min(experiment.workload.heap_bytes, max(0, left_bytes // 2)) // queues
    heaps = tuple(allocator.take(heap_bytes) for _ in range(queues))
    working_set = allocator.take(experiment.workload.working_set_bytes)
    return GuestLayout(
        queues=tuple(parts),
        structures=Region(0, end_of_structures),
        heaps=heaps,
        working_set=working_set,
        backed_bytes=allocator.end,
        memory_bytes=experiment.guest.memory_bytes,
    )
