"""How the VF moves a frame into memory: one buffer, or several one after the other, and the write-back of descriptors.

A frame that is longer than a buffer takes several descriptors; only the last one says that it ends the packet (EOP,
datasheet 7.1.6.2). Each part is visible in memory in its own time, and its descriptor after it. The card has stored the
whole frame before it begins, so it takes one only when there are descriptors for all of it; what it has begun it
finishes, though the queue is told to stop: the bit that says so falls once all accesses are done (datasheet 4.6.7.1.2).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DESCRIPTOR_WRITE_BACK_TIMEOUT, DMA_LATENCY, DMA_PACKET, DMA_RATE, IOTLB_MISS
from vfbench.machine.hooks import dma_written
from vfbench.machine.iommu.iotlb import is_packet_memory, translate
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.absent import device_waits
from vfbench.machine.oracle.oracle import note_written, write_content
from vfbench.machine.oracle.part_words import GOES_ON, part_bytes, part_word
from vfbench.machine.oracle.parts import note_part_written, write_part
from vfbench.machine.queue_pair import DMA, FIFO_FRAMES, INWARD
from vfbench.machine.sides import DEVICE, HOST, implementation, primitive
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT, rx_write_back
from vfbench.machine.vf.dma import dma_load, write_back_descriptor
from vfbench.machine.vf.registers import QUEUE_ENABLE, RDT, RXDCTL
from vfbench.machine.wire import NEVER_PS


@kernel
def request_interrupt(cpu: Any, pair: Any, time_ps: int) -> None:
    """Raise the queue's interrupt, no sooner than the throttle allows (EITR, datasheet 7.3.1.2)."""
    if not pair.interrupt_pending:
        pair.interrupt_pending = 1
        pair.interrupt_ps = max(time_ps, pair.last_interrupt_ps + pair.interrupt_interval_ps)


@kernel
def write_back(cpu: Any, pair: Any, time_ps: int) -> None:
    """Write back every descriptor used since the last time, then ask for an interrupt."""
    size_mask = cpu.rx_size - 1
    slot = (pair.nic.rx_head - pair.nic.unwritten) & size_mask
    for _ in range(pair.nic.unwritten):
        descriptor = pair.nic.rx_base + (slot << DESCRIPTOR_SHIFT)
        word = pair.oracle.slot[slot].length
        status = rx_write_back(part_bytes(word), word & GOES_ON == 0)
        write_back_descriptor(cpu, descriptor, status, time_ps)
        pair.nic.rx_free_ps += dma_written(cpu, descriptor, time_ps)
        slot = (slot + 1) & size_mask
    pair.nic.unwritten = 0
    pair.nic.write_back_due_ps = NEVER_PS
    request_interrupt(cpu, pair, time_ps)


@kernel
def landing_ps(cpu: Any, pair: Any, frame: Any, length_bytes: int) -> int:
    """When the next ``length_bytes`` of the FIFO's oldest frame will be in memory."""
    begin_ps = max(max(frame.ready_ps, pair.nic.rx_free_ps), pair.nic.rx_ready_ps)
    return begin_ps + dma_occupancy_ps(cpu, pair, length_bytes) + cpu.cost[DMA_LATENCY]


@kernel
def dma_occupancy_ps(cpu: Any, pair: Any, length_bytes: int) -> int:
    """How long a frame takes the DMA engine and the PCIe link, which all queues share."""
    return (
        (cpu.cost[DMA_PACKET] + ((cpu.cost[DMA_RATE] * length_bytes) >> 10)) * pair.nic.slowdown_1024[DMA]
    ) >> 10


@kernel
def translated_buffer(cpu: Any, pair: Any, slot: int) -> int:
    """Where the descriptor of ``slot`` points, in guest-physical memory, or less than 0."""
    descriptor = pair.nic.rx_base + (slot << DESCRIPTOR_SHIFT)
    pair.nic.rx_free_ps += device_waits(cpu, descriptor)
    iova = dma_load(cpu, descriptor)
    misses = pair.oracle.iotlb_misses
    address = translate(cpu, pair, iova, WRITE)
    pair.nic.rx_free_ps += (pair.oracle.iotlb_misses - misses) * cpu.cost[IOTLB_MISS] + device_waits(
        cpu, address
    )
    return address if is_packet_memory(cpu, address) else -1


@kernel
def land_frame(cpu: Any, pair: Any, frame: Any, time_ps: int) -> None:
    """The frame's payload reaches memory; its descriptor follows, at once or with others."""
    pair.nic.rx_free_ps = time_ps - cpu.cost[DMA_LATENCY]
    pair.nic.busy_ps[DMA] += cpu.cost[DMA_PACKET] + ((cpu.cost[DMA_RATE] * frame.length) >> 10)
    pair.moderated_bytes[INWARD] += frame.length
    slot = pair.nic.rx_head
    address = translated_buffer(cpu, pair, slot)
    if address < 0:
        pair.oracle.dma_faults += 1
        pair.oracle.lost_dma += 1
        return
    write_content(cpu, address, frame.length, frame.sequence, time_ps)
    pair.nic.rx_free_ps += dma_written(cpu, address, time_ps)
    note_written(pair, slot, frame)
    use_descriptor(cpu, pair, time_ps)


@kernel
def use_descriptor(cpu: Any, pair: Any, time_ps: int) -> None:
    """The descriptor at the head is used: written back at once, with others, or when the timeout is over."""
    pair.nic.rx_head = (pair.nic.rx_head + 1) & (cpu.rx_size - 1)
    pair.nic.unwritten += 1
    if pair.nic.unwritten >= pair.nic.write_back_batch:
        write_back(cpu, pair, time_ps)
    elif pair.nic.unwritten == 1:
        pair.nic.write_back_due_ps = time_ps + cpu.cost[DESCRIPTOR_WRITE_BACK_TIMEOUT]


@kernel
def has_descriptor(pair: Any) -> bool:
    """Whether the driver has given the device a receive descriptor that it has not used."""
    return pair.nic.rx_head != pair.nic.register[RDT] and pair.nic.register[RXDCTL] & QUEUE_ENABLE != 0


@kernel
def has_room(cpu: Any, pair: Any, length_bytes: int) -> bool:
    """Whether there are descriptors for all of a frame."""
    if not has_descriptor(pair):
        return False
    if length_bytes <= pair.nic.rx_buffer_bytes:
        return True
    given = (pair.nic.register[RDT] - pair.nic.rx_head) & (cpu.rx_size - 1)
    return given * pair.nic.rx_buffer_bytes >= length_bytes


@kernel
def next_part_bytes(pair: Any, frame: Any) -> int:
    """How much of the FIFO's oldest frame reaches memory next."""
    return min(frame.length - pair.nic.rx_taken, pair.nic.rx_buffer_bytes)


@primitive
def land_part(cpu: Any, pair: Any, time_ps: int) -> None:
    """A part of the FIFO's oldest frame reaches its buffer. What leads nowhere ends the frame."""
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    length_bytes, offset = next_part_bytes(pair, frame), pair.nic.rx_taken
    pair.nic.rx_free_ps = time_ps - cpu.cost[DMA_LATENCY]
    pair.nic.busy_ps[DMA] += cpu.cost[DMA_PACKET] + ((cpu.cost[DMA_RATE] * length_bytes) >> 10)
    pair.moderated_bytes[INWARD] += length_bytes
    address = translated_buffer(cpu, pair, pair.nic.rx_head)
    if address < 0:
        pair.oracle.dma_faults += 1
        pair.oracle.lost_dma += 1
        drop_part(pair, frame)
        return
    write_part(cpu, address, length_bytes, frame.sequence, offset, time_ps)
    pair.nic.rx_free_ps += dma_written(cpu, address, time_ps)
    goes_on = offset + length_bytes < frame.length
    word = part_word(length_bytes, offset, goes_on, 0)
    note_part_written(pair, pair.nic.rx_head, frame, word, 0 if goes_on else 1)
    if goes_on:
        pair.nic.rx_taken += length_bytes
    else:
        drop_part(pair, frame)
    use_descriptor(cpu, pair, time_ps)


@kernel
def drop_part(pair: Any, frame: Any) -> None:
    """The FIFO's oldest frame leaves it."""
    pair.nic.rx_taken = 0
    pair.nic.fifo_head += 1
    pair.nic.fifo_bytes -= frame.length


@implementation(land_part, HOST)
def land_no_part(cpu: Any, pair: Any, time_ps: int) -> None:
    """Beside a real guest no frame is longer than a buffer: it is refused before it starts."""


implementation(land_part, DEVICE)(land_no_part)
