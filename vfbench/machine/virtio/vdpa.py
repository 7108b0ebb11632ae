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
from vfbench.machine.port import DMA, FIFO_FRAMES, PATH_RELAY, WIRE
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
def is_relayed(port: Any) -> bool:
    """Whether the hypervisor's rings stand in front of the device."""
    return port.path == PATH_RELAY


@kernel
def log_relayed(cpu: Any, port: Any, address: int) -> None:
    """The relay logs a page; a device by itself logs nothing."""
    if is_relayed(port) and word(cpu, port.backend_slot, LOGS):
        page = address >> PAGE_SHIFT
        store_byte(cpu.marks, page, load_byte(cpu.marks, page) | LOGGED)


@kernel
def store_in_ring(cpu: Any, port: Any, address: int, bits: int, value: int, time_ps: int) -> None:
    """The device, or the relay in front of it, writes a field of the guest's ring."""
    stored = replace_bits(model_load(cpu, address & -8), address, bits, value)
    dma_store(cpu, address & -8, stored, time_ps)
    log_relayed(cpu, port, address)


@kernel
def await_kick(cpu: Any, port: Any, queue: int, seen: int, time_ps: int) -> None:
    """Ask for a kick when the next buffer is offered."""
    address = available_event(queue, cpu.virtqueue_size)
    if host_load(cpu, address, 16) != seen & INDEX_MASK:
        store_in_ring(cpu, port, address, 16, seen & INDEX_MASK, time_ps)


@kernel
def report_used(
    cpu: Any, port: Any, queue: int, count: int, slot: int, length_bytes: int, time_ps: int
) -> None:
    """Report a buffer as used, and publish it."""
    size = cpu.virtqueue_size
    entry = used_entry(queue, size, count)
    store_in_ring(cpu, port, entry, 32, slot, time_ps)
    store_in_ring(cpu, port, entry + 4, 32, length_bytes, time_ps)
    store_in_ring(cpu, port, used_index(queue, size), 16, (count + 1) & INDEX_MASK, time_ps)


@kernel
def relay_ps(cpu: Any, port: Any) -> int:
    """How long a queue's buffer takes to pass the relay both ways; the core has the other queues' as well."""
    return 2 * host_price(cpu, port.backend_slot, RELAY) * port.queues


@kernel
def spend_relay(cpu: Any, port: Any, until_ps: int) -> None:
    """The relay passed a buffer both ways, and was done by ``until_ps``."""
    port.vhost_ps = until_ps
    cpu.host_ps += 2 * host_price(cpu, port.backend_slot, RELAY)


@kernel
def wake_relay(cpu: Any, port: Any, time_ps: int) -> None:
    """A frame landed for a relay that had none to pass back: at once if it is up, else after waking."""
    port.relay_from_ps = port.vhost_ps
    if time_ps > port.vhost_ps:
        kick_ps = host_price(cpu, port.backend_slot, KICK)
        port.relay_from_ps = time_ps + kick_ps
        cpu.host_ps += kick_ps


# -- receive


@kernel
def next_landing_ps(cpu: Any, port: Any) -> int:
    """When the oldest frame of the FIFO will be in memory, if there is a buffer for it."""
    if port.fifo_head == port.fifo_tail or not port.enabled or cpu.dma_held:
        return NEVER_PS
    frame = port.fifo[port.fifo_head & (FIFO_FRAMES - 1)]
    begin_ps = max(frame.ready_ps, port.rx_free_ps)
    return begin_ps + dma_occupancy_ps(cpu, port, frame.length) + cpu.cost[DMA_LATENCY]


@kernel
def land(cpu: Any, port: Any, time_ps: int) -> None:
    """The oldest frame reaches the next buffer that was offered, or is dropped where there is none."""
    frame = take_oldest(port)
    if not has_available(cpu, cpu.rx_queue, port.vhost_rx_seen):
        await_kick(cpu, port, cpu.rx_queue, port.vhost_rx_seen, time_ps)
        port.lost_descriptor += 1
        return
    port.rx_free_ps = time_ps - cpu.cost[DMA_LATENCY]
    port.busy_ps[DMA] += cpu.cost[DMA_PACKET] + ((cpu.cost[DMA_RATE] * frame.length) >> 10)
    slot = take_available(cpu, cpu.rx_queue, port.vhost_rx_seen)
    address = model_load(cpu, cpu.rx_queue + 16 * slot)
    if not is_packet_memory(cpu, address):
        port.dma_faults += 1
        port.lost_dma += 1
        return
    write_content(cpu, address, frame.length, frame.sequence, time_ps)
    port.rx_free_ps += dma_written(cpu, address, time_ps)
    note_written(port, slot, frame)
    port.vhost_rx_seen += 1
    if not is_relayed(port):
        pass_back(cpu, port, time_ps)
    elif port.vhost_rx_seen - port.vhost_rx_used == 1:
        wake_relay(cpu, port, time_ps)


@kernel
def next_pass_back_ps(cpu: Any, port: Any) -> int:
    """When the relay will have passed the next buffer that landed back to the guest."""
    if port.vhost_rx_seen == port.vhost_rx_used or not is_relayed(port):
        return NEVER_PS
    return max(port.relay_from_ps, port.vhost_ps) + relay_ps(cpu, port)


@kernel
def pass_back(cpu: Any, port: Any, time_ps: int) -> None:
    """The guest sees the buffer that landed longest ago."""
    slot = take_available(cpu, cpu.rx_queue, port.vhost_rx_used)
    log_relayed(cpu, port, model_load(cpu, cpu.rx_queue + 16 * slot))
    report_used(cpu, port, cpu.rx_queue, port.vhost_rx_used, slot, port.slot[slot].length, time_ps)
    port.vhost_rx_used += 1
    if wants_interrupt(cpu, cpu.rx_queue, port.vhost_rx_used):
        request_interrupt(cpu, port, time_ps)


# -- send


@kernel
def is_offered(cpu: Any, port: Any, seen: int) -> bool:
    """Whether the guest has offered a frame to send; whoever found none does not look again before it is kicked."""
    if port.vhost_tx_sleeps or not port.enabled:
        return False
    if has_available(cpu, cpu.tx_queue, seen):
        return True
    await_kick(cpu, port, cpu.tx_queue, seen, port.vhost_ps)
    port.vhost_tx_sleeps = 1
    return False


@kernel
def next_pass_on_ps(cpu: Any, port: Any) -> int:
    """When the relay will have passed the guest's next frame on to the device."""
    if not is_relayed(port) or not is_offered(cpu, port, port.vhost_tx_seen):
        return NEVER_PS
    return max(port.vhost_ps, port.vhost_tx_ready_ps) + relay_ps(cpu, port)


@kernel
def next_sent_ps(cpu: Any, port: Any) -> int:
    """When the last bit of the frame that the device sees first will be on the wire."""
    if not port.enabled or cpu.dma_held:
        return NEVER_PS
    ready_ps = port.vhost_tx_ready_ps
    if is_relayed(port):
        if port.vhost_tx_seen == port.vhost_tx_used:
            return NEVER_PS
        ready_ps = port.tx_ready_ps
    elif not is_offered(cpu, port, port.vhost_tx_used):
        return NEVER_PS
    slot = take_available(cpu, cpu.tx_queue, port.vhost_tx_used)
    length_bytes = model_load(cpu, cpu.tx_queue + 16 * slot + 8) & INDEX_MASK
    begin_ps = max(port.tx_free_ps, ready_ps + cpu.cost[DMA_LATENCY])
    return begin_ps + (length_bytes + WIRE_OVERHEAD_BYTES) * port.ps_per_byte


@kernel
def send(cpu: Any, port: Any, time_ps: int) -> None:
    """The frame is on the wire, and its buffer the driver's again."""
    slot = take_available(cpu, cpu.tx_queue, port.vhost_tx_used)
    address = model_load(cpu, cpu.tx_queue + 16 * slot)
    length_bytes = model_load(cpu, cpu.tx_queue + 16 * slot + 8) & INDEX_MASK
    port.tx_free_ps = time_ps
    port.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * port.line_ps_per_byte
    if is_packet_memory(cpu, address) and is_packet_memory(cpu, address + length_bytes - 1):
        first = load_word(cpu.words, word_index(cpu, address))
        whole = frame_is_whole(cpu, address, length_bytes, first)
        note_at_peer(port, (first & (SENT - 1)) >> BLOCKS_SHIFT, whole, length_bytes, time_ps)
    report_used(cpu, port, cpu.tx_queue, port.vhost_tx_used, slot, 0, time_ps)
    port.vhost_tx_used += 1
    if not is_relayed(port):
        port.vhost_tx_seen = port.vhost_tx_used
    if wants_interrupt(cpu, cpu.tx_queue, port.vhost_tx_used):
        request_transmit_interrupt(port, time_ps)


# -- both


@kernel
def vdpa_advance(cpu: Any, port: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that device and relay do up to ``until_ps``, in the order of time."""
    while not (stop_at_interrupt and (port.interrupt_pending or port.tx_interrupt_pending)):
        arrival, landing = next_arrival_ps(port), next_landing_ps(cpu, port)
        passed_back, passed_on = next_pass_back_ps(cpu, port), next_pass_on_ps(cpu, port)
        sent = next_sent_ps(cpu, port)
        due = min(min(min(arrival, landing), min(passed_back, passed_on)), sent)
        if due > until_ps:
            break
        if due == arrival:
            admit(port)
        elif due == landing:
            land(cpu, port, due)
        elif due == passed_back:
            spend_relay(cpu, port, due)
            pass_back(cpu, port, due)
        elif due == passed_on:
            spend_relay(cpu, port, due)
            port.vhost_tx_seen += 1
            port.tx_ready_ps = due
        else:
            send(cpu, port, due)


@kernel
def finish_relay(cpu: Any, port: Any, now_ps: int) -> int:
    """The device is suspended: pass back what has landed, leave what was not sent; returns when that is done.

    Source: ``vhost_svq_stop``, which flushes what the device has used. What the device was given to send and has not
    sent is offered again by whoever serves the ring next.
    """
    port.vhost_ps = max(port.vhost_ps, now_ps)
    while port.vhost_rx_seen != port.vhost_rx_used:
        spend_relay(cpu, port, port.vhost_ps + relay_ps(cpu, port))
        pass_back(cpu, port, port.vhost_ps)
    port.vhost_tx_seen = port.vhost_tx_used
    port.vhost_tx_sleeps = 0
    return port.vhost_ps
