"""The virtual function: FIFO, DMA, descriptor write-back, interrupts.

The device owns the head and the descriptors from head to tail. It writes memory behind the processor's back:
no store here touches the dirty log. Order on PCIe: a payload lands before the descriptor that announces it.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DMA_LATENCY, IOTLB_MISS
from vfbench.machine.cpu import word_index
from vfbench.machine.hooks import dma_written
from vfbench.machine.iommu.iotlb import is_packet_memory, translate
from vfbench.machine.iommu.table import READ
from vfbench.machine.memory.absent import device_waits
from vfbench.machine.memory.guest_memory import BLOCKS_SHIFT, CONTENT, SENT
from vfbench.machine.memory.words import load_word
from vfbench.machine.oracle.oracle import blocks_of, note_at_peer
from vfbench.machine.port import FIFO_FRAMES, OUTWARD, WIRE
from vfbench.machine.sides import primitive
from vfbench.machine.vf.descriptors import (
    DESCRIPTOR_SHIFT,
    TX_COMMAND_END_OF_PACKET,
    TX_STATUS_DONE,
    tx_length,
    tx_mss,
    tx_payload,
)
from vfbench.machine.vf.dma import dma_load, dma_store
from vfbench.machine.vf.landing import (
    has_descriptor,
    has_room,
    land_frame,
    land_part,
    landing_ps,
    next_part_bytes,
    request_interrupt,
    translated_buffer,
    write_back,
)
from vfbench.machine.vf.registers import QUEUE_ENABLE, TDT, TXDCTL
from vfbench.machine.vf.segmentation import (
    begin_send,
    last_of_send,
    segment_bytes,
    send_segment,
    spread_frame_bytes,
)
from vfbench.machine.wire import NEVER_PS, WIRE_OVERHEAD_BYTES


@kernel
def drop_without_descriptor(cpu: Any, port: Any, until_ps: int) -> bool:
    """Drop the FIFO's oldest frame if it is there by ``until_ps`` and the driver has given no descriptors for it.

    The PF sets drop-enable for every queue of a VF (QDE, datasheet 8.2.3.27.8), so that a VF that falls behind does
    not hold up the others: the FIFO waits for the DMA engine, never for a driver.
    """
    if port.fifo_head == port.fifo_tail or not port.enabled or port.rx_taken != 0:
        return False
    frame = port.fifo[port.fifo_head & (FIFO_FRAMES - 1)]
    if has_room(cpu, port, frame.length) or max(frame.ready_ps, port.rx_free_ps) > until_ps:
        return False
    take_oldest(port)
    port.lost_descriptor += 1
    return True


@kernel
def drop_arrivals(port: Any, until_ps: int) -> None:
    """Drop the frames that arrive by ``until_ps`` while nothing waits and there is no descriptor, without the FIFO."""
    if port.fifo_head != port.fifo_tail or not port.enabled or has_descriptor(port):
        return
    begin_ps = max(port.rx_free_ps, port.admits_from_ps)
    i = port.incoming_head
    while i < port.incoming_count and begin_ps <= port.incoming[i].arrival_ps <= until_ps:
        i += 1
    port.lost_descriptor += i - port.incoming_head
    port.incoming_head = i


@kernel
def take_oldest(port: Any) -> Any:
    """Take the oldest frame out of the FIFO."""
    frame = port.fifo[port.fifo_head & (FIFO_FRAMES - 1)]
    port.fifo_head += 1
    port.fifo_bytes -= frame.length
    return frame


@kernel
def land_next(cpu: Any, port: Any, time_ps: int) -> None:
    """Take the oldest frame out of the FIFO and put it into memory, or the next part of a long one."""
    if port.fifo[port.fifo_head & (FIFO_FRAMES - 1)].length > port.rx_buffer_bytes:
        land_part(cpu, port, time_ps)
        return
    frame = take_oldest(port)
    land_frame(cpu, port, frame, time_ps)


@kernel
def copy_frame(target: Any, frame: Any) -> None:
    """Copy one record of a frame to another."""
    target.arrival_ps = frame.arrival_ps
    target.ready_ps = frame.ready_ps
    target.sequence = frame.sequence
    target.length = frame.length
    target.flow = frame.flow
    target.tag = frame.tag


@kernel
def admit(port: Any) -> None:
    """The next frame on the wire is in."""
    frame = port.incoming[port.incoming_head]
    port.incoming_head += 1
    take_in(port, frame)


@kernel
def take_in(port: Any, frame: Any) -> None:
    """A frame whose last bit is in goes into the FIFO if this port takes it and there is room."""
    if not port.enabled or frame.arrival_ps < port.admits_from_ps:
        port.lost_blackout += 1
    elif (
        port.fifo_bytes + frame.length > port.fifo_limit_bytes
        or port.fifo_tail - port.fifo_head >= port.fifo_limit_frames
    ):
        port.lost_fifo += 1
    else:
        if port.fifo_head == port.fifo_tail:
            # An empty FIFO starts at its first entry again: the few entries in use stay in the cache.
            port.fifo_head = port.fifo_tail = 0
        copy_frame(port.fifo[port.fifo_tail & (FIFO_FRAMES - 1)], frame)
        port.fifo_tail += 1
        port.fifo_bytes += frame.length


@kernel
def next_arrival_ps(port: Any) -> int:
    """When the next frame's last bit is in."""
    if port.incoming_head < port.incoming_count:
        return port.incoming[port.incoming_head].arrival_ps
    return NEVER_PS


@kernel
def next_landing_ps(cpu: Any, port: Any) -> int:
    """When the oldest frame of the FIFO, or its next part, will be in memory, as far as descriptors allow."""
    if port.fifo_head == port.fifo_tail:
        return NEVER_PS
    frame = port.fifo[port.fifo_head & (FIFO_FRAMES - 1)]
    if port.rx_taken == 0 and (not port.enabled or cpu.dma_held or not has_room(cpu, port, frame.length)):
        return NEVER_PS
    return landing_ps(cpu, port, frame, next_part_bytes(port, frame))


@kernel
def address_in_flight(cpu: Any, port: Any, now_ps: int) -> int:
    """Where the write goes that has left the device and has not reached memory by ``now_ps``; -1 if there is none."""
    landing = next_landing_ps(cpu, port)
    if landing <= now_ps or landing - cpu.cost[DMA_LATENCY] > now_ps:
        return -1
    return translated_buffer(cpu, port, port.rx_head)


@kernel
def can_land_at_once(cpu: Any, port: Any) -> bool:
    """Nothing waits in the FIFO and nothing keeps the next frame from memory: it need not be queued."""
    return (
        port.fifo_head == port.fifo_tail
        and port.incoming_head < port.incoming_count
        and port.write_back_due_ps == NEVER_PS
        and port.enabled
        and not cpu.dma_held
        and has_descriptor(port)
        and port.incoming[port.incoming_head].arrival_ps >= port.admits_from_ps
        and port.incoming[port.incoming_head].length <= port.rx_buffer_bytes
    )


@kernel
def vf_receive(cpu: Any, port: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Receive up to ``until_ps``, or up to the first request for an interrupt."""
    while not (stop_at_interrupt and port.interrupt_pending):
        drop_arrivals(port, min(until_ps, port.write_back_due_ps))
        if can_land_at_once(cpu, port):
            frame = port.incoming[port.incoming_head]
            landing = landing_ps(cpu, port, frame, frame.length)
            if landing <= until_ps:
                port.incoming_head += 1
                land_frame(cpu, port, frame, landing)
            elif frame.arrival_ps <= until_ps:
                admit(port)
            else:
                break
            continue
        if drop_without_descriptor(cpu, port, min(until_ps, next_arrival_ps(port))):
            continue
        landing, arrival = next_landing_ps(cpu, port), next_arrival_ps(port)
        due = min(min(landing, arrival), port.write_back_due_ps)
        if due > until_ps:
            break
        if due == port.write_back_due_ps:
            write_back(cpu, port, due)
        elif due == landing:
            land_next(cpu, port, landing)
        else:
            admit(port)


@primitive
def frame_is_whole(cpu: Any, address: int, length_bytes: int, first: int) -> bool:
    """Whether every block of a frame to send is of the frame that its first word names."""
    if first & (CONTENT | SENT) != CONTENT | SENT:
        return False
    word = word_index(cpu, address)
    for block in range(blocks_of(length_bytes)):
        if load_word(cpu.words, word + block) != first + block:
            return False
    return True


@kernel
def finish_send(cpu: Any, port: Any, last: int, time_ps: int) -> None:
    """All that the descriptors up to ``last`` describe is on the wire; DD is written back to that one."""
    descriptor = port.tx_base + (last << DESCRIPTOR_SHIFT)
    dma_store(cpu, descriptor + 8, TX_STATUS_DONE, time_ps)
    port.tx_free_ps += dma_written(cpu, descriptor, time_ps)
    port.tx_head = (last + 1) & (cpu.tx_size - 1)
    request_interrupt(cpu, port, time_ps)


@kernel
def send_cut(cpu: Any, port: Any, mss_bytes: int, time_ps: int) -> None:
    """The next frame of what the card cuts is on the wire."""
    misses = port.iotlb_misses
    port.tx_free_ps = time_ps
    if port.tx_left == 0 and not begin_send(cpu, port, mss_bytes):
        return
    length_bytes = send_segment(cpu, port, time_ps)
    port.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * port.line_ps_per_byte
    port.moderated_bytes[OUTWARD] += length_bytes
    port.tx_free_ps += (port.iotlb_misses - misses) * cpu.cost[IOTLB_MISS]
    if port.tx_left == 0:
        finish_send(cpu, port, last_of_send(cpu, port), time_ps)


@primitive
def send_frame(cpu: Any, port: Any, time_ps: int) -> None:
    """The frame of the descriptor at the head is on the wire; DD is written back."""
    descriptor = port.tx_base + (port.tx_head << DESCRIPTOR_SHIFT)
    iova = dma_load(cpu, descriptor)
    command = dma_load(cpu, descriptor + 8)
    if port.tx_left != 0 or command & TX_COMMAND_END_OF_PACKET == 0:
        send_cut(cpu, port, tx_mss(command), time_ps)
        return
    misses = port.iotlb_misses
    address = translate(cpu, port, iova, READ)
    waits_ps = device_waits(cpu, address)
    port.busy_ps[WIRE] += (tx_length(command) + WIRE_OVERHEAD_BYTES) * port.line_ps_per_byte
    port.moderated_bytes[OUTWARD] += tx_length(command)
    port.tx_free_ps = time_ps + (port.iotlb_misses - misses) * cpu.cost[IOTLB_MISS] + waits_ps
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + tx_length(command) - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, tx_length(command), first)
        sequence = (first & (SENT - 1)) >> BLOCKS_SHIFT
        note_at_peer(port, sequence, whole, tx_length(command), time_ps)
    else:
        port.dma_faults += 1
    finish_send(cpu, port, port.tx_head, time_ps)


@kernel
def next_length(cpu: Any, port: Any) -> int:
    """How long the frame is that the descriptor at the head has sent next."""
    if port.tx_left != 0:
        return segment_bytes(port.tx_mss, port.tx_left)
    descriptor = port.tx_base + (port.tx_head << DESCRIPTOR_SHIFT)
    command = dma_load(cpu, descriptor + 8)
    if command & TX_COMMAND_END_OF_PACKET:
        return tx_length(command)
    if tx_mss(command) == 0:
        return spread_frame_bytes(cpu, port, command)
    after = port.tx_base + (((port.tx_head + 1) & (cpu.tx_size - 1)) << DESCRIPTOR_SHIFT)
    return segment_bytes(tx_mss(command), tx_payload(dma_load(cpu, after + 8)))


@kernel
def next_sent_ps(cpu: Any, port: Any) -> int:
    """When the last bit of the frame at the head will be on the wire."""
    if port.tx_left == 0:
        if port.tx_head == port.register[TDT] or port.register[TXDCTL] & QUEUE_ENABLE == 0:
            return NEVER_PS
        if not port.enabled or cpu.dma_held:
            return NEVER_PS
        port.tx_free_ps += device_waits(cpu, port.tx_base + (port.tx_head << DESCRIPTOR_SHIFT))
    begin_ps = max(port.tx_free_ps, port.tx_ready_ps + cpu.cost[DMA_LATENCY])
    return begin_ps + (next_length(cpu, port) + WIRE_OVERHEAD_BYTES) * port.ps_per_byte


@kernel
def vf_advance(cpu: Any, port: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that the VF does up to ``until_ps``, both ways in the order of time; one vector serves both."""
    sent_ps = next_sent_ps(cpu, port)
    while sent_ps <= until_ps:
        vf_receive(cpu, port, sent_ps, stop_at_interrupt)
        if stop_at_interrupt and port.interrupt_pending:
            return
        send_frame(cpu, port, sent_ps)
        sent_ps = next_sent_ps(cpu, port)
    vf_receive(cpu, port, until_ps, stop_at_interrupt)


@primitive
def bring_vf_up_to_now(cpu: Any, port: Any) -> None:
    """Everything that the VF does up to the processor's time; a real device does not wait to be asked."""
    vf_advance(cpu, port, cpu.clock_ps, False)
