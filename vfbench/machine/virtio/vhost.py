"""A vhost-like worker: a host thread that copies packets into and out of the guest and logs what it writes.

It takes frames from a tap's queue, fills the buffers that the guest offered, and reports them in the used ring.
Each of its writes goes to the dirty log by itself (``vhost_log_write``): nothing here is hidden from migration. For a
packet received there are three: its buffer, the used element, the used index.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    HOST_NIC_PACKET,
    HOST_NIC_SEND,
    VHOST_COPY_RATE,
    VHOST_LOG_PAGE,
    VHOST_PACKET,
    VHOST_SEND,
    VHOST_WAKEUP,
)
from vfbench.machine.cpu import model_load, word_index
from vfbench.machine.driver.moderation import adapt_host_interval
from vfbench.machine.iommu.iotlb import is_packet_memory
from vfbench.machine.memory.absent import await_page
from vfbench.machine.memory.guest_memory import BLOCK_SHIFT, BLOCKS_SHIFT, CONTENT, LOGGED, PAGE_SHIFT, SENT
from vfbench.machine.memory.words import load_byte, load_word, store_byte
from vfbench.machine.oracle.oracle import blocks_of, note_at_peer, note_written, write_content
from vfbench.machine.port import FIFO_FRAMES, INWARD, OUTWARD, WIRE
from vfbench.machine.sides import HOST, implementation, primitive
from vfbench.machine.vf.device import (
    admit,
    frame_is_whole,
    next_arrival_ps,
    take_oldest,
)
from vfbench.machine.vf.dma import dma_store
from vfbench.machine.vf.landing import request_interrupt
from vfbench.machine.virtio.virtqueue import (
    DESCRIPTOR_INDIRECT,
    INDEX_MASK,
    available_event,
    available_index,
    available_offset,
    field_of,
    passes,
    replace_bits,
    used_entry,
    used_event,
    used_index,
)
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, NEVER_PS, WIRE_OVERHEAD_BYTES


@kernel
def work(cpu: Any, port: Any, spent_ps: int) -> None:
    """The worker is busy."""
    port.vhost_ps += spent_ps
    cpu.host_ps += spent_ps


@primitive
def log_write(cpu: Any, port: Any, address: int) -> None:
    """The worker logs the page that it wrote; while the log is on, that takes time."""
    page = address >> PAGE_SHIFT
    store_byte(cpu.marks, page, load_byte(cpu.marks, page) | LOGGED)
    if cpu.logging:
        work(cpu, port, cpu.cost[VHOST_LOG_PAGE])


@primitive
def host_load(cpu: Any, address: int, bits: int) -> int:
    """The worker reads a field of a ring."""
    return field_of(model_load(cpu, address & -8), address, bits)


@kernel
def store_in_word(cpu: Any, port: Any, address: int, bits: int, value: int) -> None:
    """Store a field, and leave what is beside it in its word."""
    word = replace_bits(model_load(cpu, address & -8), address, bits, value)
    dma_store(cpu, address & -8, word, port.vhost_ps)


@primitive
def host_store(cpu: Any, port: Any, address: int, bits: int, value: int) -> None:
    """The worker writes a field of a ring."""
    store_in_word(cpu, port, address, bits, value)
    log_write(cpu, port, address)


@primitive
def store_used_element(cpu: Any, port: Any, entry: int, slot: int, length_bytes: int) -> None:
    """The worker writes an element of the used ring, which is logged as one: twice where it lies across two pages.

    Source: ``vhost_add_used_n`` and ``log_write`` (drivers/vhost/vhost.c).
    """
    store_in_word(cpu, port, entry, 32, slot)
    store_in_word(cpu, port, entry + 4, 32, length_bytes)
    log_write(cpu, port, entry)
    if (entry ^ (entry + 4)) >> PAGE_SHIFT:
        log_write(cpu, port, entry + 4)


@kernel
def ask_for_kick(cpu: Any, port: Any, queue: int, seen: int) -> None:
    """Ask for a kick when the next buffer is offered (``vhost_enable_notify``); written only when it changes.

    There is nothing to take back: once the guest has passed the index, it kicks no more.
    """
    address = available_event(queue, cpu.virtqueue_size)
    if host_load(cpu, address, 16) != seen & INDEX_MASK:
        host_store(cpu, port, address, 16, seen & INDEX_MASK)


@kernel
def has_available(cpu: Any, queue: int, seen: int) -> bool:
    """Whether the guest has offered a buffer that the worker has not taken."""
    return host_load(cpu, available_index(queue, cpu.virtqueue_size), 16) != seen & INDEX_MASK


@kernel
def take_available(cpu: Any, queue: int, seen: int) -> int:
    """The descriptor index in entry number ``seen`` of the available ring."""
    size = cpu.virtqueue_size
    entry = queue + available_offset(size) + 4 + 2 * (seen & (size - 1))
    return host_load(cpu, entry, 16) & (size - 1)


@kernel
def put_used(cpu: Any, port: Any, queue: int, count: int, slot: int, length_bytes: int) -> None:
    """Report a buffer as used, and publish it."""
    size = cpu.virtqueue_size
    entry = used_entry(queue, size, count)
    store_used_element(cpu, port, entry, slot, length_bytes)
    host_store(cpu, port, used_index(queue, size), 16, (count + 1) & INDEX_MASK)


@primitive
def wants_interrupt(cpu: Any, queue: int, used: int) -> bool:
    """Whether the driver asked for an interrupt at the buffer that made ``used`` of them (``vhost_notify``)."""
    return passes(host_load(cpu, used_event(queue, cpu.virtqueue_size), 16), used, used - 1)


@kernel
def request_transmit_interrupt(port: Any, time_ps: int) -> None:
    """Raise the interrupt of the transmit queue, which has a vector of its own."""
    if not port.tx_interrupt_pending:
        port.tx_interrupt_pending = 1
        port.tx_interrupt_ps = time_ps


@kernel
def copy_ps(cpu: Any, length_bytes: int) -> int:
    """How long the worker copies ``length_bytes``."""
    return (cpu.cost[VHOST_COPY_RATE] * length_bytes) >> 10


@kernel
def begin_ps(cpu: Any, port: Any, ready_ps: int) -> int:
    """When the worker gets to work that is ready at ``ready_ps``: at once if it is up, else after waking."""
    if ready_ps > port.vhost_ps:
        return ready_ps + cpu.cost[VHOST_WAKEUP]
    return port.vhost_ps


@kernel
def next_rx_ps(cpu: Any, port: Any) -> int:
    """When the worker can start on the oldest frame of the tap's queue."""
    if port.fifo_head == port.fifo_tail or not port.enabled:
        return NEVER_PS
    if not has_available(cpu, cpu.rx_queue, port.vhost_rx_seen):
        ask_for_kick(cpu, port, cpu.rx_queue, port.vhost_rx_seen)
        return NEVER_PS
    frame = port.fifo[port.fifo_head & (FIFO_FRAMES - 1)]
    return max(begin_ps(cpu, port, frame.ready_ps), port.vhost_rx_ready_ps)


@kernel
def next_tx_ps(cpu: Any, port: Any) -> int:
    """When the worker can start on the oldest frame that the guest wants sent.

    It does not look at a queue that it found empty before it is kicked (``handle_tx_kick``, drivers/vhost/net.c).
    """
    if not port.enabled or port.vhost_tx_sleeps:
        return NEVER_PS
    if not has_available(cpu, cpu.tx_queue, port.vhost_tx_seen):
        ask_for_kick(cpu, port, cpu.tx_queue, port.vhost_tx_seen)
        port.vhost_tx_sleeps = 1
        return NEVER_PS
    return max(max(port.vhost_ps, port.vhost_tx_ready_ps), port.tx_free_ps - port.host_backlog_ps)


@kernel
def pass_through_host_nic(cpu: Any, port: Any) -> None:
    """The next frame on the wire reaches the tap's queue by way of the host's NIC, its interrupt and its softirq.

    The host's driver is throttled as the guest's is, and adapts to the load alike (EITR): a frame that finds the
    softirq asleep waits for the next interrupt; while it is awake frames follow one another, one processor's worth of
    them and no more. What finds the NIC's ring full costs nothing; what finds the tap's queue full has cost the
    softirq's time.
    """
    frame = port.incoming[port.incoming_head]
    in_ring = max(0, port.host_nic_ps - frame.arrival_ps) // max(1, cpu.cost[HOST_NIC_PACKET])
    if in_ring >= port.host_ring_frames:
        port.incoming_head += 1
        port.lost_fifo += 1
        return
    if frame.arrival_ps > port.host_nic_ps:
        port.host_interrupt_ps = max(
            frame.arrival_ps, port.host_interrupt_ps + port.host_interrupt_interval_ps
        )
        port.host_nic_ps = port.host_interrupt_ps
        adapt_host_interval(cpu, port)
    port.host_moderated_bytes[INWARD] += frame.length
    port.host_nic_ps += cpu.cost[HOST_NIC_PACKET]
    cpu.host_ps += cpu.cost[HOST_NIC_PACKET]
    frame.ready_ps = port.host_nic_ps
    port.fifo_limit_frames = min(port.tap_queue_frames + in_ring, FIFO_FRAMES)
    admit(port)


@primitive
def vhost_receive_one(cpu: Any, port: Any, start_ps: int) -> None:
    """Copy the oldest frame into the next buffer that the guest offered."""
    frame = take_oldest(port)
    port.vhost_ps = start_ps
    work(cpu, port, cpu.cost[VHOST_PACKET] + copy_ps(cpu, frame.length))
    slot = take_available(cpu, cpu.rx_queue, port.vhost_rx_seen)
    port.vhost_rx_seen += 1
    address = model_load(cpu, cpu.rx_queue + 16 * slot)
    if not is_packet_memory(cpu, address):
        port.dma_faults += 1
        port.lost_dma += 1
        return
    write_content(cpu, address, frame.length, frame.sequence, port.vhost_ps)
    log_write(cpu, port, address)
    note_written(port, slot, frame)
    put_used(cpu, port, cpu.rx_queue, port.vhost_rx_used, slot, frame.length)
    port.vhost_rx_used += 1
    if wants_interrupt(cpu, cpu.rx_queue, port.vhost_rx_used):
        request_interrupt(cpu, port, port.vhost_ps)


@kernel
def put_on_wire(port: Any, length_bytes: int) -> None:
    """A frame takes the wire as soon as the one before it is through."""
    port.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * port.line_ps_per_byte
    port.tx_free_ps += (length_bytes + WIRE_OVERHEAD_BYTES) * port.ps_per_byte


@kernel
def put_on_host_nic(cpu: Any, port: Any, length_bytes: int) -> None:
    """The host's own card sends the frame: a softirq of one processor, then the wire. The worker goes on meanwhile.

    It waits only once the card's ring is full (``host_backlog_ps``).
    """
    port.host_send_ps = max(port.host_send_ps, port.vhost_ps) + cpu.cost[HOST_NIC_SEND]
    cpu.host_ps += cpu.cost[HOST_NIC_SEND]
    port.tx_free_ps = max(port.tx_free_ps, port.host_send_ps)
    port.host_moderated_bytes[OUTWARD] += length_bytes
    put_on_wire(port, length_bytes)


@kernel
def put_frames_on_host_nic(cpu: Any, port: Any, first: int, whole: bool, payload_bytes: int) -> None:
    """The host's card cuts one large skb into frames: its softirq has it once, the wire each frame."""
    mss_bytes, frames = cpu.frame_bytes - FRAME_OVERHEAD_BYTES, 0
    while payload_bytes > 0:
        length_bytes = min(mss_bytes, payload_bytes) + FRAME_OVERHEAD_BYTES
        if frames == 0:
            put_on_host_nic(cpu, port, length_bytes)
        else:
            port.host_moderated_bytes[OUTWARD] += length_bytes
            put_on_wire(port, length_bytes)
        note_at_peer(
            port, ((first & (SENT - 1)) >> BLOCKS_SHIFT) + frames, whole, length_bytes, port.tx_free_ps
        )
        payload_bytes -= mss_bytes
        frames += 1


@kernel
def vhost_send_large(cpu: Any, port: Any, table: int, entries: int) -> None:
    """Copy all parts of a send out, and hand them to the host's card as one."""
    payload_bytes, readable, whole, first = 0, True, True, 0
    for i in range(entries):
        address = model_load(cpu, table + 16 * i)
        length_bytes = model_load(cpu, table + 16 * i + 8) & INDEX_MASK
        if not (is_packet_memory(cpu, address) and is_packet_memory(cpu, address + length_bytes - 1)):
            readable = False
        elif i == 0:
            first = load_word(cpu.words, word_index(cpu, address))
            whole = first & (CONTENT | SENT) == CONTENT | SENT
        elif whole:
            whole = blocks_follow(cpu, address, length_bytes, first + 1 + (payload_bytes >> BLOCK_SHIFT))
        if i > 0:
            payload_bytes += length_bytes
    work(cpu, port, cpu.cost[VHOST_SEND] + copy_ps(cpu, payload_bytes))
    if readable:
        put_frames_on_host_nic(cpu, port, first, whole, payload_bytes)
    else:
        port.dma_faults += 1


@primitive
def blocks_follow(cpu: Any, address: int, length_bytes: int, first: int) -> bool:
    """Whether the blocks at ``address`` hold the content words from ``first`` on."""
    for page in range(address >> PAGE_SHIFT, ((address + length_bytes - 1) >> PAGE_SHIFT) + 1):
        await_page(cpu, page << PAGE_SHIFT)
    word = word_index(cpu, address)
    for block in range(blocks_of(length_bytes)):
        if load_word(cpu.words, word + block) != first + block:
            return False
    return True


@implementation(blocks_follow, HOST)
def holds_nothing(host: Any, address: int, length_bytes: int, first: int) -> bool:
    """Beside a real guest there are no large sends: they are refused before it starts."""
    return False


@kernel
def vhost_send_frame(cpu: Any, port: Any, address: int, length_bytes: int) -> None:
    """Copy one frame out, and hand it to the host's card."""
    work(cpu, port, cpu.cost[VHOST_SEND] + copy_ps(cpu, length_bytes))
    put_on_host_nic(cpu, port, length_bytes)
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + length_bytes - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, length_bytes, first)
        note_at_peer(port, (first & (SENT - 1)) >> BLOCKS_SHIFT, whole, length_bytes, port.tx_free_ps)


@primitive
def vhost_send_one(cpu: Any, port: Any, start_ps: int) -> None:
    """Copy the guest's next frame out, put it on the wire, and interrupt the guest if it asked for that."""
    port.vhost_ps = start_ps
    slot = take_available(cpu, cpu.tx_queue, port.vhost_tx_seen)
    port.vhost_tx_seen += 1
    address = model_load(cpu, cpu.tx_queue + 16 * slot)
    second = model_load(cpu, cpu.tx_queue + 16 * slot + 8)
    if second & DESCRIPTOR_INDIRECT:
        vhost_send_large(cpu, port, address, (second & INDEX_MASK) >> 4)
    else:
        vhost_send_frame(cpu, port, address, second & INDEX_MASK)
    put_used(cpu, port, cpu.tx_queue, port.vhost_tx_used, slot, 0)
    port.vhost_tx_used += 1
    if wants_interrupt(cpu, cpu.tx_queue, port.vhost_tx_used):
        request_transmit_interrupt(port, port.vhost_ps)


@kernel
def vhost_advance(cpu: Any, port: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that the worker does up to ``until_ps``; what it starts it finishes.

    With work both ways it takes turns. Linux's worker does too (``vhost_exceeds_weight``, drivers/vhost/vhost.c), by
    turns of up to 256 packets.
    """
    while not (stop_at_interrupt and (port.interrupt_pending or port.tx_interrupt_pending)):
        arrival = next_arrival_ps(port)
        receive, send = next_rx_ps(cpu, port), next_tx_ps(cpu, port)
        due = min(min(receive, send), arrival)
        if due >= until_ps:
            break
        if due == arrival:
            pass_through_host_nic(cpu, port)
        elif due == send and (port.vhost_sends_next or send < receive):
            port.vhost_sends_next = 0
            vhost_send_one(cpu, port, send)
        else:
            port.vhost_sends_next = 1
            vhost_receive_one(cpu, port, receive)
