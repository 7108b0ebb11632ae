"""A vhost-like worker: a host thread that copies packets into and out of the guest and logs what it writes.

It takes frames from a tap's queue, fills the buffers that the guest offered, and reports them in the used ring.
Each of its writes goes to the dirty log by itself (``vhost_log_write``): nothing here is hidden from migration. For a
packet received there are three: its buffer, the used element, the used index.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import (
    VHOST_BUFFER,
    VHOST_COPY_RATE,
    VHOST_LOG_PAGE,
    VHOST_PACKET,
    VHOST_SEND,
    VHOST_WAKEUP,
)
from vfbench.machine.cpu import model_load, word_index
from vfbench.machine.iommu.iotlb import is_packet_memory
from vfbench.machine.memory.absent import await_page
from vfbench.machine.memory.guest_memory import BLOCK_SHIFT, BLOCKS_SHIFT, CONTENT, LOGGED, PAGE_SHIFT, SENT
from vfbench.machine.memory.words import load_byte, load_word, store_byte
from vfbench.machine.oracle.oracle import blocks_of, note_at_peer, note_written, write_content
from vfbench.machine.oracle.part_words import frames_in, part_bytes, part_payload, part_word
from vfbench.machine.oracle.parts import note_part_written, write_part
from vfbench.machine.queue_pair import FIFO_FRAMES
from vfbench.machine.sides import DEVICE, HOST, implementation, primitive
from vfbench.machine.vf.device import (
    frame_is_whole,
    next_arrival_ps,
    take_oldest,
)
from vfbench.machine.vf.dma import dma_store
from vfbench.machine.vf.landing import request_interrupt
from vfbench.machine.virtio.host_nic import (
    end_host_poll,
    host_poll_ends_ps,
    pass_through_host_nic,
    put_frames_on_host_nic,
    put_on_host_nic,
)
from vfbench.machine.virtio.virtqueue import (
    DESCRIPTOR_INDIRECT,
    FURTHER_SHIFT,
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
from vfbench.machine.wire import NEVER_PS


@kernel
def work(cpu: Any, pair: Any, spent_ps: int) -> None:
    """The worker is busy."""
    pair.vhost.clock_ps += spent_ps
    cpu.host_ps += spent_ps


@primitive
def log_write(cpu: Any, pair: Any, address: int) -> None:
    """The worker logs the page that it wrote; while the log is on, that takes time."""
    page = address >> PAGE_SHIFT
    store_byte(cpu.marks, page, load_byte(cpu.marks, page) | LOGGED)
    if cpu.logging:
        work(cpu, pair, cpu.cost[VHOST_LOG_PAGE])


@primitive
def host_load(cpu: Any, address: int, bits: int) -> int:
    """The worker reads a field of a ring."""
    return field_of(model_load(cpu, address & -8), address, bits)


@kernel
def store_in_word(cpu: Any, pair: Any, address: int, bits: int, value: int) -> None:
    """Store a field, and leave what is beside it in its word."""
    word = replace_bits(model_load(cpu, address & -8), address, bits, value)
    dma_store(cpu, address & -8, word, pair.vhost.clock_ps)


@primitive
def host_store(cpu: Any, pair: Any, address: int, bits: int, value: int) -> None:
    """The worker writes a field of a ring."""
    store_in_word(cpu, pair, address, bits, value)
    log_write(cpu, pair, address)


@primitive
def store_used_element(cpu: Any, pair: Any, entry: int, slot: int, length_bytes: int) -> None:
    """The worker writes an element of the used ring, which is logged as one: twice where it lies across two pages.

    Source: ``vhost_add_used_n`` and ``log_write`` (drivers/vhost/vhost.c).
    """
    store_in_word(cpu, pair, entry, 32, slot)
    store_in_word(cpu, pair, entry + 4, 32, length_bytes)
    log_write(cpu, pair, entry)
    if (entry ^ (entry + 4)) >> PAGE_SHIFT:
        log_write(cpu, pair, entry + 4)


@kernel
def ask_for_kick(cpu: Any, pair: Any, queue: int, seen: int) -> None:
    """Ask for a kick when the next buffer is offered (``vhost_enable_notify``); written only when it changes.

    There is nothing to take back: once the guest has passed the index, it kicks no more.
    """
    address = available_event(queue, cpu.virtqueue_size)
    if host_load(cpu, address, 16) != seen & INDEX_MASK:
        host_store(cpu, pair, address, 16, seen & INDEX_MASK)


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
def put_used_entry(cpu: Any, pair: Any, queue: int, count: int, slot: int, length_bytes: int) -> None:
    """Report a buffer as used."""
    entry = used_entry(queue, cpu.virtqueue_size, count)
    store_used_element(cpu, pair, entry, slot, length_bytes)


@kernel
def publish_used(cpu: Any, pair: Any, queue: int, count: int) -> None:
    """Let the driver see that ``count`` buffers are used."""
    host_store(cpu, pair, used_index(queue, cpu.virtqueue_size), 16, count & INDEX_MASK)


@kernel
def put_used(cpu: Any, pair: Any, queue: int, count: int, slot: int, length_bytes: int) -> None:
    """Report a buffer as used, and publish it."""
    put_used_entry(cpu, pair, queue, count, slot, length_bytes)
    publish_used(cpu, pair, queue, count + 1)


@primitive
def wants_interrupt(cpu: Any, queue: int, used: int) -> bool:
    """Whether the driver asked for an interrupt at the buffer that made ``used`` of them (``vhost_notify``)."""
    return passes(host_load(cpu, used_event(queue, cpu.virtqueue_size), 16), used, used - 1)


@kernel
def request_transmit_interrupt(pair: Any, time_ps: int) -> None:
    """Raise the interrupt of the transmit queue, which has a vector of its own."""
    if not pair.tx_interrupt_pending:
        pair.tx_interrupt_pending = 1
        pair.tx_interrupt_ps = time_ps


@kernel
def copy_ps(cpu: Any, length_bytes: int) -> int:
    """How long the worker copies ``length_bytes``."""
    return (cpu.cost[VHOST_COPY_RATE] * length_bytes) >> 10


@kernel
def begin_ps(cpu: Any, pair: Any, ready_ps: int) -> int:
    """When the worker gets to work that is ready at ``ready_ps``: at once if it is up, else after waking."""
    if ready_ps > pair.vhost.clock_ps:
        return ready_ps + cpu.cost[VHOST_WAKEUP]
    return pair.vhost.clock_ps


@kernel
def first_lacking(cpu: Any, pair: Any) -> int:
    """The count of the next buffer, where the guest has not offered it yet; -1 where it has."""
    return -1 if has_available(cpu, cpu.rx_queue, pair.vhost.rx_seen) else pair.vhost.rx_seen


@kernel
def next_rx_ps(cpu: Any, pair: Any) -> int:
    """When the worker can start on the oldest frame of the tap's queue."""
    if pair.nic.fifo_head == pair.nic.fifo_tail or not pair.enabled:
        return NEVER_PS
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    lacks = buffer_lacking(cpu, pair, frame) if pair.vhost.gathers else first_lacking(cpu, pair)
    if lacks >= 0:
        ask_for_kick(cpu, pair, cpu.rx_queue, lacks)
        return NEVER_PS
    return max(begin_ps(cpu, pair, frame.ready_ps), pair.vhost.rx_ready_ps)


@kernel
def next_tx_ps(cpu: Any, pair: Any) -> int:
    """When the worker can start on the oldest frame that the guest wants sent.

    It does not look at a queue that it found empty before it is kicked (``handle_tx_kick``, drivers/vhost/net.c).
    """
    if not pair.enabled or pair.vhost.tx_sleeps:
        return NEVER_PS
    if not has_available(cpu, cpu.tx_queue, pair.vhost.tx_seen):
        ask_for_kick(cpu, pair, cpu.tx_queue, pair.vhost.tx_seen)
        pair.vhost.tx_sleeps = 1
        return NEVER_PS
    return max(
        max(pair.vhost.clock_ps, pair.vhost.tx_ready_ps), pair.nic.tx_free_ps - pair.vhost.host_backlog_ps
    )


@primitive
def buffer_lacking(cpu: Any, pair: Any, packet: Any) -> int:
    """The count of the first buffer that a packet needs and the guest has not offered; -1 where there are all."""
    left_bytes, seen = part_bytes(packet.length), pair.vhost.rx_seen
    while left_bytes > 0:
        if not has_available(cpu, cpu.rx_queue, seen):
            return seen
        slot = take_available(cpu, cpu.rx_queue, seen)
        left_bytes -= room_behind(model_load(cpu, cpu.rx_queue + 16 * slot + 8))
        seen += 1
    return -1


@primitive
def fill_buffers(cpu: Any, pair: Any, start_ps: int) -> None:
    """Copy the oldest packet into as many buffers as it takes, and report them together (``vhost_add_used_n``).

    The first one's header says how many they are (``num_buffers``, virtio 1.2, 5.1.6.4). Packet memory has no room for
    headers here: that many less one stands above the length in the first buffer's used entry.
    """
    packet = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    pair.nic.fifo_head += 1
    length_bytes, payload_bytes = part_bytes(packet.length), part_payload(packet.length)
    # A frame that nobody joined counted in the FIFO's bytes.
    pair.nic.fifo_bytes = max(0, pair.nic.fifo_bytes - length_bytes)
    pair.vhost.clock_ps = start_ps
    heads = buffers_taken(cpu, pair, length_bytes)
    work(cpu, pair, cpu.cost[VHOST_PACKET] + copy_ps(cpu, length_bytes))
    work(cpu, pair, (heads - 1) * cpu.cost[VHOST_BUFFER])
    frames, offset = frames_in(length_bytes, payload_bytes), 0
    for i in range(heads):
        slot = take_available(cpu, cpu.rx_queue, pair.vhost.rx_seen)
        pair.vhost.rx_seen += 1
        taken = fill_buffer(cpu, pair, packet, slot, offset)
        goes_on = offset + taken < length_bytes
        word = part_word(taken, offset, goes_on, payload_bytes)
        note_part_written(pair, slot, packet, word, 0 if goes_on else frames)
        further = heads - 1 if i == 0 else 0
        put_used_entry(
            cpu, pair, cpu.rx_queue, pair.vhost.rx_used + i, slot, taken | further << FURTHER_SHIFT
        )
        offset += taken
    old = pair.vhost.rx_used
    pair.vhost.rx_used += heads
    publish_used(cpu, pair, cpu.rx_queue, pair.vhost.rx_used)
    if passes(host_load(cpu, used_event(cpu.rx_queue, cpu.virtqueue_size), 16), pair.vhost.rx_used, old):
        request_interrupt(cpu, pair, pair.vhost.clock_ps)


@kernel
def room_behind(second: int) -> int:
    """How many bytes the buffer takes whose descriptor's second word this is."""
    if second & DESCRIPTOR_INDIRECT:
        return ((second & INDEX_MASK) >> 4) << PAGE_SHIFT
    return second & INDEX_MASK


@kernel
def buffers_taken(cpu: Any, pair: Any, length_bytes: int) -> int:
    """How many of the buffers on offer a packet fills."""
    heads, left_bytes = 0, length_bytes
    while left_bytes > 0:
        slot = take_available(cpu, cpu.rx_queue, pair.vhost.rx_seen + heads)
        left_bytes -= room_behind(model_load(cpu, cpu.rx_queue + 16 * slot + 8))
        heads += 1
    return heads


@kernel
def fill_buffer(cpu: Any, pair: Any, packet: Any, slot: int, offset: int) -> int:
    """Copy the packet's bytes from ``offset`` on into one buffer, page by page, and log each; returns how many."""
    address = model_load(cpu, cpu.rx_queue + 16 * slot)
    second = model_load(cpu, cpu.rx_queue + 16 * slot + 8)
    taken = min(room_behind(second), part_bytes(packet.length) - offset)
    done = 0
    while done < taken:
        place, piece = address, taken - done
        if second & DESCRIPTOR_INDIRECT:
            place, piece = model_load(cpu, address + ((done >> PAGE_SHIFT) << 4)), min(piece, 1 << PAGE_SHIFT)
        if is_packet_memory(cpu, place):
            write_part(cpu, place, piece, packet.sequence, offset + done, pair.vhost.clock_ps)
            log_write(cpu, pair, place)
        else:
            pair.oracle.dma_faults += 1
        done += piece
    return taken


@implementation(buffer_lacking, HOST)
def lacks_nothing(cpu: Any, pair: Any, packet: Any) -> int:
    """Beside a real guest no packet takes several buffers: it is refused before it starts."""
    return -1


@implementation(fill_buffers, HOST)
def fill_nothing(cpu: Any, pair: Any, start_ps: int) -> None:
    """As above."""


implementation(buffer_lacking, DEVICE)(lacks_nothing)


@primitive
def vhost_receive_one(cpu: Any, pair: Any, start_ps: int) -> None:
    """Copy the oldest frame into the next buffer that the guest offered."""
    if pair.vhost.gathers:
        fill_buffers(cpu, pair, start_ps)
        return
    frame = take_oldest(pair)
    pair.vhost.clock_ps = start_ps
    work(cpu, pair, cpu.cost[VHOST_PACKET] + copy_ps(cpu, frame.length))
    slot = take_available(cpu, cpu.rx_queue, pair.vhost.rx_seen)
    pair.vhost.rx_seen += 1
    address = model_load(cpu, cpu.rx_queue + 16 * slot)
    if not is_packet_memory(cpu, address):
        pair.oracle.dma_faults += 1
        pair.oracle.lost_dma += 1
        return
    write_content(cpu, address, frame.length, frame.sequence, pair.vhost.clock_ps)
    log_write(cpu, pair, address)
    note_written(pair, slot, frame)
    put_used(cpu, pair, cpu.rx_queue, pair.vhost.rx_used, slot, frame.length)
    pair.vhost.rx_used += 1
    if wants_interrupt(cpu, cpu.rx_queue, pair.vhost.rx_used):
        request_interrupt(cpu, pair, pair.vhost.clock_ps)


@kernel
def vhost_send_large(cpu: Any, pair: Any, table: int, entries: int) -> None:
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
    work(cpu, pair, cpu.cost[VHOST_SEND] + copy_ps(cpu, payload_bytes))
    if readable:
        put_frames_on_host_nic(cpu, pair, first, whole, payload_bytes)
    else:
        pair.oracle.dma_faults += 1


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
def vhost_send_frame(cpu: Any, pair: Any, address: int, length_bytes: int) -> None:
    """Copy one frame out, and hand it to the host's card."""
    work(cpu, pair, cpu.cost[VHOST_SEND] + copy_ps(cpu, length_bytes))
    put_on_host_nic(cpu, pair, length_bytes)
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + length_bytes - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, length_bytes, first)
        note_at_peer(pair, (first & (SENT - 1)) >> BLOCKS_SHIFT, whole, length_bytes, pair.nic.tx_free_ps)


@primitive
def vhost_send_one(cpu: Any, pair: Any, start_ps: int) -> None:
    """Copy the guest's next frame out, put it on the wire, and interrupt the guest if it asked for that."""
    pair.vhost.clock_ps = start_ps
    slot = take_available(cpu, cpu.tx_queue, pair.vhost.tx_seen)
    pair.vhost.tx_seen += 1
    address = model_load(cpu, cpu.tx_queue + 16 * slot)
    second = model_load(cpu, cpu.tx_queue + 16 * slot + 8)
    if second & DESCRIPTOR_INDIRECT:
        vhost_send_large(cpu, pair, address, (second & INDEX_MASK) >> 4)
    else:
        vhost_send_frame(cpu, pair, address, second & INDEX_MASK)
    put_used(cpu, pair, cpu.tx_queue, pair.vhost.tx_used, slot, 0)
    pair.vhost.tx_used += 1
    if wants_interrupt(cpu, cpu.tx_queue, pair.vhost.tx_used):
        request_transmit_interrupt(pair, pair.vhost.clock_ps)


@kernel
def vhost_advance(cpu: Any, pair: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that the worker does up to ``until_ps``; what it starts it finishes.

    With work both ways it takes turns. Linux's worker does too (``vhost_exceeds_weight``, drivers/vhost/vhost.c), by
    turns of up to 256 packets.
    """
    while not (stop_at_interrupt and (pair.interrupt_pending or pair.tx_interrupt_pending)):
        arrival, polled = next_arrival_ps(pair), host_poll_ends_ps(pair)
        receive, send = next_rx_ps(cpu, pair), next_tx_ps(cpu, pair)
        due = min(min(receive, send), min(arrival, polled))
        if due >= until_ps:
            break
        if due == arrival:
            pass_through_host_nic(cpu, pair)
        elif due == polled:
            end_host_poll(cpu, pair)
        elif due == send and (pair.vhost.sends_next or send < receive):
            pair.vhost.sends_next = 0
            vhost_send_one(cpu, pair, send)
        else:
            pair.vhost.sends_next = 1
            vhost_receive_one(cpu, pair, receive)
