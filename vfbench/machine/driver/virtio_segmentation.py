"""A send over the MTU over virtio-net: one chain, in an indirect table, with the cutting left to the host's card.

The table takes one slot of the queue however many fragments the send has (VIRTIO_F_INDIRECT_DESC, virtio 1.2, 2.7.5.3),
and a used entry and an interrupt are the whole send's. Its header asks for the cutting (VIRTIO_NET_HDR_GSO_TCPV4).

Sources: ``xmit_skb`` (drivers/net/virtio_net.c), ``virtqueue_add_split`` (drivers/virtio/virtio_ring.c).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import TX_FRAGMENT, VIRTIO_QUEUE_PACKET
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.send_memory import (
    begin_large_send,
    fragment_length,
    memory_is_short,
    new_fragment,
    refuse_send,
    write_headers,
)
from vfbench.machine.driver.state import VIRTIO_TX_ADDED
from vfbench.machine.driver.virtio_transmit import (
    ARMED_AFTER_KICK,
    virtio_ring_is_full,
    virtio_take_back_sent,
    virtio_want_no_transmit_interrupt,
)
from vfbench.machine.memory.page_pool import alloc_page
from vfbench.machine.virtio.virtqueue import (
    DESCRIPTOR_INDIRECT,
    INDEX_MASK,
    available_index,
    indirect_table,
    make_available,
    store16,
)
from vfbench.machine.wire import HEADER_BYTES


@kernel
def put_chain_entry(cpu: Any, table: int, entries: int, address: int, length_bytes: int) -> None:
    """Entry number ``entries`` of an indirect table."""
    spend(cpu, TX_FRAGMENT)
    store_field(cpu, table + 16 * entries, address)
    store_field(cpu, table + 16 * entries + 8, length_bytes)


@kernel
def put_chain(cpu: Any, table: int, payload_bytes: int, sequence: int) -> int:
    """Write headers and fragments into memory and name them in ``table``; returns how many entries that took."""
    head = alloc_page(cpu)
    write_headers(cpu, head, sequence)
    put_chain_entry(cpu, table, 0, head, HEADER_BYTES)
    entries, offset = 1, 0
    while offset < payload_bytes:
        address = new_fragment(cpu, offset, payload_bytes, sequence)
        length_bytes = fragment_length(cpu, address, offset, payload_bytes)
        put_chain_entry(cpu, table, entries, address, length_bytes)
        entries += 1
        offset += length_bytes
    return entries


@kernel
def virtio_send_large(cpu: Any, pair: Any, payload_bytes: int, flow: int) -> None:
    """Queue one send of several frames for vhost; refused when ring or memory may not hold it."""
    if cpu.transmit_interrupts == ARMED_AFTER_KICK:
        virtio_want_no_transmit_interrupt(cpu)
    else:
        virtio_take_back_sent(cpu)
    if virtio_ring_is_full(cpu) or memory_is_short(cpu):
        refuse_send(cpu, pair, payload_bytes)
        return
    sequence = begin_large_send(cpu, pair, payload_bytes, flow)
    spend(cpu, VIRTIO_QUEUE_PACKET)
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    table = indirect_table(cpu, added)
    entries = put_chain(cpu, table, payload_bytes, sequence)
    make_available(cpu, cpu.tx_queue, added, table, 16 * entries | DESCRIPTOR_INDIRECT)
    store_field(cpu, cpu.driver + VIRTIO_TX_ADDED, added + 1)
    store16(cpu, available_index(cpu.tx_queue, cpu.virtqueue_size), (added + 1) & INDEX_MASK)
