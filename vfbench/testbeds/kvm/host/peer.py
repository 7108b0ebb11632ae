"""The peer on a real wire: the workload's frames, at the distances that it says, on the wall clock.

Where guest code is emulated no guest keeps up with a wire of 2015. Then the wire's clock is slowed down:
arrivals, hold times and interrupts keep their proportions, and while the port has no room for the next frame
the clock stands still, as a peer does that honours pause frames (IEEE 802.3, annex 31B). The migration and the
guest's own writes go by the wall clock.

In lockstep there is one clock for all, and no wall clock has a part in it: see ``lockstep``.
"""

from __future__ import annotations

from typing import Any

from numba import types

from vfbench.kernels import call_hook, kernel
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.vf.device import take_in
from vfbench.machine.vf.landing import has_descriptor
from vfbench.machine.vf.registers import RDT
from vfbench.testbeds.kvm.guest.guest_abi import (
    ARGUMENT_0,
    ARGUMENT_1,
    COMMAND,
    NO_COMMAND,
    WALL_CLOCK,
    WIRE_CLOCK,
)
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, store_i64

_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
_usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))
_CLOCK_MONOTONIC = 1


@kernel
def monotonic_ns(host: Any) -> int:
    """CLOCK_MONOTONIC, the same in every process."""
    _clock_gettime(_CLOCK_MONOTONIC, host.timespec_address)
    return load_i64(host.timespec_address) * 1_000_000_000 + load_i64(host.timespec_address + 8)


@kernel
def sleep_us(us: int) -> None:
    """Give the core away."""
    _usleep(us)


@kernel
def is_on_the_way(wire: Any) -> bool:
    """Whether a frame is on the wire."""
    return wire.incoming_head < wire.incoming_count


@kernel
def has_room(host: Any, wire: Any, pair: Any) -> bool:
    """Whether the next frame on the wire finds room, and on a VF, which drops where there is none, a descriptor."""
    waiting = pair.nic.fifo_tail - pair.nic.fifo_head
    if pair.path == PATH_VF and ((pair.nic.register[RDT] - pair.nic.rx_head) & (host.rx_size - 1)) <= waiting:
        return False
    length_bytes = wire.incoming[wire.incoming_head].length
    return (
        pair.nic.fifo_bytes + length_bytes <= pair.nic.fifo_limit_bytes
        and waiting < pair.nic.fifo_limit_frames
    )


@kernel
def lacks_room(host: Any, wire: Any, pair: Any) -> bool:
    """Whether a frame waits for room that has to be waited for."""
    return wire.waits_for_room and is_on_the_way(wire) and pair.enabled and not has_room(host, wire, pair)


@kernel
def is_held_up(host: Any, wire: Any, pair: Any) -> bool:
    """Whether only the guest can make the room that is lacking: a VF with descriptors makes it by itself, in time."""
    if pair.path == PATH_VF and pair.nic.fifo_head != pair.nic.fifo_tail and has_descriptor(pair):
        return False
    return lacks_room(host, wire, pair)


@kernel
def has_work(host: Any, wire: Any, pair: Any) -> bool:
    """Whether a guest that sleeps is due to wake up.

    It said until when it wants to sleep; an interrupt is not waited for where the wire's clock stands still.
    """
    due_ps = load_i64(host.memory + ARGUMENT_0)
    return (
        (pair.interrupt_pending and (pair.interrupt_ps <= wire.time_ps or is_held_up(host, wire, pair)))
        or pair.tx_interrupt_pending
        or load_i64(host.memory + COMMAND) != NO_COMMAND
        or wire.wall_ps >= load_i64(host.memory + ARGUMENT_1)
        or 0 <= due_ps <= wire.time_ps
    )


@kernel
def next_time_ps(host: Any, wire: Any) -> int:
    """Bring the wall clock up to date; returns how far the wire's clock has come if nothing holds it up."""
    now_ns = monotonic_ns(host)
    passed_ns = now_ns - wire.last_ns
    wire.last_ns = now_ns
    if wire.frozen:
        return wire.time_ps
    wire.wall_ps += passed_ns * 1000
    return wire.time_ps + passed_ns * 1_024_000 // wire.slowdown_1024


@kernel
def pass_time(host: Any, wire: Any, pair: Any, until_ps: int) -> None:
    """Bring the wire's clock up to ``until_ps``, or to the frame that is held up, and show it."""
    if is_held_up(host, wire, pair):
        until_ps = min(until_ps, wire.incoming[wire.incoming_head].arrival_ps)
    wire.time_ps = max(wire.time_ps, until_ps)
    if wire.lockstep:
        wire.wall_ps = wire.time_ps
    show_time(host, wire)


@kernel
def show_time(host: Any, wire: Any) -> None:
    """The guest reads both clocks in a page that it shares with its hypervisor."""
    store_i64(host.memory + WIRE_CLOCK, wire.time_ps)
    store_i64(host.memory + WALL_CLOCK, wire.wall_ps)


@kernel
def put_on_wire(wire: Any, frames: Any) -> None:
    """The frames of a batch, numbered, on their way to the port."""
    for i in range(frames.count):
        frame = wire.incoming[i]
        frame.arrival_ps = frame.ready_ps = frames.arrival_ps[i]
        frame.sequence = wire.sequence
        frame.length = frames.length[i]
        frame.flow = frames.flow[i]
        frame.tag = frames.tag[i]
        wire.sequence += 1
    wire.incoming_head = 0
    wire.incoming_count = frames.count


@kernel
def next_frames(host: Any, wire: Any, source: Any, frames: Any, pair: Any, until_ps: int) -> None:
    """Once the last batch is in, ask the workload for the frames that start before ``until_ps``."""
    if is_on_the_way(wire):
        return
    for i in range(pair.oracle.replies):
        call_hook(
            host.peer_received,
            source,
            pair.oracle.reply_ps[i],
            pair.oracle.reply_length[i],
            pair.oracle.reply_flow[i],
        )
    pair.oracle.replies = 0
    frames.count = 0
    call_hook(host.arrivals, source, frames, until_ps)
    put_on_wire(wire, frames)


@kernel
def admit_due(host: Any, wire: Any, pair: Any, until_ps: int) -> int:
    """Frames whose last bit is in by ``until_ps`` go into the FIFO, or are lost; returns how many."""
    count = 0
    while (
        is_on_the_way(wire)
        and wire.incoming[wire.incoming_head].arrival_ps <= until_ps
        and not lacks_room(host, wire, pair)
    ):
        pair.oracle.rx_offered += 1
        wire.incoming_head += 1
        take_in(pair, wire.incoming[wire.incoming_head - 1])
        count += 1
        if wire.admit_watch and pair.nic.fifo_tail != pair.nic.fifo_head:
            wire.admit_watch = 0
            wire.admitted_ps = wire.wall_ps
    return count
