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
from vfbench.machine.queue_pair import FIFO_FRAMES, OUTWARD, WIRE
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
def drop_without_descriptor(cpu: Any, pair: Any, until_ps: int) -> bool:
    """Drop the FIFO's oldest frame if it is there by ``until_ps`` and the driver has given no descriptors for it.

    The PF sets drop-enable for every queue of a VF (QDE, datasheet 8.2.3.27.8), so that a VF that falls behind does
    not hold up the others: the FIFO waits for the DMA engine, never for a driver.
    """
    if pair.nic.fifo_head == pair.nic.fifo_tail or not pair.enabled or pair.nic.rx_taken != 0:
        return False
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    if has_room(cpu, pair, frame.length) or max(frame.ready_ps, pair.nic.rx_free_ps) > until_ps:
        return False
    take_oldest(pair)
    pair.oracle.lost_descriptor += 1
    return True


@kernel
def drop_arrivals(pair: Any, until_ps: int) -> None:
    """Drop the frames that arrive by ``until_ps`` while nothing waits and there is no descriptor, without the FIFO."""
    if pair.nic.fifo_head != pair.nic.fifo_tail or not pair.enabled or has_descriptor(pair):
        return
    begin_ps = max(pair.nic.rx_free_ps, pair.admits_from_ps)
    i = pair.nic.incoming_head
    while i < pair.nic.incoming_count and begin_ps <= pair.nic.incoming[i].arrival_ps <= until_ps:
        i += 1
    pair.oracle.lost_descriptor += i - pair.nic.incoming_head
    pair.nic.incoming_head = i


@kernel
def take_oldest(pair: Any) -> Any:
    """Take the oldest frame out of the FIFO."""
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    pair.nic.fifo_head += 1
    pair.nic.fifo_bytes -= frame.length
    return frame


@kernel
def land_next(cpu: Any, pair: Any, time_ps: int) -> None:
    """Take the oldest frame out of the FIFO and put it into memory, or the next part of a long one."""
    if pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)].length > pair.nic.rx_buffer_bytes:
        land_part(cpu, pair, time_ps)
        return
    frame = take_oldest(pair)
    land_frame(cpu, pair, frame, time_ps)


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
def admit(pair: Any) -> None:
    """The next frame on the wire is in."""
    frame = pair.nic.incoming[pair.nic.incoming_head]
    pair.nic.incoming_head += 1
    take_in(pair, frame)


@kernel
def take_in(pair: Any, frame: Any) -> None:
    """A frame whose last bit is in goes into the FIFO if this queue takes it and there is room."""
    if not pair.enabled or frame.arrival_ps < pair.admits_from_ps:
        pair.oracle.lost_blackout += 1
    elif (
        pair.nic.fifo_bytes + frame.length > pair.nic.fifo_limit_bytes
        or pair.nic.fifo_tail - pair.nic.fifo_head >= pair.nic.fifo_limit_frames
    ):
        pair.oracle.lost_fifo += 1
    else:
        if pair.nic.fifo_head == pair.nic.fifo_tail:
            # An empty FIFO starts at its first entry again: the few entries in use stay in the cache.
            pair.nic.fifo_head = pair.nic.fifo_tail = 0
        copy_frame(pair.nic.fifo[pair.nic.fifo_tail & (FIFO_FRAMES - 1)], frame)
        pair.nic.fifo_tail += 1
        pair.nic.fifo_bytes += frame.length


@kernel
def next_arrival_ps(pair: Any) -> int:
    """When the next frame's last bit is in."""
    if pair.nic.incoming_head < pair.nic.incoming_count:
        return pair.nic.incoming[pair.nic.incoming_head].arrival_ps
    return NEVER_PS


@kernel
def next_landing_ps(cpu: Any, pair: Any) -> int:
    """When the oldest frame of the FIFO, or its next part, will be in memory, as far as descriptors allow."""
    if pair.nic.fifo_head == pair.nic.fifo_tail:
        return NEVER_PS
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    if pair.nic.rx_taken == 0 and (not pair.enabled or cpu.dma_held or not has_room(cpu, pair, frame.length)):
        return NEVER_PS
    return landing_ps(cpu, pair, frame, next_part_bytes(pair, frame))


@kernel
def address_in_flight(cpu: Any, pair: Any, now_ps: int) -> int:
    """Where the write goes that has left the device and has not reached memory by ``now_ps``; -1 if there is none."""
    landing = next_landing_ps(cpu, pair)
    if landing <= now_ps or landing - cpu.cost[DMA_LATENCY] > now_ps:
        return -1
    return translated_buffer(cpu, pair, pair.nic.rx_head)


@kernel
def can_land_at_once(cpu: Any, pair: Any) -> bool:
    """Nothing waits in the FIFO and nothing keeps the next frame from memory: it need not be queued."""
    return (
        pair.nic.fifo_head == pair.nic.fifo_tail
        and pair.nic.incoming_head < pair.nic.incoming_count
        and pair.nic.write_back_due_ps == NEVER_PS
        and pair.enabled
        and not cpu.dma_held
        and has_descriptor(pair)
        and pair.nic.incoming[pair.nic.incoming_head].arrival_ps >= pair.admits_from_ps
        and pair.nic.incoming[pair.nic.incoming_head].length <= pair.nic.rx_buffer_bytes
    )


@kernel
def vf_receive(cpu: Any, pair: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Receive up to ``until_ps``, or up to the first request for an interrupt."""
    while not (stop_at_interrupt and pair.interrupt_pending):
        drop_arrivals(pair, min(until_ps, pair.nic.write_back_due_ps))
        if can_land_at_once(cpu, pair):
            frame = pair.nic.incoming[pair.nic.incoming_head]
            landing = landing_ps(cpu, pair, frame, frame.length)
            if landing <= until_ps:
                pair.nic.incoming_head += 1
                land_frame(cpu, pair, frame, landing)
            elif frame.arrival_ps <= until_ps:
                admit(pair)
            else:
                break
            continue
        if drop_without_descriptor(cpu, pair, min(until_ps, next_arrival_ps(pair))):
            continue
        landing, arrival = next_landing_ps(cpu, pair), next_arrival_ps(pair)
        due = min(min(landing, arrival), pair.nic.write_back_due_ps)
        if due > until_ps:
            break
        if due == pair.nic.write_back_due_ps:
            write_back(cpu, pair, due)
        elif due == landing:
            land_next(cpu, pair, landing)
        else:
            admit(pair)


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
def finish_send(cpu: Any, pair: Any, last: int, time_ps: int) -> None:
    """All that the descriptors up to ``last`` describe is on the wire; DD is written back to that one."""
    descriptor = pair.nic.tx_base + (last << DESCRIPTOR_SHIFT)
    dma_store(cpu, descriptor + 8, TX_STATUS_DONE, time_ps)
    pair.nic.tx_free_ps += dma_written(cpu, descriptor, time_ps)
    pair.nic.tx_head = (last + 1) & (cpu.tx_size - 1)
    request_interrupt(cpu, pair, time_ps)


@kernel
def send_cut(cpu: Any, pair: Any, mss_bytes: int, time_ps: int) -> None:
    """The next frame of what the card cuts is on the wire."""
    misses = pair.oracle.iotlb_misses
    pair.nic.tx_free_ps = time_ps
    if pair.nic.tx_left == 0 and not begin_send(cpu, pair, mss_bytes):
        return
    length_bytes = send_segment(cpu, pair, time_ps)
    pair.nic.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * pair.nic.line_ps_per_byte
    pair.moderated_bytes[OUTWARD] += length_bytes
    pair.nic.tx_free_ps += (pair.oracle.iotlb_misses - misses) * cpu.cost[IOTLB_MISS]
    if pair.nic.tx_left == 0:
        finish_send(cpu, pair, last_of_send(cpu, pair), time_ps)


@primitive
def send_frame(cpu: Any, pair: Any, time_ps: int) -> None:
    """The frame of the descriptor at the head is on the wire; DD is written back."""
    descriptor = pair.nic.tx_base + (pair.nic.tx_head << DESCRIPTOR_SHIFT)
    iova = dma_load(cpu, descriptor)
    command = dma_load(cpu, descriptor + 8)
    if pair.nic.tx_left != 0 or command & TX_COMMAND_END_OF_PACKET == 0:
        send_cut(cpu, pair, tx_mss(command), time_ps)
        return
    misses = pair.oracle.iotlb_misses
    address = translate(cpu, pair, iova, READ)
    waits_ps = device_waits(cpu, address)
    pair.nic.busy_ps[WIRE] += (tx_length(command) + WIRE_OVERHEAD_BYTES) * pair.nic.line_ps_per_byte
    pair.moderated_bytes[OUTWARD] += tx_length(command)
    pair.nic.tx_free_ps = time_ps + (pair.oracle.iotlb_misses - misses) * cpu.cost[IOTLB_MISS] + waits_ps
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + tx_length(command) - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, tx_length(command), first)
        sequence = (first & (SENT - 1)) >> BLOCKS_SHIFT
        note_at_peer(pair, sequence, whole, tx_length(command), time_ps)
    else:
        pair.oracle.dma_faults += 1
    finish_send(cpu, pair, pair.nic.tx_head, time_ps)


@kernel
def next_length(cpu: Any, pair: Any) -> int:
    """How long the frame is that the descriptor at the head has sent next."""
    if pair.nic.tx_left != 0:
        return segment_bytes(pair.nic.tx_mss, pair.nic.tx_left)
    descriptor = pair.nic.tx_base + (pair.nic.tx_head << DESCRIPTOR_SHIFT)
    command = dma_load(cpu, descriptor + 8)
    if command & TX_COMMAND_END_OF_PACKET:
        return tx_length(command)
    if tx_mss(command) == 0:
        return spread_frame_bytes(cpu, pair, command)
    after = pair.nic.tx_base + (((pair.nic.tx_head + 1) & (cpu.tx_size - 1)) << DESCRIPTOR_SHIFT)
    return segment_bytes(tx_mss(command), tx_payload(dma_load(cpu, after + 8)))


@kernel
def next_sent_ps(cpu: Any, pair: Any) -> int:
    """When the last bit of the frame at the head will be on the wire."""
    if pair.nic.tx_left == 0:
        if pair.nic.tx_head == pair.nic.register[TDT] or pair.nic.register[TXDCTL] & QUEUE_ENABLE == 0:
            return NEVER_PS
        if not pair.enabled or cpu.dma_held:
            return NEVER_PS
        pair.nic.tx_free_ps += device_waits(cpu, pair.nic.tx_base + (pair.nic.tx_head << DESCRIPTOR_SHIFT))
    begin_ps = max(pair.nic.tx_free_ps, pair.nic.tx_ready_ps + cpu.cost[DMA_LATENCY])
    return begin_ps + (next_length(cpu, pair) + WIRE_OVERHEAD_BYTES) * pair.nic.ps_per_byte


@kernel
def vf_advance(cpu: Any, pair: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that the VF does up to ``until_ps``, both ways in the order of time; one vector serves both."""
    sent_ps = next_sent_ps(cpu, pair)
    while sent_ps <= until_ps:
        vf_receive(cpu, pair, sent_ps, stop_at_interrupt)
        if stop_at_interrupt and pair.interrupt_pending:
            return
        send_frame(cpu, pair, sent_ps)
        sent_ps = next_sent_ps(cpu, pair)
    vf_receive(cpu, pair, until_ps, stop_at_interrupt)


@primitive
def bring_vf_up_to_now(cpu: Any, pair: Any) -> None:
    """Everything that the VF does up to the processor's time; a real device does not wait to be asked."""
    vf_advance(cpu, pair, cpu.clock_ps, False)
