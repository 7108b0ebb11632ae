"""The virtio-net driver's transmit side."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import VIRTIO_QUEUE_PACKET
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver_state import VIRTIO_TX_ADDED, VIRTIO_TX_KICKED, VIRTIO_TX_SEEN
from vfbench.machine.ledger import note_refused
from vfbench.machine.pages import release_page
from vfbench.machine.transmit import new_frame
from vfbench.machine.virtio_notify import TX, kick_if_wanted
from vfbench.machine.virtqueue import INDEX_MASK, available_index, load16, make_available, store16, used_index


@kernel
def virtio_ring_is_full(cpu: Any) -> bool:
    """Whether every transmit descriptor is in use."""
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    return added - load_field(cpu, cpu.driver + VIRTIO_TX_SEEN) >= cpu.virtqueue_size


@kernel
def virtio_send_one(cpu: Any, port: Any, length_bytes: int, flow: int) -> None:
    """Queue one frame for vhost; refused when ring or memory is full, as the queue discipline would."""
    if virtio_ring_is_full(cpu):
        virtio_clean_transmitted(cpu)
    if virtio_ring_is_full(cpu):
        note_refused(port)
        return
    page = new_frame(cpu, port, length_bytes, flow)
    if page == 0:
        return
    spend(cpu, VIRTIO_QUEUE_PACKET)
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    make_available(cpu, cpu.tx_queue, added, page, length_bytes)
    store_field(cpu, cpu.driver + VIRTIO_TX_ADDED, added + 1)
    store16(cpu, available_index(cpu.tx_queue, cpu.virtqueue_size), (added + 1) & INDEX_MASK)


@kernel
def virtio_ring_transmit_doorbell(cpu: Any, port: Any) -> None:
    """Kick vhost, if it wants that, for the frames queued since the last time."""
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    if added != load_field(cpu, cpu.driver + VIRTIO_TX_KICKED):
        store_field(cpu, cpu.driver + VIRTIO_TX_KICKED, added)
        kick_if_wanted(cpu, port, cpu.tx_queue, TX)


@kernel
def virtio_clean_transmitted(cpu: Any) -> None:
    """Free the frames that vhost has sent."""
    queue, size = cpu.tx_queue, cpu.virtqueue_size
    seen = load_field(cpu, cpu.driver + VIRTIO_TX_SEEN)
    used = load16(cpu, used_index(queue, size))
    if seen & INDEX_MASK == used:
        return
    while seen & INDEX_MASK != used:
        release_page(cpu, load_field(cpu, queue + 16 * (seen & (size - 1))))
        seen += 1
    store_field(cpu, cpu.driver + VIRTIO_TX_SEEN, seen)
