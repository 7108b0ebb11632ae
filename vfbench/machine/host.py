"""What a mechanism may do on the host: read guest memory, mark pages, invalidate the IOTLB, take time.

``host`` is the model's processor, which stands for both sides, or on a real VM the record of the process beside it.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import call_hook, kernel
from vfbench.machine.cpu import model_load
from vfbench.machine.memory.faults import check_page
from vfbench.machine.memory.guest_memory import LOGGED, MAPPED, MAPPED_WRITTEN
from vfbench.machine.memory.words import load_byte, store_byte
from vfbench.machine.sides import primitive
from vfbench.machine.slots import AREAS, PRICES

INVALIDATE_ALL = -1


@primitive
def host_load(host: Any, address: int) -> int:
    """The word at guest-physical ``address``, read by the host."""
    return model_load(host, address)


@primitive
def note_mapped(host: Any, page: int) -> None:
    """The hypervisor learns that the device may write ``page``."""
    check_page(host, page)
    marks = load_byte(host.marks, page)
    store_byte(host.marks, page, (marks | MAPPED) & ~MAPPED_WRITTEN)


@primitive
def note_unmapped(host: Any, page: int) -> None:
    """The hypervisor learns that the device is done with ``page``: it counts as dirty from now on."""
    check_page(host, page)
    marks = load_byte(host.marks, page)
    if marks & MAPPED:
        host.unwritten_unmaps += marks & MAPPED_WRITTEN == 0
        store_byte(host.marks, page, (marks | LOGGED) & ~(MAPPED | MAPPED_WRITTEN))


@primitive
def forget_mapping(host: Any, page: int) -> None:
    """The hypervisor learns that the device is done with ``page``, and leaves it to others whether it is dirty."""
    marks = load_byte(host.marks, page)
    host.unwritten_unmaps += marks & (MAPPED | MAPPED_WRITTEN) == MAPPED
    store_byte(host.marks, page, marks & ~(MAPPED | MAPPED_WRITTEN))


@primitive
def log_page(host: Any, page: int) -> None:
    """The hypervisor counts ``page`` as dirty."""
    check_page(host, page)
    store_byte(host.marks, page, load_byte(host.marks, page) | LOGGED)


@kernel
def queue_invalidation(host: Any, iova: int) -> None:
    """One more IOTLB entry, or INVALIDATE_ALL, for the device to drop."""
    host.invalidated_iova[host.invalidations & (len(host.invalidated_iova) - 1)] = iova
    host.invalidations += 1


@primitive
def work_for_guest(host: Any, cost: int) -> None:
    """Work of the host during which the guest's processor waits; ``cost`` as in ``vfbench.machine.costs``."""
    host.clock_ps += host.cost[cost]
    host.host_ps += host.cost[cost]


@kernel
def hold_dma(host: Any) -> None:
    """Keep the queue's device from moving packets until the hypervisor lets it go on (``HostView.release_dma``)."""
    host.dma_held = 1


@primitive
def host_price(host: Any, slot: int, index: int) -> int:
    """What the cost that the mechanism in ``slot`` names as number ``index`` takes, in picoseconds."""
    return host.price[slot * PRICES + index]


@kernel
def host_area(host: Any, slot: int, index: int) -> int:
    """Address of structure number ``index`` that the mechanism in ``slot`` has on the host."""
    return host.host_area[slot * AREAS + index]


@primitive
def exit_to_hypervisor(cpu: Any, slot: int, reason: int, argument: int) -> None:
    """The guest leaves to the handler of the mechanism in ``slot``; returns when the hypervisor is done."""
    cpu.exits += 1
    cpu.clock_ps += cpu.exit_ps[slot]
    if cpu.exit_locked_ps[slot] != 0:
        cpu.lock_used_ps += cpu.exit_locked_ps[slot]
        cpu.clock_ps += cpu.lock_wait_ps
    cpu.host_ps += cpu.exit_host_ps[slot]
    call_hook(cpu.hypercall[slot], cpu, slot, reason, argument)
