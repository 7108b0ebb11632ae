"""What the queues share: the wire to the peer, the card's DMA engine, and locks of the hypervisor and its IOMMU.

Within a slice of time the queues run one after the other. What each used in the slice before decides its part in this
one: a queue that leaves some of its part gives it to those that want more (max-min fairness, as a card's round robin
over its queues comes to), and who takes a lock waits as in front of a server that the others keep busy (M/D/1,
Kleinrock, Queueing Systems 1, 5.6): w = s rho / 2 (1 - rho). A lock of the guest's own has its lines brought over from
the core that held it last, in the share of cases in which that was another; the others wait for that too.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.queue_pair import DMA, WIRE

FULL_1024 = 1024
LIGHT_1024 = 820
"""A queue that used less than four fifths of its fair part leaves the rest to others."""
LEAST_PART_1024 = 16
BUSIEST_1024 = 1000
"""A lock is never counted as busier than this: the wait then is some twenty times the hold."""


@kernel
def is_light(pair: Any, resource: int, fair_1024: int, slice_ps: int) -> bool:
    """Whether a queue left some of its fair part of the last slice."""
    return pair.nic.busy_ps[resource] * FULL_1024 // max(1, slice_ps) * FULL_1024 < fair_1024 * LIGHT_1024


@kernel
def share_resource(pairs: Any, queues: int, resource: int, slice_ps: int) -> None:
    """How much longer each queue's use of WIRE or DMA takes than if it had it alone (``slowdown_1024``)."""
    fair_1024, light_ps, heavy = FULL_1024 // queues, 0, 0
    for q in range(queues):
        if is_light(pairs[q], resource, fair_1024, slice_ps):
            light_ps += pairs[q].nic.busy_ps[resource]
        else:
            heavy += 1
    left_1024 = FULL_1024 - light_ps * FULL_1024 // max(1, slice_ps)
    part_1024 = max(LEAST_PART_1024, left_1024 // max(1, heavy))
    for q in range(queues):
        light = is_light(pairs[q], resource, fair_1024, slice_ps)
        pairs[q].nic.slowdown_1024[resource] = FULL_1024 if light else FULL_1024 * FULL_1024 // part_1024
        pairs[q].nic.busy_ps[resource] = 0


@kernel
def lock_wait_ps(hold_ps: int, busy_ps: int, slice_ps: int) -> int:
    """How long a lock is waited for that others held for ``busy_ps`` of the last slice."""
    rho = min(BUSIEST_1024, busy_ps * FULL_1024 // max(1, slice_ps))
    return hold_ps * rho // (2 * (FULL_1024 - rho))


@kernel
def share_locks(cpus: Any, queues: int, slice_ps: int, invalidation_ps: int) -> None:
    """How long each vCPU waits for the lock behind exits to user space, and for the invalidation queue's."""
    exits = invalidations = longest = 0
    for q in range(queues):
        exits += cpus[q].lock_used_ps
        invalidations += cpus[q].invalidation_used_ps
        for slot in range(len(cpus[q].exit_locked_ps)):
            longest = max(longest, cpus[q].exit_locked_ps[slot])
    for q in range(queues):
        cpu = cpus[q]
        cpu.lock_wait_ps = lock_wait_ps(longest, exits - cpu.lock_used_ps, slice_ps)
        cpu.invalidation_wait_ps = lock_wait_ps(
            invalidation_ps, invalidations - cpu.invalidation_used_ps, slice_ps
        )
    for q in range(queues):
        cpus[q].lock_used_ps = cpus[q].invalidation_used_ps = 0


@kernel
def share_guest_lock(cpus: Any, queues: int, slice_ps: int) -> None:
    """How long each vCPU waits for its area of a lock that a mechanism takes in the guest."""
    areas = cpus[0].guest_lock_areas
    if areas == 0:
        return
    for q in range(queues):
        others_ps = 0
        for other in range(q % areas, queues, areas):
            if other != q:
                others_ps += cpus[other].guest_lock_used_ps
        used_ps = max(1, others_ps + cpus[q].guest_lock_used_ps)
        brought_ps = cpus[q].guest_lock_transfer_ps * others_ps // used_ps
        held_ps = cpus[q].guest_lock_hold_ps + brought_ps
        busy_ps = others_ps * held_ps // max(1, cpus[q].guest_lock_hold_ps)
        cpus[q].guest_lock_wait_ps = brought_ps + lock_wait_ps(held_ps, busy_ps, slice_ps)
    for q in range(queues):
        cpus[q].guest_lock_used_ps = 0


@kernel
def share(cpus: Any, pairs: Any, queues: int, slice_ps: int, invalidation_ps: int) -> None:
    """Settle the parts for the next slice; ``slice_ps`` is how long the last one was."""
    share_resource(pairs, queues, WIRE, slice_ps)
    share_resource(pairs, queues, DMA, slice_ps)
    for q in range(queues):
        pairs[q].nic.ps_per_byte = (pairs[q].nic.line_ps_per_byte * pairs[q].nic.slowdown_1024[WIRE]) >> 10
    share_locks(cpus, queues, slice_ps, invalidation_ps)
    share_guest_lock(cpus, queues, slice_ps)
