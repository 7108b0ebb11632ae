"""What the queues share: the wire to the peer, the card's DMA engine, and locks of the hypervisor and its IOMMU.

Within a slice of time the queues run one after the other. What each used in the slice before decides its part in this
one: a queue that leaves some of its part gives it to those that want more (max-min fairness, as a card's round robin
over its queues comes to), and who takes a lock waits as in front of a server that the others keep busy (M/D/1,
Kleinrock, Queueing Systems 1, 5.6): w = s rho / 2 (1 - rho).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel

FULL_1024 = 1024
LIGHT_1024 = 820
"""A queue that used less than four fifths of its fair part leaves the rest to others."""
BUSIEST_1024 = 1000
"""A lock is never counted as busier than this: the wait then is some twenty times the hold."""


@kernel
def heavy_part_1024(used_1024: int, light_1024: int, heavy: int) -> int:
    """What one of ``heavy`` queues that want more gets of what the light ones leave."""
    return max(FULL_1024 // 64, (FULL_1024 - light_1024) // max(1, heavy))


@kernel
def share_wire(ports: Any, queues: int, slice_ps: int) -> None:
    """Each queue's time on the wire for a byte, by what each used in the last slice."""
    fair, light, heavy = FULL_1024 // queues, 0, 0
    for q in range(queues):
        used = ports[q].tx_busy_ps * FULL_1024 // max(1, slice_ps)
        if used * FULL_1024 < fair * LIGHT_1024:
            light += used
        else:
            heavy += 1
    part = heavy_part_1024(0, light, heavy)
    for q in range(queues):
        port = ports[q]
        used = port.tx_busy_ps * FULL_1024 // max(1, slice_ps)
        is_light = used * FULL_1024 < fair * LIGHT_1024
        port.ps_per_byte = port.line_ps_per_byte if is_light else port.line_ps_per_byte * FULL_1024 // part
        port.tx_busy_ps = 0


@kernel
def share_dma(ports: Any, queues: int, slice_ps: int) -> None:
    """How much longer each queue's transfers take than on an engine of its own, by what each used."""
    fair, light, heavy = FULL_1024 // queues, 0, 0
    for q in range(queues):
        used = ports[q].dma_busy_ps * FULL_1024 // max(1, slice_ps)
        if used * FULL_1024 < fair * LIGHT_1024:
            light += used
        else:
            heavy += 1
    part = heavy_part_1024(0, light, heavy)
    for q in range(queues):
        port = ports[q]
        used = port.dma_busy_ps * FULL_1024 // max(1, slice_ps)
        is_light = used * FULL_1024 < fair * LIGHT_1024
        port.dma_share_1024 = FULL_1024 if is_light else FULL_1024 * FULL_1024 // part
        port.dma_busy_ps = 0


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
def share(cpus: Any, ports: Any, queues: int, slice_ps: int, invalidation_ps: int) -> None:
    """Settle the parts for the next slice; ``slice_ps`` is how long the last one was."""
    share_wire(ports, queues, slice_ps)
    share_dma(ports, queues, slice_ps)
    share_locks(cpus, queues, slice_ps, invalidation_ps)
