"""The driver's poll (NAPI) and the vCPU that runs it: interrupt, poll up to the budget, refill, sleep.

One step is one packet. The vCPU's time is spent by whoever acts on it; when the poll takes longer than the
packets' distance, packets wait in the ring, then in the FIFO, and then there is no room.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import INTERRUPT_ENTRY_HOST, INTERRUPT_INJECTION, POLL_START
from vfbench.machine.cpu import sleep_until, spend
from vfbench.machine.driver.application import consume_due, next_due_ps
from vfbench.machine.driver.gro import gro_flush
from vfbench.machine.driver.halt import halt_until
from vfbench.machine.driver.moderation import adapt_interval
from vfbench.machine.driver.reply import reply_to
from vfbench.machine.driver.state import WATCHDOG_PS
from vfbench.machine.driver.vf_receive import empty_slots, receive_one, refill
from vfbench.machine.driver.vf_transmit import clean_transmitted, ring_transmit_doorbell
from vfbench.machine.driver.virtio_receive import (
    virtio_empty_slots,
    virtio_receive_interrupts_on,
    virtio_receive_one,
    virtio_refill,
)
from vfbench.machine.driver.virtio_transmit import (
    virtio_poll_transmitted,
    virtio_ring_transmit_doorbell,
    virtio_take_back_sent,
)
from vfbench.machine.hooks import host_work
from vfbench.machine.queue_pair import PATH_VF, PATH_VIRTIO
from vfbench.machine.sides import primitive
from vfbench.machine.vf.device import vf_advance
from vfbench.machine.virtio.vdpa import vdpa_advance
from vfbench.machine.virtio.vhost import vhost_advance


@kernel
def begin_poll(cpu: Any, pair: Any) -> None:
    """A poll starts: the application had its turn on this processor, then clean what was sent."""
    pair.poll_left = cpu.poll_budget
    consume_due(cpu, pair)
    spend(cpu, POLL_START)
    if pair.path == PATH_VF:
        clean_transmitted(cpu)
    elif cpu.transmit_interrupts:
        virtio_take_back_sent(cpu)


@kernel
def receive_next(cpu: Any, pair: Any, application: Any) -> int:
    """Take one packet and refill when enough slots are empty; returns 1 if there was a packet, else 0."""
    if pair.path == PATH_VF:
        received = receive_one(cpu, pair, application)
        if empty_slots(cpu) >= cpu.refill_batch:
            refill(cpu, pair)
    else:
        received = virtio_receive_one(cpu, pair, application)
        if virtio_empty_slots(cpu) >= cpu.refill_batch:
            virtio_refill(cpu, pair)
    return received


@kernel
def ring_doorbell(cpu: Any, pair: Any) -> None:
    """Tell the device of the frames queued since the last time."""
    if pair.path == PATH_VF:
        ring_transmit_doorbell(cpu, pair)
    else:
        virtio_ring_transmit_doorbell(cpu, pair)


@kernel
def run_timer(cpu: Any, pair: Any, application: Any) -> None:
    """The application's timer is due: it may send."""
    application.timer_ps = 0
    reply_to(cpu, pair, application, 0, 0, 0)
    ring_doorbell(cpu, pair)


@kernel
def end_poll(cpu: Any, pair: Any, application: Any) -> None:
    """A poll ends: what GRO holds goes up, and the tail is written for frames queued meanwhile."""
    pair.poll_left = 0
    if cpu.gro:
        gro_flush(cpu, pair, application)
    ring_doorbell(cpu, pair)


@kernel
def complete(cpu: Any, pair: Any) -> None:
    """``napi_complete``: nothing left, interrupts on again, unless a packet came meanwhile."""
    pair.polling = 0
    pair.interrupt_pending = 0
    if pair.path != PATH_VF and not virtio_receive_interrupts_on(cpu):
        pair.polling = 1


@primitive
def bring_device_up_to_now(cpu: Any, pair: Any) -> None:
    """What the device has done by now may not have been carried out yet; a real one does not wait to be asked."""
    advance_device(cpu, pair, cpu.clock_ps, False)


@kernel
def poll_one(cpu: Any, pair: Any, application: Any) -> None:
    """One packet's worth of polling."""
    if pair.poll_left == 0:
        begin_poll(cpu, pair)
    received = receive_next(cpu, pair, application)
    if not received:
        bring_device_up_to_now(cpu, pair)
        received = receive_next(cpu, pair, application)
    pair.poll_left -= received
    if not received or pair.poll_left == 0:
        end_poll(cpu, pair, application)
    if not received:
        complete(cpu, pair)


@kernel
def pay_for_interrupt(cpu: Any, time_ps: int) -> None:
    """An interrupt that was raised at ``time_ps`` reaches the guest."""
    halt_until(cpu, time_ps)
    cpu.interrupts += 1
    cpu.host_ps += cpu.cost[INTERRUPT_ENTRY_HOST]
    spend(cpu, INTERRUPT_INJECTION)


@kernel
def take_interrupt(cpu: Any, pair: Any) -> None:
    """The queue's interrupt reaches the guest, and the driver starts to poll."""
    adapt_interval(cpu, pair)
    pair.last_interrupt_ps = pair.interrupt_ps
    pair.interrupt_pending = 0
    pay_for_interrupt(cpu, pair.interrupt_ps)
    pair.polling = 1


@kernel
def take_transmit_interrupt(cpu: Any, pair: Any) -> None:
    """vhost has sent what the virtio driver asked to be notified of: reclaim completed TX descriptors."""
    pair.tx_interrupt_pending = 0
    pay_for_interrupt(cpu, pair.tx_interrupt_ps)
    virtio_poll_transmitted(cpu)


@kernel
def transmit_interrupt_is_next(pair: Any, limit_ps: int) -> bool:
    """Whether the virtio transmit queue's interrupt is due by ``limit_ps``, and before the other one."""
    if not pair.tx_interrupt_pending or pair.tx_interrupt_ps > limit_ps:
        return False
    return not pair.interrupt_pending or pair.tx_interrupt_ps < pair.interrupt_ps


@kernel
def advance_device(cpu: Any, pair: Any, until_ps: int, stop_at_interrupt: bool) -> None:
    """Everything that the VF, or vhost or a vDPA device in its place, does up to ``until_ps``."""
    if pair.path == PATH_VF:
        vf_advance(cpu, pair, until_ps, stop_at_interrupt)
    elif pair.path == PATH_VIRTIO:
        vhost_advance(cpu, pair, until_ps, stop_at_interrupt)
    else:
        vdpa_advance(cpu, pair, until_ps, stop_at_interrupt)


@kernel
def poll_for_the_watchdog(pair: Any) -> None:
    """A queue without buffers gets no interrupt, and without a poll no buffers: the watchdog polls it all the same."""
    pair.watchdog_ps += WATCHDOG_PS
    pair.polling = 1


@kernel
def rest(cpu: Any, pair: Any, application: Any, until_ps: int) -> None:
    """The vCPU sleeps until an interrupt, the watchdog, a timer, or when the application is done with a packet."""
    due_ps = next_due_ps(cpu)
    limit_ps = min(until_ps, pair.watchdog_ps)
    if application.timer_ps != 0 and not pair.quiesce_requested:
        limit_ps = min(limit_ps, application.timer_ps)
    limit_ps = limit_ps if due_ps < 0 else min(limit_ps, due_ps)
    if limit_ps > cpu.clock_ps:
        advance_device(cpu, pair, limit_ps, not pair.quiesce_requested)
    if transmit_interrupt_is_next(pair, limit_ps) and not pair.quiesce_requested:
        take_transmit_interrupt(cpu, pair)
    elif pair.interrupt_pending and pair.interrupt_ps <= limit_ps and not pair.quiesce_requested:
        take_interrupt(cpu, pair)
    else:
        sleep_until(cpu, limit_ps)
        consume_due(cpu, pair)
        if limit_ps >= pair.watchdog_ps:
            poll_for_the_watchdog(pair)


@kernel
def run_queue(cpu: Any, pair: Any, application: Any, until_ps: int) -> None:
    """Let device and vCPU take turns in the order of their clocks, up to ``until_ps``.

    The VF may lag behind while the driver takes packets that are done: what it does meanwhile changes nothing
    for them. It catches up before it sees a new tail, and before the driver believes that nothing is left.
    """
    while cpu.clock_ps < until_ps and not pair.paused:
        if application.timer_ps != 0 and application.timer_ps <= cpu.clock_ps and not pair.quiesce_requested:
            run_timer(cpu, pair, application)
        if pair.polling and not pair.quiesce_requested:
            if pair.path != PATH_VF:
                advance_device(cpu, pair, cpu.clock_ps, False)
            if pair.tx_interrupt_pending and pair.tx_interrupt_ps <= cpu.clock_ps:
                take_transmit_interrupt(cpu, pair)
            poll_one(cpu, pair, application)
        else:
            rest(cpu, pair, application, until_ps)
        host_work(cpu, cpu.clock_ps)
    advance_device(cpu, pair, until_ps, False)
    host_work(cpu, until_ps)
