"""The virtio-net driver's receive side: buffers of half a page from fragment pages, none of them used twice."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import RX_PACKET, VIRTIO_QUEUE_PACKET
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.gro import receive_packet
from vfbench.machine.driver.state import VIRTIO_RX_ADDED, VIRTIO_RX_SEEN
from vfbench.machine.driver.virtio_notify import RX, interrupt_after, kick_if_wanted
from vfbench.machine.memory.guest_memory import HALF_PAGE_BYTES
from vfbench.machine.memory.page_pool import alloc_fragment
from vfbench.machine.virtio.virtqueue import (
    DESCRIPTOR_WRITE,
    INDEX_MASK,
    available_index,
    load16,
    load32,
    make_available,
    store16,
    used_entry,
    used_index,
)


@kernel
def virtio_receive_one(cpu: Any, port: Any, application: Any) -> int:
    """Take the next used buffer; returns 1 if there was one, else 0."""
    queue, size = cpu.rx_queue, cpu.virtqueue_size
    seen = load_field(cpu, cpu.driver + VIRTIO_RX_SEEN)
    if load16(cpu, used_index(queue, size)) == seen & INDEX_MASK:
        return 0
    entry = used_entry(queue, size, seen)
    slot, length_bytes = load32(cpu, entry), load32(cpu, entry + 4)
    buffer = load_field(cpu, queue + 16 * (slot & (size - 1)))
    if not cpu.gro:
        spend(cpu, RX_PACKET)
    spend(cpu, VIRTIO_QUEUE_PACKET)
    store_field(cpu, cpu.driver + VIRTIO_RX_SEEN, seen + 1)
    receive_packet(cpu, port, application, slot, buffer, length_bytes)
    return 1


@kernel
def virtio_empty_slots(cpu: Any) -> int:
    """Descriptors that no buffer has been offered in."""
    added = load_field(cpu, cpu.driver + VIRTIO_RX_ADDED)
    return cpu.virtqueue_size - (added - load_field(cpu, cpu.driver + VIRTIO_RX_SEEN))


@kernel
def virtio_refill(cpu: Any, port: Any) -> None:
    """Offer a buffer in every free descriptor, publish them together, then kick if vhost waits for them."""
    added = load_field(cpu, cpu.driver + VIRTIO_RX_ADDED)
    filled = 0
    for _ in range(virtio_empty_slots(cpu)):
        buffer = alloc_fragment(cpu, HALF_PAGE_BYTES)
        if buffer == 0:
            break
        make_available(cpu, cpu.rx_queue, added + filled, buffer, HALF_PAGE_BYTES | DESCRIPTOR_WRITE)
        filled += 1
    if filled == 0:
        return
    store_field(cpu, cpu.driver + VIRTIO_RX_ADDED, added + filled)
    store16(cpu, available_index(cpu.rx_queue, cpu.virtqueue_size), (added + filled) & INDEX_MASK)
    kick_if_wanted(cpu, port, cpu.rx_queue, RX, added, added + filled)


@kernel
def virtio_receive_interrupts_on(cpu: Any) -> bool:
    """Polling is over, the next packet interrupts; False if one has come already (``virtqueue_napi_complete``)."""
    return interrupt_after(cpu, cpu.rx_queue, load_field(cpu, cpu.driver + VIRTIO_RX_SEEN), 0)
