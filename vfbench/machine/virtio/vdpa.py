"""A vDPA device: the card serves the guest's virtqueues itself, by DMA, with the guest's own driver for virtio-net.

It stands on the guest's rings (``PATH_VDPA``), where nobody sees what it writes, or behind the hypervisor's relay
(``PATH_RELAY``): QEMU's shadow virtqueues. Then the device uses rings of the hypervisor's own. A thread of the host
passes each buffer that the guest offers on to the device, and each that the device has used back to the guest, and logs
the pages. Payload still goes straight to the guest's memory. One core relays for all queues.

A buffer passes the relay twice; both times are charged where the packet waits for it: on receipt when it has landed, on
sending before the device sees it. Sources: QEMU, hw/virtio/vhost-shadow-virtqueue.c; Linux, drivers/vdpa/mlx5.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DMA_LATENCY, DMA_PACKET, DMA_RATE
from vfbench.machine.cpu import model_load, word, word_index
from vfbench.machine.hooks import dma_written
from vfbench.machine.host import host_price
from vfbench.machine.iommu.iotlb import is_packet_memory
from vfbench.machine.memory.guest_memory import BLOCKS_SHIFT, LOGGED, PAGE_SHIFT, SENT
from vfbench.machine.memory.words import load_byte, load_word, store_byte
from vfbench.machine.oracle.oracle import note_at_peer, note_written, write_content
from vfbench.machine.queue_pair import DMA, FIFO_FRAMES, PATH_RELAY, WIRE
from vfbench.machine.vf.device import (
    admit,
    frame_is_whole,
    next_arrival_ps,
    take_oldest,
)
from vfbench.machine.vf.dma import dma_store
from vfbench.machine.vf.landing import dma_occupancy_ps, request_interrupt
from vfbench.machine.virtio.vhost import (
    has_available,
    host_load,
    request_transmit_interrupt,
    take_available,
    wants_interrupt,
)
from vfbench.machine.virtio.virtqueue import (
    INDEX_MASK,
    available_event,
    replace_bits,
    used_entry,
    used_index,
)
from vfbench.machine.wire import NEVER_PS, WIRE_OVERHEAD_BYTES

LOGS = 0
"""The relay's word: whether it logs what it passes back."""
RELAY, KICK = range(2)
"""The relay's prices, by number."""


@kernel
def is_relayed(pair: Any) -> bool:
    """Whether the hypervisor's rings stand in front of the device."""
    return pair.path == PATH_RELAY


@kernel
def log_relayed(cpu: Any, pair: Any, address: int) -> None:
    """The relay logs a page; a device by itself logs nothing."""
    if is_relayed(pair) and word(cpu, pair.backend_slot, LOGS):
        page = address >> PAGE_SHIFT
        store_byte(cpu.marks, page, load_byte(cpu.marks, page) | LOGGED)


@kernel
def store_in_ring(cpu: Any, pair: Any, address: int, bits: int, value: int, time_ps: int) -> None:
    """The device, or the relay in front of it, writes a field of the guest's ring."""
    stored = replace_bits(model_load(cpu, address & -8), address, bits, value)
    dma_store(cpu, address & -8, stored, time_ps)
    log_relayed(cpu, pair, address)


@kernel
def await_kick(cpu: Any, pair: Any, queue: int, seen: int, time_ps: int) -> None:
    """Ask for a kick when the next buffer is offered."""
    address = available_event(queue, cpu.virtqueue_size)
    if host_load(cpu, address, 16) != seen & INDEX_MASK:
        store_in_ring(cpu, pair, address, 16, seen & INDEX_MASK, time_ps)


@kernel
def report_used(
    cpu: Any, pair: Any, queue: int, count: int, slot: int, length_bytes: int, time_ps: int
) -> None:
    """Report a buffer as used, and publish it."""
    size = cpu.virtqueue_size
    entry = used_entry(queue, size, count)
    store_in_ring(cpu, pair, entry, 32, slot, time_ps)
    store_in_ring(cpu, pair, entry + 4, 32, length_bytes, time_ps)
    store_in_ring(cpu, pair, used_index(queue, size), 16, (count + 1) & INDEX_MASK, time_ps)


@kernel
def relay_ps(cpu: Any, pair: Any) -> int:
    """How long a queue's buffer takes to pass the relay both ways; the core has the other queues' as well."""
    return 2 * host_price(cpu, pair.backend_slot, RELAY) * pair.queues


@kernel
def spend_relay(cpu: Any, pair: Any, until_ps: int) -> None:
    """The relay passed a buffer both ways, and was done by ``until_ps``."""
    pair.vhost.clock_ps = until_ps
    cpu.host_ps += 2 * host_price(cpu, pair.backend_slot, RELAY)


@kernel
def wake_relay(cpu: Any, pair: Any, time_ps: int) -> None:
    """A frame landed for a relay that had none to pass back: at once if it is up, else after waking."""
    pair.vhost.relay_from_ps = pair.vhost.clock_ps
    if time_ps > pair.vhost.clock_ps:
        kick_ps = host_price(cpu, pair.backend_slot, KICK)
        pair.vhost.relay_from_ps = time_ps + kick_ps
        cpu.host_ps += kick_ps


# -- receive


@kernel
def next_landing_ps(cpu: Any, pair: Any) -> int:
    """When the oldest frame of the FIFO will be in memory, if there is a buffer for it."""
    if pair.nic.fifo_head == pair.nic.fifo_tail or not pair.enabled or cpu.dma_held:
        return NEVER_PS
    frame = pair.nic.fifo[pair.nic.fifo_head & (FIFO_FRAMES - 1)]
    begin_ps = max(frame.ready_ps, pair.nic.rx_free_ps)
    return begin_ps + dma_occupancy_ps(cpu, pair, frame.length) + cpu.cost[DMA_LATENCY]


@kernel
def land(cpu: Any, pair: Any, time_ps: int) -> None:
    """The oldest frame reaches the next buffer that was offered, or is dropped where there is none."""
    frame = take_oldest(pair)
    if not has_available(cpu, cpu.rx_queue, pair.vhost.rx_seen):
        await_kick(cpu, pair, cpu.rx_queue, pair.vhost.rx_seen, time_ps)
        pair.oracle.lost_descriptor += 1
        return
    pair.nic.rx_free_ps = time_ps - cpu.cost[DMA_LATENCY]
    pair.nic.busy_ps[DMA] += cpu.cost[DMA_PACKET] + ((cpu.cost[DMA_RATE] * frame.length) >> 10)
    slot = take_available(cpu, cpu.rx_queue, pair.vhost.rx_seen)
    address = model_load(cpu, cpu.rx_queue + 16 * slot)
    if not is_packet_memory(cpu, address):
        pair.oracle.dma_faults += 1
        pair.oracle.lost_dma += 1
        return
    write_content(cpu, address, frame.length, frame.sequence, time_ps)
    pair.nic.rx_free_ps += dma_written(cpu, address, time_ps)
    note_written(pair, slot, frame)
    pair.vhost.rx_seen += 1
    if not is_relayed(pair):
        pass_back(cpu, pair, time_ps)
    elif pair.vhost.rx_seen - pair.vhost.rx_used == 1:
        wake_relay(cpu, pair, time_ps)


@kernel
def next_pass_back_ps(cpu: Any, pair: Any) -> int:
    """When the relay will have passed the next buffer that landed back to the guest."""
    if pair.vhost.rx_seen == pair.vhost.rx_used or not is_relayed(pair):
        return NEVER_PS
    return max(pair.vhost.relay_from_ps, pair.vhost.clock_ps) + relay_ps(cpu, pair)


@kernel
def pass_back(cpu: Any, pair: Any, time_ps: int) -> None:
    """The guest sees the buffer that landed longest ago."""
    slot = take_available(cpu, cpu.rx_queue, pair.vhost.rx_used)
    log_relayed(cpu, pair, model_load(cpu, cpu.rx_queue + 16 * slot))
    report_used(cpu, pair, cpu.rx_queue, pair.vhost.rx_used, slot, pair.oracle.slot[slot].length, time_ps)
    pair.vhost.rx_used += 1
    if wants_interrupt(cpu, cpu.rx_queue, pair.vhost.rx_used):
        request_interrupt(cpu, pair, time_ps)


# -- send


@kernel
def is_offered(cpu: Any, pair: Any, seen: int) -> bool:
    """Whether the guest has offered a frame to send; whoever found none does not look again before it is kicked."""
    if pair.vhost.tx_sleeps or not pair.enabled:
        return False
    if has_available(cpu, cpu.tx_queue, seen):
        return True
    await_kick(cpu, pair, cpu.tx_queue, seen, pair.vhost.clock_ps)
    pair.vhost.tx_sleeps = 1
    return False


@kernel
def next_pass_on_ps(cpu: Any, pair: Any) -> int:
    """When the relay will have passed the guest's next frame on to the device."""
    if not is_relayed(pair) or not is_offered(cpu, pair, pair.vhost.tx_seen):
        return NEVER_PS
    return max(pair.vhost.clock_ps, pair.vhost.tx_ready_ps) + relay_ps(cpu, pair)


@kernel
def next_sent_ps(cpu: Any, pair: Any) -> int:
    """When the last bit of the frame that the device sees first will be on the wire."""
    if not pair.enabled or cpu.dma_held:
        return NEVER_PS
    ready_ps = pair.vhost.tx_ready_ps
    if is_relayed(pair):
        if pair.vhost.tx_seen == pair.vhost.tx_used:
            return NEVER_PS
        ready_ps = pair.nic.tx_ready_ps
    elif not is_offered(cpu, pair, pair.vhost.tx_used):
        return NEVER_PS
    slot = take_available(cpu, cpu.tx_queue, pair.vhost.tx_used)
    length_bytes = model_load(cpu, cpu.tx_queue + 16 * slot + 8) & INDEX_MASK
    begin_ps = max(pair.nic.tx_free_ps, ready_ps + cpu.cost[DMA_LATENCY])
    return begin_ps + (length_bytes + WIRE_OVERHEAD_BYTES) * pair.nic.ps_per_byte


@kernel
def send(cpu: Any, pair: Any, time_ps: int) -> None:
    """The frame is on the wire, and its buffer the driver's again."""
    slot = take_available(cpu, cpu.tx_queue, pair.vhost.tx_used)
    address = model_load(cpu, cpu.tx_queue + 16 * slot)
    length_bytes = model_load(cpu, cpu.tx_queue + 16 * slot + 8) & INDEX_MASK
    pair.nic.tx_free_ps = time_ps
    pair.nic.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * pair.nic.line_ps_per_byte
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + length_bytes - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, length_bytes, first)
        note_at_peer(pair, (first & (SENT - 1)) >> BLOCKS_SHIFT, whole, length_bytes, time_ps)
    report_used(cpu, pair, cpu.tx_queue, pair.vhost.tx_used, slot, 0, time_ps)
    pair.vhost.tx_used += 1
    if not is_relayed(pair):
        pair.vhost.tx_seen = pair.vhost.tx_used
    if wants_interrupt(cpu, cpu.tx_queue, pair.vhost.tx_used):
        request_transmit_interrupt(pair, time_ps)


# -- both


@kernel
def vdpa_advance(cpu: Any, pair: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that device and relay do up to ``until_ps``, in the order of time."""
    while not (stop_at_interrupt and (pair.interrupt_pending or pair.tx_interrupt_pending)):
        arrival, landing = next_arrival_ps(pair), next_landing_ps(cpu, pair)
        passed_back, passed_on = next_pass_back_ps(cpu, pair), next_pass_on_ps(cpu, pair)
        sent = next_sent_ps(cpu, pair)
        due = min(min(min(arrival, landing), min(passed_back, passed_on)), sent)
        if due > until_ps:
            break
        if due == arrival:
            admit(pair)
        elif due == landing:
            land(cpu, pair, due)
        elif due == passed_back:
            spend_relay(cpu, pair, due)
            pass_back(cpu, pair, due)
        elif due == passed_on:
            spend_relay(cpu, pair, due)
            pair.vhost.tx_seen += 1
            pair.nic.tx_ready_ps = due
        else:
            send(cpu, pair, due)


@kernel
def finish_relay(cpu: Any, pair: Any, now_ps: int) -> int:
    """The device is suspended: pass back what has landed, leave what was not sent; returns when that is done.

    Source: ``vhost_svq_stop``, which flushes what the device has used. What the device was given to send and has not
    sent is offered again by whoever serves the ring next.
    """
    pair.vhost.clock_ps = max(pair.vhost.clock_ps, now_ps)
    while pair.vhost.rx_seen != pair.vhost.rx_used:
        spend_relay(cpu, pair, pair.vhost.clock_ps + relay_ps(cpu, pair))
        pass_back(cpu, pair, pair.vhost.clock_ps)
    pair.vhost.tx_seen = pair.vhost.tx_used
    pair.vhost.tx_sleeps = 0
    return pair.vhost.clock_ps
