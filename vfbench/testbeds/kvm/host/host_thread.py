"""The host thread: clock, peer, and the device beside the guest, in turns; no GIL is held."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.testbeds.kvm.host.hypervisor import serve_pending_call
from vfbench.testbeds.kvm.host.lockstep import pass_time_alone
from vfbench.testbeds.kvm.host.merge import bring_wire_to, device_turn
from vfbench.testbeds.kvm.host.peer import next_time_ps, show_time, sleep_us

IDLE_SLEEP_US = 20


@kernel
def wire_turn(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> int:
    """Time passes and frames arrive, if the wire is this process's; returns how many."""
    if not host.drives_wire:
        show_time(host, wire)
        return 0
    return bring_wire_to(host, wire, source, frames, pair, next_time_ps(host, wire))


@kernel
def turn(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> int:
    """One turn on the wall clock; returns how much there was to do."""
    moved = wire_turn(host, wire, source, frames, pair)
    if host.has_device:
        moved += serve_pending_call(host) + device_turn(host, wire, pair)
    return moved


@kernel
def lockstep_turn(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> int:
    """One turn in lockstep: a running guest's own thread does all but what the guest waits for inside itself."""
    if host.guest_runs:
        return serve_pending_call(host)
    return pass_time_alone(host, wire, source, frames, pair)


@kernel
def host_loop(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> None:
    """Turn after turn until ``host.stop``; sleeps a little after a turn in which nothing moved."""
    host.running = 1
    while not host.stop:
        if wire.lockstep:
            moved = lockstep_turn(host, wire, source, frames, pair)
        else:
            moved = turn(host, wire, source, frames, pair)
        host.turns += 1
        if moved == 0:
            sleep_us(IDLE_SLEEP_US)
    host.running = 0
