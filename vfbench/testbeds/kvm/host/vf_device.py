"""The VF of a real guest: a host thread that reads and writes the guest's memory through its own mapping.

What it writes does not show in the kernel's dirty log, just as DMA does not. Registers, FIFO, IOTLB and the
observer's notes are the machine's own; here the bytes are real.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.hooks import dma_written
from vfbench.machine.iommu.iotlb import honour_invalidations, is_packet_memory, translate
from vfbench.machine.iommu.table import READ, WRITE
from vfbench.machine.memory.faults import check_address
from vfbench.machine.memory.guest_memory import BLOCKS_SHIFT, PAGE_SHIFT, SENT
from vfbench.machine.oracle.oracle import note_at_peer, note_written
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT, TX_STATUS_DONE, rx_write_back, tx_length
from vfbench.machine.vf.device import has_descriptor, request_interrupt, take_oldest
from vfbench.machine.vf.registers import QUEUE_ENABLE, TDT, TXDCTL
from vfbench.machine.wire import NEVER_PS
from vfbench.testbeds.kvm.guest.payload import holds_sent_frame, write_payload
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, store_i64, store_u8

FRAMES_PER_TURN = 32
WRITE_BACK_TIMEOUT_PS = 2 * 10**6


@kernel
def note_device_write(host: Any, address: int) -> None:
    """The observer remembers the page; the dirty log does not see the write."""
    store_u8(host.device_wrote + (address >> PAGE_SHIFT), 1)
    store_u8(host.mapped_written + (address >> PAGE_SHIFT), 1)


@kernel
def land_next(host: Any, wire: Any, port: Any) -> None:
    """The oldest frame's payload reaches memory; its descriptor follows, at once or with others."""
    slot = port.rx_head
    descriptor = port.rx_base + (slot << DESCRIPTOR_SHIFT)
    check_address(host, descriptor)
    iova = load_i64(host.memory + descriptor)
    address = translate(host, port, iova, WRITE)
    frame = take_oldest(port)
    if not is_packet_memory(host, address):
        port.dma_faults += 1
        port.lost_dma += 1
        return
    write_payload(host.memory + address, frame.length, wire.seed, frame.sequence)
    note_device_write(host, address)
    dma_written(host, address, wire.time_ps)
    note_written(port, slot, frame)
    port.rx_head = (slot + 1) & (host.rx_size - 1)
    port.unwritten += 1
    if port.unwritten == 1:
        port.write_back_due_ps = wire.time_ps + WRITE_BACK_TIMEOUT_PS


@kernel
def write_back(host: Any, wire: Any, port: Any) -> None:
    """Write back every descriptor used since the last time, status last, then ask for an interrupt."""
    mask = host.rx_size - 1
    slot = (port.rx_head - port.unwritten) & mask
    for _ in range(port.unwritten):
        descriptor = port.rx_base + (slot << DESCRIPTOR_SHIFT)
        check_address(host, descriptor)
        store_i64(host.memory + descriptor, 0)
        store_i64(host.memory + descriptor + 8, rx_write_back(port.slot[slot].length))
        note_device_write(host, descriptor)
        dma_written(host, descriptor, wire.time_ps)
        slot = (slot + 1) & mask
    port.unwritten = 0
    port.write_back_due_ps = NEVER_PS
    request_interrupt(host, port, wire.time_ps)


@kernel
def vf_receive(host: Any, wire: Any, port: Any) -> int:
    """Land what the FIFO holds as far as descriptors go; returns how many frames."""
    landed = 0
    while (
        landed < FRAMES_PER_TURN
        and port.enabled
        and not host.dma_held
        and port.fifo_head != port.fifo_tail
        and has_descriptor(port)
    ):
        land_next(host, wire, port)
        landed += 1
        if port.unwritten >= port.write_back_batch:
            write_back(host, wire, port)
    if port.enabled and port.unwritten and wire.time_ps >= port.write_back_due_ps:
        write_back(host, wire, port)
    return landed


@kernel
def put_out(host: Any, wire: Any, port: Any, address: int, length_bytes: int) -> None:
    """A frame of the guest's leaves for the peer; what does not lie in packet memory has gone astray."""
    if not is_packet_memory(host, address) or not is_packet_memory(host, address + length_bytes - 1):
        port.dma_faults += 1
        return
    first = load_i64(host.memory + address)
    whole = holds_sent_frame(host.memory + address, length_bytes, first)
    note_at_peer(port, (first & (SENT - 1)) >> BLOCKS_SHIFT, whole, length_bytes, wire.time_ps)


@kernel
def vf_transmit(host: Any, wire: Any, port: Any) -> int:
    """Send what the driver has queued; returns how many frames."""
    sent = 0
    while (
        sent < FRAMES_PER_TURN
        and port.enabled
        and not host.dma_held
        and port.register[TXDCTL] & QUEUE_ENABLE
        and port.tx_head != port.register[TDT]
    ):
        descriptor = port.tx_base + (port.tx_head << DESCRIPTOR_SHIFT)
        check_address(host, descriptor)
        length_bytes = tx_length(load_i64(host.memory + descriptor + 8))
        address = translate(host, port, load_i64(host.memory + descriptor), READ)
        put_out(host, wire, port, address, length_bytes)
        store_i64(host.memory + descriptor + 8, TX_STATUS_DONE)
        note_device_write(host, descriptor)
        dma_written(host, descriptor, wire.time_ps)
        port.tx_head = (port.tx_head + 1) & (host.tx_size - 1)
        sent += 1
    if sent > 0:
        request_interrupt(host, port, wire.time_ps)
    return sent


@kernel
def vf_turn(host: Any, wire: Any, port: Any) -> int:
    """One turn of the VF; returns how many frames it moved."""
    if host.invalidations != host.invalidations_seen:
        honour_invalidations(host, port)
    return vf_receive(host, wire, port) + vf_transmit(host, wire, port)
