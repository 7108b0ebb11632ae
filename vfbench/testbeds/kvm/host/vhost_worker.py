"""vhost beside a real guest: a host thread that copies packets, and logs every page that it writes.

Its stores go through the host's mapping, so KVM's log does not show them; as vhost does
(``vhost_log_write``), it keeps a log of its own, which the migration reads with KVM's.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.iommu.iotlb import is_packet_memory
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.oracle.oracle import note_written
from vfbench.machine.vf.device import request_interrupt, take_oldest
from vfbench.machine.virtio.vhost import request_transmit_interrupt
from vfbench.machine.virtio.virtqueue import (
    INDEX_MASK,
    available_event,
    available_index,
    available_offset,
    passes,
    used_entry,
    used_event,
    used_index,
)
from vfbench.testbeds.kvm.guest.payload import write_payload
from vfbench.testbeds.kvm.host.vf_device import FRAMES_PER_TURN, note_device_write, put_out
from vfbench.testbeds.kvm.sys.raw_memory import fence, load_i64, load_u16, store_u8, store_u16, store_u32


@kernel
def log_write(host: Any, address: int) -> None:
    """After the write: a page that is logged holds it."""
    note_device_write(host, address)
    store_u8(host.logged + (address >> PAGE_SHIFT), 1)


@kernel
def put_u16(host: Any, address: int, value: int) -> None:
    """The worker writes two bytes of a ring."""
    store_u16(host.memory + address, value)
    log_write(host, address)


@kernel
def put_u32(host: Any, address: int, value: int) -> None:
    """The worker writes four bytes of a ring."""
    store_u32(host.memory + address, value)
    log_write(host, address)


@kernel
def ask_for_kick(host: Any, queue: int, seen: int) -> None:
    """Ask for a kick when the next buffer is offered; written only when it changes."""
    address = available_event(queue, host.virtqueue_size)
    if load_u16(host.memory + address) != seen & INDEX_MASK:
        put_u16(host, address, seen & INDEX_MASK)


@kernel
def wants_interrupt(host: Any, queue: int, used: int) -> bool:
    """Whether the driver asked for an interrupt at the buffer that made ``used`` of them."""
    fence()
    return passes(load_u16(host.memory + used_event(queue, host.virtqueue_size)), used, used - 1)


@kernel
def has_available(host: Any, queue: int, seen: int) -> bool:
    """Whether the guest has offered a buffer that the worker has not taken."""
    return load_u16(host.memory + available_index(queue, host.virtqueue_size)) != seen & INDEX_MASK


@kernel
def take_available(host: Any, queue: int, seen: int) -> int:
    """The descriptor index in entry number ``seen`` of the available ring."""
    mask = host.virtqueue_size - 1
    entry = queue + available_offset(host.virtqueue_size) + 4 + 2 * (seen & mask)
    return load_u16(host.memory + entry) & mask


@kernel
def put_used(host: Any, queue: int, count: int, slot: int, length_bytes: int) -> None:
    """Report a buffer as used, and publish it."""
    entry = used_entry(queue, host.virtqueue_size, count)
    put_u32(host, entry, slot)
    put_u32(host, entry + 4, length_bytes)
    put_u16(host, used_index(queue, host.virtqueue_size), (count + 1) & INDEX_MASK)


@kernel
def receive_next(host: Any, wire: Any, port: Any) -> None:
    """Copy the oldest frame into the next buffer that the guest offered, and interrupt it unless it polls."""
    slot = take_available(host, host.rx_queue, port.vhost_rx_seen)
    port.vhost_rx_seen += 1
    frame = take_oldest(port)
    address = load_i64(host.memory + host.rx_queue + 16 * slot)
    if not is_packet_memory(host, address):
        port.dma_faults += 1
        port.lost_dma += 1
        return
    write_payload(host.memory + address, frame.length, wire.seed, frame.sequence)
    log_write(host, address)
    note_written(port, slot, frame)
    put_used(host, host.rx_queue, port.vhost_rx_used, slot, frame.length)
    port.vhost_rx_used += 1
    if wants_interrupt(host, host.rx_queue, port.vhost_rx_used):
        request_interrupt(host, port, wire.time_ps)


@kernel
def send_next(host: Any, wire: Any, port: Any) -> None:
    """Copy the guest's next frame out, and interrupt it if it asked for that."""
    slot = take_available(host, host.tx_queue, port.vhost_tx_seen)
    port.vhost_tx_seen += 1
    address = load_i64(host.memory + host.tx_queue + 16 * slot)
    length_bytes = load_i64(host.memory + host.tx_queue + 16 * slot + 8) & INDEX_MASK
    put_out(host, wire, port, address, length_bytes)
    put_used(host, host.tx_queue, port.vhost_tx_used, slot, 0)
    port.vhost_tx_used += 1
    if wants_interrupt(host, host.tx_queue, port.vhost_tx_used):
        request_transmit_interrupt(port, wire.time_ps)


@kernel
def vhost_receive(host: Any, wire: Any, port: Any) -> int:
    """Fill the buffers that the guest offered; returns how many."""
    moved = 0
    while moved < FRAMES_PER_TURN and port.enabled and port.fifo_head != port.fifo_tail:
        if not has_available(host, host.rx_queue, port.vhost_rx_seen):
            ask_for_kick(host, host.rx_queue, port.vhost_rx_seen)
            break
        receive_next(host, wire, port)
        moved += 1
    return moved


@kernel
def vhost_transmit(host: Any, wire: Any, port: Any) -> int:
    """Take the frames that the guest wants sent; returns how many."""
    moved = 0
    while moved < FRAMES_PER_TURN and port.enabled:
        if not has_available(host, host.tx_queue, port.vhost_tx_seen):
            ask_for_kick(host, host.tx_queue, port.vhost_tx_seen)
            break
        send_next(host, wire, port)
        moved += 1
    return moved


@kernel
def vhost_turn(host: Any, wire: Any, port: Any) -> int:
    """One turn of the worker; returns how many frames it moved."""
    return vhost_receive(host, wire, port) + vhost_transmit(host, wire, port)
