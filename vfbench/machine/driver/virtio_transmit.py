"""The virtio-net driver's transmit side.

Frames sent are taken back before the next one is queued, at each receive poll, and in a poll of their own after an
interrupt (``start_xmit``, ``virtnet_poll_cleantx``, ``virtnet_poll_tx``; drivers/net/virtio_net.c of Linux 6.12 with
its default, ``napi_tx``). The driver of 2015, which had no such interrupt, does the first of these only.

Linux 6.15 and newer leave the first out, and ask for the interrupt after the kick, not before the frame is queued
("virtio-net: tweak for better TX performance in NAPI mode"): what the device has sent by then is taken back by a poll
that no interrupt began. So a frame that goes alone is an interrupt where the device is later than the driver.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import POLL_START, VIRTIO_QUEUE_PACKET
from vfbench.machine.cpu import load_field, spend, store_field
from vfbench.machine.driver.state import VIRTIO_TX_ADDED, VIRTIO_TX_KICKED, VIRTIO_TX_SEEN
from vfbench.machine.driver.vf_transmit import new_frame
from vfbench.machine.driver.virtio_notify import TX, interrupt_after, kick_if_wanted
from vfbench.machine.memory.block_pool import release_send_memory
from vfbench.machine.memory.page_pool import release_page
from vfbench.machine.oracle.oracle import note_refused
from vfbench.machine.virtio.virtqueue import (
    DESCRIPTOR_INDIRECT,
    INDEX_MASK,
    available_index,
    load16,
    make_available,
    store16,
    used_event,
    used_index,
)

ARMED_BEFORE_QUEUEING, ARMED_AFTER_KICK = 1, 2
"""Values of ``cpu.transmit_interrupts``; 0 is the driver of 2015."""


@kernel
def virtio_ring_is_full(cpu: Any) -> bool:
    """Whether every transmit descriptor is in use."""
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    return added - load_field(cpu, cpu.driver + VIRTIO_TX_SEEN) >= cpu.virtqueue_size


@kernel
def virtio_send_one(cpu: Any, pair: Any, length_bytes: int, flow: int) -> None:
    """Queue one frame for vhost; refused when ring or memory is full, as the queue discipline would."""
    if cpu.transmit_interrupts == ARMED_AFTER_KICK:
        virtio_want_no_transmit_interrupt(cpu)
    else:
        virtio_take_back_sent(cpu)
    if virtio_ring_is_full(cpu):
        note_refused(pair)
        return
    page = new_frame(cpu, pair, length_bytes, flow)
    if page == 0:
        return
    spend(cpu, VIRTIO_QUEUE_PACKET)
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    make_available(cpu, cpu.tx_queue, added, page, length_bytes)
    store_field(cpu, cpu.driver + VIRTIO_TX_ADDED, added + 1)
    store16(cpu, available_index(cpu.tx_queue, cpu.virtqueue_size), (added + 1) & INDEX_MASK)


@kernel
def virtio_ring_transmit_doorbell(cpu: Any, pair: Any) -> None:
    """Kick vhost, if it wants that, for the frames queued since the last time."""
    added = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED)
    kicked = load_field(cpu, cpu.driver + VIRTIO_TX_KICKED)
    if added != kicked:
        store_field(cpu, cpu.driver + VIRTIO_TX_KICKED, added)
        kick_if_wanted(cpu, pair, cpu.tx_queue, TX, kicked, added)
        if cpu.transmit_interrupts == ARMED_AFTER_KICK:
            virtio_arm_after_kick(cpu)


@kernel
def virtio_want_no_transmit_interrupt(cpu: Any) -> None:
    """As ``virtqueue_disable_cb_split`` does it: the index after which to interrupt is one that is not passed soon."""
    store16(cpu, used_event(cpu.tx_queue, cpu.virtqueue_size), 0)


@kernel
def virtio_arm_after_kick(cpu: Any) -> None:
    """Ask for an interrupt when three quarters are sent; if they are already, poll now, without one."""
    seen = load_field(cpu, cpu.driver + VIRTIO_TX_SEEN)
    on_its_way = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED) - seen
    if not interrupt_after(cpu, cpu.tx_queue, seen, on_its_way * 3 // 4):
        virtio_poll_transmitted(cpu)


@kernel
def release_sent(cpu: Any, descriptor: int) -> None:
    """Free a frame, or all parts of a large send."""
    address, second = load_field(cpu, descriptor), load_field(cpu, descriptor + 8)
    if second & DESCRIPTOR_INDIRECT == 0:
        release_page(cpu, address)
        return
    for offset in range(0, second & INDEX_MASK, 16):
        release_send_memory(cpu, load_field(cpu, address + offset))


@kernel
def virtio_clean_transmitted(cpu: Any) -> None:
    """Free the frames that vhost has sent."""
    queue, size = cpu.tx_queue, cpu.virtqueue_size
    seen = load_field(cpu, cpu.driver + VIRTIO_TX_SEEN)
    used = load16(cpu, used_index(queue, size))
    if seen & INDEX_MASK == used:
        return
    while seen & INDEX_MASK != used:
        release_sent(cpu, queue + 16 * (seen & (size - 1)))
        seen += 1
    store_field(cpu, cpu.driver + VIRTIO_TX_SEEN, seen)


@kernel
def virtio_take_back_sent(cpu: Any) -> None:
    """Free what was sent, then ask for an interrupt when three quarters of the rest are (``enable_cb_delayed``).

    With nothing on its way that is the next frame: one that goes alone has an interrupt of its own.
    """
    virtio_clean_transmitted(cpu)
    while cpu.transmit_interrupts:
        seen = load_field(cpu, cpu.driver + VIRTIO_TX_SEEN)
        on_its_way = load_field(cpu, cpu.driver + VIRTIO_TX_ADDED) - seen
        if interrupt_after(cpu, cpu.tx_queue, seen, on_its_way * 3 // 4):
            break
        virtio_clean_transmitted(cpu)


@kernel
def virtio_poll_transmitted(cpu: Any) -> None:
    """After an interrupt of the transmit queue: free what was sent, then wait for the next frame (``virtnet_poll_tx``).

    Linux runs it after the receive poll that is under way; here it is at once. Without ``napi_tx`` the interrupt only
    restarts a queue that was full, which is refused frames here (``skb_xmit_done``).
    """
    if not cpu.transmit_interrupts:
        return
    spend(cpu, POLL_START)
    virtio_clean_transmitted(cpu)
    while not interrupt_after(cpu, cpu.tx_queue, load_field(cpu, cpu.driver + VIRTIO_TX_SEEN), 0):
        virtio_clean_transmitted(cpu)
