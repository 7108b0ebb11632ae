"""What goes on outside the guest in one turn: frames come in as time passes, and the device does what it can."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.hooks import host_work
from vfbench.machine.port import PATH_VF
from vfbench.testbeds.kvm.host.peer import admit_due, next_frames, pass_time
from vfbench.testbeds.kvm.host.vf_device import vf_turn
from vfbench.testbeds.kvm.host.vhost_worker import vhost_turn


@kernel
def bring_wire_to(host: Any, wire: Any, source: Any, frames: Any, port: Any, until_ps: int) -> int:
    """Frames arrive and time passes up to ``until_ps``; returns how many."""
    total, admitted = 0, 1
    while admitted:
        next_frames(host, wire, source, frames, port, until_ps)
        admitted = admit_due(wire, port, until_ps)
        total += admitted
    pass_time(host, wire, port, until_ps)
    return total


@kernel
def device_turn(host: Any, wire: Any, port: Any) -> int:
    """The VF's turn, or vhost's, then that of the mechanisms' threads; returns how many frames were moved."""
    moved = vf_turn(host, wire, port) if port.path == PATH_VF else vhost_turn(host, wire, port)
    if not host.work_held:
        host_work(host, wire.time_ps)
    return moved
