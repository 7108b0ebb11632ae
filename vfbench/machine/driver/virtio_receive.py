"""The virtio-net driver's receive side: buffers from fragment pages, none of them used twice.

Three kinds, by the features that guest and host agree on. *Single*: half a page, which takes a frame (no
VIRTIO_NET_F_GUEST_TSO). *Mergeable* (VIRTIO_NET_F_MRG_RXBUF): a packet takes as many as it needs; how large they are
follows the packets that came, as an average with a weight of 1/64 (``get_mergeable_buf_len``). *Big*: seventeen pages
each, which take 64 KiB; those that a packet leaves stay in their buffer (``add_recvbuf_big``, ``receive_big``).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DESCRIPTOR_READ, RX_PACKET, VIRTIO_QUEUE_PACKET
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.gather import receive_part
from vfbench.machine.driver.gro import receive_packet
from vfbench.machine.driver.state import MERGE_AVERAGE, VIRTIO_RX_ADDED, VIRTIO_RX_SEEN
from vfbench.machine.driver.virtio_notify import RX, interrupt_after, kick_if_wanted
from vfbench.machine.memory.guest_memory import BLOCK_BYTES, HALF_PAGE_BYTES, PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.memory.page_pool import alloc_fragment, alloc_page
from vfbench.machine.virtio.virtqueue import (
    BIG_BUFFER_PAGES,
    DESCRIPTOR_INDIRECT,
    DESCRIPTOR_WRITE,
    FURTHER_SHIFT,
    INDEX_MASK,
    available_index,
    load16,
    load32,
    make_available,
    store16,
    used_entry,
    used_index,
)

SINGLE, MERGEABLE, BIG = range(3)
"""Values of ``cpu.virtio_buffers``."""
BIG_BUFFER = 16 * BIG_BUFFER_PAGES | DESCRIPTOR_INDIRECT | DESCRIPTOR_WRITE
AVERAGE_SHIFT = 6
"""``DECLARE_EWMA(pkt_len, 0, 64)``."""
LENGTH_MASK = (1 << FURTHER_SHIFT) - 1


@kernel
def mergeable_bytes(cpu: Any) -> int:
    """How large a mergeable buffer is: half a page for frames, up to a page for what is longer on average."""
    average = load_field(cpu, cpu.driver + MERGE_AVERAGE)
    return min(PAGE_BYTES, max(HALF_PAGE_BYTES, (average + BLOCK_BYTES - 1) & -BLOCK_BYTES))


@kernel
def receive_mergeable(cpu: Any, pair: Any, application: Any, seen: int, further: int) -> None:
    """A packet of one buffer and ``further`` ones, from used entry number ``seen`` on."""
    queue, size, packet_bytes = cpu.rx_queue, cpu.virtqueue_size, 0
    for i in range(further + 1):
        entry = used_entry(queue, size, seen + i)
        slot, length_bytes = load32(cpu, entry), load32(cpu, entry + 4) & LENGTH_MASK
        if i > 0:
            spend(cpu, DESCRIPTOR_READ)
        buffer = load_field(cpu, queue + 16 * (slot & (size - 1)))
        store_field(cpu, cpu.driver + VIRTIO_RX_SEEN, seen + i + 1)
        packet_bytes += length_bytes
        if i == further:
            average = load_field(cpu, cpu.driver + MERGE_AVERAGE)
            step = (packet_bytes - average) >> AVERAGE_SHIFT if average else packet_bytes
            store_field(cpu, cpu.driver + MERGE_AVERAGE, average + step)
        receive_part(cpu, pair, application, slot, 0, buffer, length_bytes, i == further)


@kernel
def big_table(cpu: Any, count: int) -> int:
    """Address of the table of pages that big buffer number ``count`` has."""
    return cpu.rx_indirect + (count & (cpu.virtqueue_size - 1)) * (16 * BIG_BUFFER_PAGES)


@kernel
def receive_big(cpu: Any, pair: Any, application: Any, slot: int, length_bytes: int) -> None:
    """A packet in the pages of one big buffer."""
    table, offset = big_table(cpu, slot), 0
    while offset < length_bytes:
        entry, part = table + ((offset >> PAGE_SHIFT) << 4), min(PAGE_BYTES, length_bytes - offset)
        page = load_field(cpu, entry)
        store_field(cpu, entry, 0)
        ends = offset + part == length_bytes
        receive_part(cpu, pair, application, slot, offset, page, part, ends)
        offset += part


@kernel
def fill_big(cpu: Any, count: int) -> int:
    """Put a page where a packet took one; returns the buffer's table, or 0 where no page is left."""
    table = big_table(cpu, count)
    for i in range(BIG_BUFFER_PAGES):
        if load_field(cpu, table + 16 * i) == 0:
            page = alloc_page(cpu)
            if page == 0:
                return 0
            store_field(cpu, table + 16 * i, page)
            store_field(cpu, table + 16 * i + 8, PAGE_BYTES | DESCRIPTOR_WRITE)
    return table


@kernel
def virtio_receive_one(cpu: Any, pair: Any, application: Any) -> int:
    """Take the next used buffer; returns 1 if there was one, else 0."""
    queue, size = cpu.rx_queue, cpu.virtqueue_size
    seen = load_field(cpu, cpu.driver + VIRTIO_RX_SEEN)
    if load16(cpu, used_index(queue, size)) == seen & INDEX_MASK:
        return 0
    entry = used_entry(queue, size, seen)
    slot, length_bytes = load32(cpu, entry), load32(cpu, entry + 4)
    if cpu.virtio_buffers != SINGLE:
        spend(cpu, VIRTIO_QUEUE_PACKET)
        if cpu.virtio_buffers == MERGEABLE:
            receive_mergeable(cpu, pair, application, seen, length_bytes >> FURTHER_SHIFT)
        else:
            store_field(cpu, cpu.driver + VIRTIO_RX_SEEN, seen + 1)
            receive_big(cpu, pair, application, slot, length_bytes)
        return 1
    buffer = load_field(cpu, queue + 16 * (slot & (size - 1)))
    if not cpu.gro:
        spend(cpu, RX_PACKET)
    spend(cpu, VIRTIO_QUEUE_PACKET)
    store_field(cpu, cpu.driver + VIRTIO_RX_SEEN, seen + 1)
    receive_packet(cpu, pair, application, slot, buffer, length_bytes)
    return 1


@kernel
def virtio_empty_slots(cpu: Any) -> int:
    """Descriptors that no buffer has been offered in."""
    added = load_field(cpu, cpu.driver + VIRTIO_RX_ADDED)
    return cpu.virtqueue_size - (added - load_field(cpu, cpu.driver + VIRTIO_RX_SEEN))


@kernel
def virtio_refill(cpu: Any, pair: Any) -> None:
    """Offer a buffer in every free descriptor, publish them together, then kick if vhost waits for them."""
    added = load_field(cpu, cpu.driver + VIRTIO_RX_ADDED)
    filled = 0
    buffer_bytes = mergeable_bytes(cpu) if cpu.virtio_buffers == MERGEABLE else HALF_PAGE_BYTES
    for _ in range(virtio_empty_slots(cpu)):
        if cpu.virtio_buffers == BIG:
            buffer, length_and_flags = fill_big(cpu, added + filled), BIG_BUFFER
        else:
            buffer, length_and_flags = alloc_fragment(cpu, buffer_bytes), buffer_bytes | DESCRIPTOR_WRITE
        if buffer == 0:
            break
        make_available(cpu, cpu.rx_queue, added + filled, buffer, length_and_flags)
        filled += 1
    if filled == 0:
        return
    store_field(cpu, cpu.driver + VIRTIO_RX_ADDED, added + filled)
    store16(cpu, available_index(cpu.rx_queue, cpu.virtqueue_size), (added + filled) & INDEX_MASK)
    kick_if_wanted(cpu, pair, cpu.rx_queue, RX, added, added + filled)


@kernel
def virtio_receive_interrupts_on(cpu: Any) -> bool:
    """Polling is over, the next packet interrupts; False if one has come already (``virtqueue_napi_complete``)."""
    return interrupt_after(cpu, cpu.rx_queue, load_field(cpu, cpu.driver + VIRTIO_RX_SEEN), 0)
