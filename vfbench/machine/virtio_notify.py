"""How a virtio driver and vhost wake each other."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.by_testbed import on_model
from vfbench.machine.costs import IOEVENTFD_KICK, VHOST_WAKEUP
from vfbench.machine.cpu import now_ps, spend
from vfbench.machine.virtqueue import NO_INTERRUPT, NO_NOTIFY, available_flags, load16, store16, used_flags

RX = 0
TX = 1


@on_model
def wake_vhost(cpu: Any, port: Any, queue: int) -> None:
    """The kick arrives at the host: the worker looks at the queue as soon as it is up."""
    if queue == RX:
        port.vhost_rx_ready_ps = now_ps(cpu) + cpu.cost[VHOST_WAKEUP]
    else:
        port.vhost_tx_ready_ps = now_ps(cpu) + cpu.cost[VHOST_WAKEUP]


@kernel
def kick_if_wanted(cpu: Any, port: Any, base: int, queue: int) -> None:
    """Notify vhost of new buffers, unless suppression is on and vhost says that it looks by itself."""
    asleep = load16(cpu, used_flags(base, cpu.virtqueue_size)) & NO_NOTIFY == 0
    if asleep or not cpu.kick_suppression:
        spend(cpu, IOEVENTFD_KICK)
        cpu.kicks += 1
        if asleep:
            wake_vhost(cpu, port, queue)


@kernel
def suppress_interrupts(cpu: Any, base: int, suppressed: bool) -> None:
    """The driver polls and wants no interrupts, or is done polling."""
    store16(cpu, available_flags(base, cpu.virtqueue_size), NO_INTERRUPT if suppressed else 0)
