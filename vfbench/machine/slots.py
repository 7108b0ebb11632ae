"""How much room a strategy's mechanisms have: fixed, so that one compiled machine serves every strategy.

A record's type stands in the signature of every kernel; a layout for each strategy would compile the machine anew.
So each mechanism gets a slot: words that hold its parameters, addresses of its structures in guest memory and on the
host, prices of its own. Where it acts, the kernels keep a chain of addresses, which ends at the first that is
``NO_KERNEL``.
"""

from __future__ import annotations

SLOTS = 6
"""Mechanisms of one strategy."""
WORDS = 8
"""Parameters of one mechanism, as int64."""
AREAS = 8
"""Structures of one mechanism in guest memory, and as many on the host."""
PRICES = 8
"""Costs of the profile that one mechanism names."""
CHAIN = SLOTS + 1
"""Entries of a chain: one for each slot, and the end."""

GUEST_POINTS = {
    "map": 3,  # address, length, direction
    "unmap": 4,  # iova, address, length, direction
    "sync_for_device": 3,  # iova, address, length
    "sync_for_cpu": 3,
    "descriptor_done": 2,  # address, length
    "before_doorbell": 0,
    "opened": 0,
    "closed": 0,
    "armed": 0,
    "disarmed": 0,
    "quiesce": 0,
}
"""Where a mechanism may act in the guest, after Linux's ``dma_map_ops``; how many arguments follow (cpu, slot)."""

(
    MAP,
    UNMAP,
    SYNC_FOR_DEVICE,
    SYNC_FOR_CPU,
    DESCRIPTOR_DONE,
    BEFORE_DOORBELL,
    OPENED,
    CLOSED,
    ARMED,
    DISARMED,
    QUIESCE,
) = (CHAIN * point for point in range(len(GUEST_POINTS)))
"""Where the chain of each point begins."""
