"""Interrupt moderation as ixgbevf adapts it: three classes of load, each with its interval (EITR).

Source: ``ixgbevf_update_itr`` and ``ixgbevf_set_itr`` (drivers/net/ethernet/intel/ixgbevf/ixgbevf_main.c): bytes since
the last interrupt over the interval that was set, not over the time that passed, held against two thresholds, for each
direction by itself; the busier one decides. So a lone request of 64 bytes has interrupts at once, and one that is
answered with 1 KiB waits for them.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import MODERATION_BULK, MODERATION_LOW, MODERATION_LOWEST
from vfbench.machine.queue_pair import INWARD, OUTWARD

LOWEST, LOW, BULK = range(3)


@kernel
def next_class(pair: Any, now: int, bytes_per_us: int) -> int:
    """The class of load after ``now`` and an interval with ``bytes_per_us``."""
    if now == LOWEST:
        return LOW if bytes_per_us > pair.low_from_bytes_per_us else LOWEST
    if now == LOW:
        if bytes_per_us > pair.bulk_from_bytes_per_us:
            return BULK
        return LOWEST if bytes_per_us <= pair.low_from_bytes_per_us else LOW
    return LOW if bytes_per_us <= pair.bulk_from_bytes_per_us else BULK


@kernel
def interval_of(cpu: Any, load: int) -> int:
    """The least time between two interrupts in a class of load, in ps."""
    if load == LOWEST:
        return cpu.cost[MODERATION_LOWEST]
    return cpu.cost[MODERATION_LOW] if load == LOW else cpu.cost[MODERATION_BULK]


@kernel
def busier_class(pair: Any, classes: Any, counted: Any, interval_ps: int) -> int:
    """Choose each direction's class by its bytes since the last interrupt, and begin to count anew; the higher class.

    The load is reckoned as the driver does it: over the interval that was set.
    """
    interval_us = max(1, interval_ps // 1_000_000)
    for direction in range(INWARD, OUTWARD + 1):
        classes[direction] = next_class(pair, classes[direction], counted[direction] // interval_us)
        counted[direction] = 0
    return max(classes[INWARD], classes[OUTWARD])


@kernel
def adapt_interval(cpu: Any, pair: Any) -> None:
    """At an interrupt: choose the least time to the next one by the load since the last."""
    if pair.adapts:
        load = busier_class(pair, pair.moderation_class, pair.moderated_bytes, pair.interrupt_interval_ps)
        pair.interrupt_interval_ps = interval_of(cpu, load)


@kernel
def adapt_host_interval(cpu: Any, pair: Any) -> None:
    """The same for the host's own card in front of vhost: ``ixgbe_update_itr`` is the guest's rule."""
    if pair.vhost.host_adapts:
        load = busier_class(
            pair,
            pair.vhost.host_moderation_class,
            pair.vhost.host_moderated_bytes,
            pair.vhost.host_interrupt_interval_ps,
        )
        pair.vhost.host_interrupt_interval_ps = interval_of(cpu, load)
