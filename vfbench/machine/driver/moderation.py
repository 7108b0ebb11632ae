"""Interrupt moderation as ixgbevf adapts it: three classes of load, each with its interval (EITR).

Source: ``ixgbevf_update_itr`` and ``ixgbevf_set_itr`` (drivers/net/ethernet/intel/ixgbevf/ixgbevf_main.c): bytes since
the last interrupt over the interval that was set, not over the time that passed, held against two thresholds. So a lone
request of 64 bytes has interrupts at once, and one that is answered with 1 KiB waits for them.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import MODERATION_BULK, MODERATION_LOW, MODERATION_LOWEST

LOWEST, LOW, BULK = range(3)


@kernel
def next_class(port: Any, bytes_per_us: int) -> int:
    """The class of load after an interval with ``bytes_per_us``."""
    if port.moderation_class == LOWEST:
        return LOW if bytes_per_us > port.low_from_bytes_per_us else LOWEST
    if port.moderation_class == LOW:
        if bytes_per_us > port.bulk_from_bytes_per_us:
            return BULK
        return LOWEST if bytes_per_us <= port.low_from_bytes_per_us else LOW
    return LOW if bytes_per_us <= port.bulk_from_bytes_per_us else BULK


@kernel
def adapt_interval(cpu: Any, port: Any) -> None:
    """At an interrupt: choose the least time to the next one by the load since the last."""
    if not port.adapts:
        return
    passed_us = max(1, port.interrupt_interval_ps // 1_000_000)
    port.moderation_class = next_class(port, port.moderated_bytes // passed_us)
    port.moderated_bytes = 0
    if port.moderation_class == LOWEST:
        port.interrupt_interval_ps = cpu.cost[MODERATION_LOWEST]
    elif port.moderation_class == LOW:
        port.interrupt_interval_ps = cpu.cost[MODERATION_LOW]
    else:
        port.interrupt_interval_ps = cpu.cost[MODERATION_BULK]
