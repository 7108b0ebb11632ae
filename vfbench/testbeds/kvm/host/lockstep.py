"""One clock for all, and one actor at a time: what a run counts does not depend on the host's speed or load.

The guest runs while nothing else does. Whoever runs the vCPU acts for the wire and the device as well, when the
guest leaves: an exit of a guest at work takes ``EXIT_PS``, and a guest that sleeps sleeps until something is due. So
the clock moves at the guest's exits and nowhere else, by amounts that no wall clock has a part in.

The migration acts while the clock stands at the limit that it set itself. It goes on when the guest is settled: it
sleeps with nothing to do, or waits in an exit until the clock may go on. A command of the hypervisor is carried out
while the clock stands. While no vCPU runs, the host thread lets time pass.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.testbeds.kvm.guest.guest_abi import ARGUMENT_0, ARGUMENT_1, COMMAND, NO_COMMAND
from vfbench.testbeds.kvm.host.merge import bring_wire_to, device_turn
from vfbench.testbeds.kvm.host.peer import (
    has_work,
    is_held_up,
    is_on_the_way,
    lacks_room,
    monotonic_ns,
    next_frames,
    show_time,
    sleep_us,
)
from vfbench.testbeds.kvm.sys.raw_memory import load_i64

EXIT_PS = 10**6
"""What passes from one exit of a guest at work to the next, whatever it does in between: a packet's two or three
exits make up about what a driver and an application of 2015 take for it."""
LONGEST_STEP_PS = 5 * 10**6
"""How far the clock goes at once where nothing is known to be due: a workload answers within so much."""
SETTLED_SLEEP_US = 50


@kernel
def may_go_on(host: Any, wire: Any) -> bool:
    """Whether the clock may move, and is this process's to move."""
    return host.drives_wire and wire.time_ps < wire.limit_ps


@kernel
def is_commanded(host: Any) -> bool:
    """Whether the guest has been told to do something that it has not done yet."""
    return load_i64(host.memory + COMMAND) != NO_COMMAND


@kernel
def settle(host: Any, wire: Any, asked: int) -> None:
    """Nothing happens before the clock may go on, or a command comes; ``asked`` was read before that was found."""
    host.settled = asked
    if host.drives_wire:
        wire.last_ns = monotonic_ns(host)
        wire.settled_ps = wire.time_ps
    sleep_us(SETTLED_SLEEP_US)


@kernel
def act(host: Any, wire: Any, pair: Any) -> None:
    """The device does all that it can do at this instant."""
    if host.has_device:
        device_turn(host, wire, pair)


@kernel
def step(host: Any, wire: Any, source: Any, frames: Any, pair: Any, until_ps: int) -> None:
    """Time passes up to ``until_ps`` or to what comes before it, a frame or a write-back, and the device acts."""
    next_frames(host, wire, source, frames, pair, until_ps)
    if is_on_the_way(wire) and not lacks_room(host, wire, pair):
        until_ps = min(until_ps, wire.incoming[wire.incoming_head].arrival_ps)
    if pair.enabled and pair.nic.unwritten:
        until_ps = min(until_ps, pair.nic.write_back_due_ps)
    bring_wire_to(host, wire, source, frames, pair, max(until_ps, wire.time_ps))
    act(host, wire, pair)


@kernel
def pass_exit(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> None:
    """A guest at work has left: the device sees what it did, and time passes before it goes on."""
    show_time(host, wire)
    act(host, wire, pair)
    until_ps = wire.time_ps + EXIT_PS
    while host.drives_wire and wire.time_ps < until_ps and not host.leaves:
        asked = host.asked
        if may_go_on(host, wire):
            step(host, wire, source, frames, pair, min(until_ps, wire.limit_ps))
            if is_held_up(host, wire, pair):
                return
        elif is_commanded(host):
            return
        else:
            settle(host, wire, asked)


@kernel
def wakes_at_ps(host: Any, wire: Any, pair: Any) -> int:
    """When a guest that sleeps has something to do, as far as can be known now; no later than a step from now."""
    due_ps = load_i64(host.memory + ARGUMENT_0)
    next_ps = min(wire.time_ps + LONGEST_STEP_PS, load_i64(host.memory + ARGUMENT_1))
    if due_ps >= 0:
        next_ps = min(next_ps, due_ps)
    if pair.interrupt_pending:
        next_ps = min(next_ps, pair.interrupt_ps)
    return max(next_ps, wire.time_ps)


@kernel
def sleep_till_work(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> None:
    """The guest sleeps until it has something to do, or is to leave."""
    show_time(host, wire)
    act(host, wire, pair)
    while not host.leaves:
        asked = host.asked
        if has_work(host, wire, pair):
            break
        if may_go_on(host, wire):
            # One that sleeps makes no room: a port that is full loses frames.
            wire.waits_for_room = 0
            until_ps = min(wire.limit_ps, wakes_at_ps(host, wire, pair))
            step(host, wire, source, frames, pair, until_ps)
            wire.waits_for_room = wire.flow_control
        else:
            settle(host, wire, asked)


@kernel
def pass_time_alone(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> int:
    """The host thread while no vCPU runs: time passes up to the limit; returns whether it did."""
    asked = host.asked
    if not may_go_on(host, wire):
        settle(host, wire, asked)
        return 0
    wire.waits_for_room = 0
    step(host, wire, source, frames, pair, wire.limit_ps)
    wire.waits_for_room = wire.flow_control
    return 1
