"""The machine's vhost worker on the rings of a real guest's virtio-net: its primitives for records of type ``DEVICE``.

Ring addresses are offsets in the guest's memory; buffers are guest-physical, and begin with a header of 12 bytes
(virtio 1.2, 5.1.6). Every write is logged by the worker itself, as vhost does.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import VHOST_PACKET, VHOST_SEND
from vfbench.machine.memory.words import load_word, store_byte, store_word
from vfbench.machine.oracle.oracle import note_written, write_content
from vfbench.machine.vf.device import take_oldest
from vfbench.machine.vf.landing import request_interrupt
from vfbench.machine.virtio import vhost
from vfbench.machine.virtio.host_nic import put_on_host_nic
from vfbench.machine.virtio.vhost import (
    copy_ps,
    put_used,
    request_transmit_interrupt,
    take_available,
    wants_interrupt,
    work,
)
from vfbench.machine.virtio.virtqueue import field_of, passes, replace_bits, used_event
from vfbench.testbeds.kvm.sys.raw_memory import fence
from vfbench.testbeds.qemu.device.dma import for_guest_memory, is_guest_memory, mark_page
from vfbench.testbeds.qemu.device.records import TX_FRAME_BYTES
from vfbench.testbeds.qemu.device.transmit import copy_bytes, take_frame

HEADER_BYTES = 12
BUFFERS_USED = 10
"""Offset of ``num_buffers`` in the header."""
NEXT_FLAG, FLAGS_SHIFT, NEXT_SHIFT = 1, 32, 48
LENGTH_MASK, NEXT_MASK = 0xFFFF_FFFF, 0xFFFF
LONGEST_CHAIN = 64


@kernel
def offset_of_guest(device: Any, address: int) -> int:
    """Where in the memory's file guest-physical ``address`` lies."""
    if address >= device.high_memory + device.high_memory_shift:
        return address - device.high_memory_shift
    return address


@for_guest_memory(vhost.host_load)
def load_ring(device: Any, offset: int, bits: int) -> int:
    """A field of a ring."""
    return field_of(load_word(device.guest_ram + (offset & -8), 0), offset, bits)


@for_guest_memory(vhost.log_write)
def log_ring(device: Any, pair: Any, offset: int) -> None:
    """After the write: a page that is logged holds it."""
    mark_page(device, offset)


@for_guest_memory(vhost.host_store)
def store_ring(device: Any, pair: Any, offset: int, bits: int, value: int) -> None:
    """A field of a ring; the driver stores to no word that the device stores to."""
    word = load_word(device.guest_ram + (offset & -8), 0)
    store_word(device.guest_ram + (offset & -8), 0, replace_bits(word, offset, bits, value))
    mark_page(device, offset)


@for_guest_memory(vhost.store_used_element)
def store_element(device: Any, pair: Any, entry: int, slot: int, length_bytes: int) -> None:
    """Both fields of an element of the used ring."""
    store_ring(device, pair, entry, 32, slot)
    store_ring(device, pair, entry + 4, 32, length_bytes)


@for_guest_memory(vhost.wants_interrupt)
def wants_ring_interrupt(device: Any, queue: int, used: int) -> bool:
    """Whether the driver asked for an interrupt at the buffer that made ``used`` of them; it reads what was stored."""
    fence()
    return passes(load_ring(device, used_event(queue, device.virtqueue_size), 16), used, used - 1)


@for_guest_memory(vhost.vhost_receive_one)
def receive_into_buffer(device: Any, pair: Any, start_ps: int) -> None:
    """Copy the oldest frame, behind a header that says nothing but one buffer, into the next buffer on offer."""
    frame = take_oldest(pair)
    pair.vhost.clock_ps = start_ps
    work(device, pair, device.cost[VHOST_PACKET] + copy_ps(device, frame.length))
    slot = take_available(device, device.rx_queue, pair.vhost.rx_seen)
    pair.vhost.rx_seen += 1
    address = offset_of_guest(device, load_word(device.guest_ram + device.rx_queue + 16 * slot, 0))
    if not is_guest_memory(device, address):
        pair.oracle.dma_faults += 1
        pair.oracle.lost_dma += 1
        return
    for byte in range(HEADER_BYTES):
        store_byte(device.guest_ram + address, byte, byte == BUFFERS_USED)
    mark_page(device, address)
    write_content(device, address + HEADER_BYTES, frame.length, frame.sequence, pair.vhost.clock_ps)
    note_written(pair, slot, frame)
    put_used(device, pair, device.rx_queue, pair.vhost.rx_used, slot, frame.length - 4 + HEADER_BYTES)
    pair.vhost.rx_used += 1
    if wants_interrupt(device, device.rx_queue, pair.vhost.rx_used):
        request_interrupt(device, pair, pair.vhost.clock_ps)


@kernel
def gather_chain(device: Any, pair: Any, slot: int) -> None:
    """The bytes of a chain of descriptors, header first."""
    device.tx_bytes = 0
    for _ in range(LONGEST_CHAIN):
        descriptor = device.guest_ram + device.tx_queue + 16 * slot
        address = offset_of_guest(device, load_word(descriptor, 0))
        second = load_word(descriptor, 1)
        length_bytes = second & LENGTH_MASK
        if not is_guest_memory(device, address) or device.tx_bytes + length_bytes > TX_FRAME_BYTES:
            pair.oracle.dma_faults += 1
            return
        copy_bytes(device.tx_frame + device.tx_bytes, device.guest_ram + address, length_bytes)
        device.tx_bytes += length_bytes
        if not (second >> FLAGS_SHIFT) & NEXT_FLAG:
            return
        slot = (second >> NEXT_SHIFT) & NEXT_MASK


@for_guest_memory(vhost.vhost_send_one)
def send_chain(device: Any, pair: Any, start_ps: int) -> None:
    """Copy the guest's next frame out, put it on the wire, and interrupt the guest if it asked for that."""
    pair.vhost.clock_ps = start_ps
    slot = take_available(device, device.tx_queue, pair.vhost.tx_seen)
    pair.vhost.tx_seen += 1
    gather_chain(device, pair, slot)
    work(device, pair, device.cost[VHOST_SEND] + copy_ps(device, device.tx_bytes))
    device.tx_bytes -= HEADER_BYTES
    if device.tx_bytes > 0:
        copy_bytes(device.tx_frame, device.tx_frame + HEADER_BYTES, device.tx_bytes)
        put_on_host_nic(device, pair, device.tx_bytes)
        take_frame(device, pair, pair.nic.tx_free_ps)
    device.tx_bytes = 0
    put_used(device, pair, device.tx_queue, pair.vhost.tx_used, slot, 0)
    pair.vhost.tx_used += 1
    if wants_interrupt(device, device.tx_queue, pair.vhost.tx_used):
        request_transmit_interrupt(pair, pair.vhost.clock_ps)
