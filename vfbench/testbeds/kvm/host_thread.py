"""The host thread: clock, peer, and the device beside the guest, in turns; no GIL is held."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.port import PATH_VF
from vfbench.testbeds.kvm.hypervisor import serve_pending_call
from vfbench.testbeds.kvm.peer import admit_due, next_frames, next_time_ps, pass_time, show_time, sleep_us
from vfbench.testbeds.kvm.vf_device import vf_turn
from vfbench.testbeds.kvm.vhost_worker import vhost_turn

IDLE_SLEEP_US = 20


@kernel
def wire_turn(host: Any, wire: Any, source: Any, frames: Any, port: Any) -> int:
    """Time passes and frames arrive, if the wire is this process's; returns how many."""
    if not host.drives_wire:
        show_time(host, wire)
        return 0
    until_ps = next_time_ps(host, wire, port)
    total, admitted = 0, 1
    while admitted:
        next_frames(host, wire, source, frames, port, until_ps)
        admitted = admit_due(wire, port, until_ps)
        total += admitted
    pass_time(host, wire, port, until_ps)
    return total


@kernel
def device_turn(host: Any, cpu: Any, wire: Any, port: Any) -> int:
    """The guest's calls and its device; returns how much there was to do."""
    served = serve_pending_call(host, cpu, port)
    if port.path == PATH_VF:
        return served + vf_turn(host, cpu, wire, port)
    return served + vhost_turn(host, cpu, wire, port)


@kernel
def host_loop(host: Any, cpu: Any, wire: Any, source: Any, frames: Any, port: Any) -> None:
    """Turn after turn until ``host.stop``; sleeps a little after a turn in which nothing moved."""
    host.running = 1
    while not host.stop:
        moved = wire_turn(host, wire, source, frames, port)
        if host.has_device:
            moved += device_turn(host, cpu, wire, port)
        host.turns += 1
        if moved == 0:
            sleep_us(IDLE_SLEEP_US)
    host.running = 0
