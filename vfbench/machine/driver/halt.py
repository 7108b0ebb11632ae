"""An idle vCPU: polled for a while by KVM, then halted, and woken by what comes.

Source: ``kvm_vcpu_halt`` and ``grow_halt_poll_ns`` (virt/kvm/kvm_main.c): the window in which the host polls for work
starts small, doubles while wakes come soon enough for a longer one to have caught them, and falls to nothing where they
do not. Within the window a wake costs nothing; after it the vCPU has to be scheduled in again. The polling
itself is not charged to the host: the vCPU's own core has nothing else to do.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import HALT_POLL, HALT_POLL_START, VCPU_HALT, VCPU_WAKE
from vfbench.machine.cpu import sleep_until


@kernel
def halt_until(cpu: Any, until_ps: int) -> None:
    """The vCPU has nothing to do up to ``until_ps``, when something wakes it."""
    idle_ps = until_ps - cpu.clock_ps
    if idle_ps <= 0:
        return
    sleep_until(cpu, until_ps)
    if idle_ps <= cpu.halt_window_ps:
        return
    cpu.host_ps += cpu.cost[VCPU_HALT]
    sleep_until(cpu, until_ps + cpu.cost[VCPU_WAKE])
    if idle_ps < cpu.cost[HALT_POLL]:
        window_ps = max(cpu.cost[HALT_POLL_START], 2 * cpu.halt_window_ps)
        cpu.halt_window_ps = min(window_ps, cpu.cost[HALT_POLL])
    else:
        cpu.halt_window_ps = 0
