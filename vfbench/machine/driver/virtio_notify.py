"""How a virtio driver and vhost wake each other."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import IOEVENTFD_KICK, VHOST_WAKEUP
from vfbench.machine.cpu import now_ps, spend
from vfbench.machine.sides import primitive
from vfbench.machine.virtio.virtqueue import (
    INDEX_MASK,
    available_event,
    load16,
    passes,
    store16,
    used_event,
    used_index,
)

RX = 0
TX = 1


@primitive
def wake_vhost(cpu: Any, pair: Any, queue: int) -> None:
    """The kick arrives at the host: the worker looks at the queue as soon as it is up."""
    if queue == RX:
        pair.vhost.rx_ready_ps = now_ps(cpu) + cpu.cost[VHOST_WAKEUP]
    else:
        pair.vhost.tx_ready_ps = now_ps(cpu) + cpu.cost[VHOST_WAKEUP]
        pair.vhost.tx_sleeps = 0


@primitive
def let_stores_be_seen(cpu: Any) -> None:
    """What this processor stored is seen by the others before its next load (``virtio_mb``).

    On the model one acts at a time.
    """


@kernel
def kick_if_wanted(cpu: Any, pair: Any, base: int, queue: int, old: int, new: int) -> None:
    """Notify vhost of the buffers from ``old`` to ``new``, unless suppression is on and it did not ask for one.

    Source: ``virtqueue_kick_prepare_split``, drivers/virtio/virtio_ring.c.
    """
    let_stores_be_seen(cpu)
    asked = passes(load16(cpu, available_event(base, cpu.virtqueue_size)), new, old)
    if asked or not cpu.kick_suppression:
        spend(cpu, IOEVENTFD_KICK)
        cpu.kicks += 1
        if asked:
            wake_vhost(cpu, pair, queue)


@kernel
def interrupt_after(cpu: Any, base: int, seen: int, more: int) -> bool:
    """Ask for an interrupt when ``more`` and one buffers after ``seen`` are used; False if they are already.

    Nothing takes it back: once the device has passed the index it interrupts no more. Source:
    ``virtqueue_enable_cb_prepare_split`` (``more`` is 0) and ``virtqueue_enable_cb_delayed_split``.
    """
    store16(cpu, used_event(base, cpu.virtqueue_size), (seen + more) & INDEX_MASK)
    let_stores_be_seen(cpu)
    return (load16(cpu, used_index(base, cpu.virtqueue_size)) - seen) & INDEX_MASK <= more
