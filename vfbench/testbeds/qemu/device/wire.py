"""The wire between the peer and the two places where the guest may be: frames by the workload, in time or slower.

The workload's clock may run slower than the wall clock (``slowdown_1024``), so that a guest whose code is emulated
can keep up; device, interrupts and migration go by the wall clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.kernels import call_hook, kernel
from vfbench.machine.memory.words import store_word
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.vf.device import next_arrival_ps, next_landing_ps, next_sent_ps, vf_advance
from vfbench.machine.virtio.vhost import next_rx_ps, next_tx_ps, vhost_advance
from vfbench.machine.wire import BATCH_FRAMES, NEVER_PS
from vfbench.testbeds.model.engine import keep_unarrived, queue_of
from vfbench.testbeds.qemu.device import transmit, vhost  # noqa: F401  its primitives, before the VF is compiled
from vfbench.testbeds.qemu.device.payload import FCS_BYTES, HEADER_BYTES, LEAST_PAYLOAD_BYTES
from vfbench.testbeds.qemu.device.records import LEDGER_ANSWER, LEDGER_FLOW, LEDGER_WORDS

WIRE = np.dtype(
    [
        ("running", "i8"),
        ("origin_ps", "i8"),  # wall clock when the workload's clock stood at 0
        ("slowdown_1024", "i8"),
        ("sequence", "i8"),
        ("queues", "i8"),  # queue pairs that the guest's driver uses
        ("first_pair", "i8"),  # of the place to which the network delivers
        ("pairs", "i8"),  # of both places
        ("ledger", "i8"),
        ("ledger_frames", "i8"),
        ("arrivals", "i8"),
        ("peer_received", "i8"),
        ("delivered", "i8"),
    ]
)
NORMAL_SPEED = 1024
LONGEST_TURN_PS = 10**10


@kernel
def wall_ps(wire: Any, wire_ps: int) -> int:
    """The wall clock when the workload's clock stands at ``wire_ps``."""
    return wire.origin_ps + wire_ps * wire.slowdown_1024 // NORMAL_SPEED


@kernel
def answer_bytes_of(wire: Any, device: Any, application: Any, length: int, tag: int) -> int:
    """UDP payload of the answer that the application gives, by the workload's own kernel; 0 for none."""
    frame_bytes = call_hook(wire.delivered, device, application, length, tag)
    if frame_bytes == 0:
        return 0
    return max(frame_bytes - FCS_BYTES - HEADER_BYTES, LEAST_PAYLOAD_BYTES)


@kernel
def put_on_wire(wire: Any, device: Any, application: Any, pair: Any, frames: Any, i: int) -> None:
    """Frame ``i`` of the batch is on its way to ``pair``; the ledger knows of it."""
    entry = wire.ledger + 8 * LEDGER_WORDS * (wire.sequence % wire.ledger_frames)
    answer_bytes = answer_bytes_of(wire, device, application, frames.length[i], frames.tag[i])
    store_word(entry, LEDGER_FLOW, frames.flow[i])
    store_word(entry, LEDGER_ANSWER, answer_bytes)
    frame = pair.nic.incoming[pair.nic.incoming_count]
    frame.arrival_ps = frame.ready_ps = wall_ps(wire, frames.arrival_ps[i])
    frame.sequence = wire.sequence
    frame.length = frames.length[i]
    frame.flow = frames.flow[i]
    frame.tag = frames.tag[i]
    pair.nic.incoming_count += 1
    pair.oracle.rx_offered += 1
    wire.sequence += 1


@kernel
def offer(
    wire: Any, source: Any, frames: Any, application: Any, devices: Any, pairs: Any, now_ps: int
) -> None:
    """Ask the workload for the frames that start by now, and spread their flows over the queues."""
    frames.count = 0
    call_hook(wire.arrivals, source, frames, (now_ps - wire.origin_ps) * NORMAL_SPEED // wire.slowdown_1024)
    for q in range(wire.queues):
        keep_unarrived(pairs[wire.first_pair + q])
    for i in range(frames.count):
        queue = wire.first_pair + queue_of(frames.flow[i], wire.queues)
        put_on_wire(wire, devices[queue], application, pairs[queue], frames, i)


@kernel
def take_replies(wire: Any, source: Any, pair: Any) -> None:
    """Let the peer know of the answers that reached it, at its own clock."""
    for i in range(pair.oracle.replies):
        time_ps = (pair.oracle.reply_ps[i] - wire.origin_ps) * NORMAL_SPEED // wire.slowdown_1024
        call_hook(wire.peer_received, source, time_ps, pair.oracle.reply_length[i], pair.oracle.reply_flow[i])
    pair.oracle.replies = 0


@kernel
def device_advance(device: Any, pair: Any, now_ps: int) -> None:
    """The VF's turn, or vhost's."""
    if pair.path == PATH_VF:
        vf_advance(device, pair, now_ps, False)
    else:
        vhost_advance(device, pair, now_ps, False)


@kernel
def device_due_ps(device: Any, pair: Any) -> int:
    """When the device is next to do something by itself."""
    if pair.path == PATH_VF:
        return min(next_landing_ps(device, pair), next_sent_ps(device, pair))
    if not pair.enabled:
        return NEVER_PS
    return min(next_rx_ps(device, pair), next_tx_ps(device, pair))


@kernel
def due_ps(wire: Any, source: Any, devices: Any, pairs: Any, now_ps: int) -> int:
    """When something is next to happen, no later than ``LONGEST_TURN_PS`` from now."""
    due = now_ps + LONGEST_TURN_PS
    for i in range(wire.pairs):
        pair = pairs[i]
        due = min(due, next_arrival_ps(pair), pair.nic.write_back_due_ps)
        due = min(due, device_due_ps(devices[i], pair))
        if pair.interrupt_pending:
            due = min(due, pair.interrupt_ps)
        if pair.tx_interrupt_pending:
            due = min(due, pair.tx_interrupt_ps)
    if wire.running:
        due = min(due, max(wall_ps(wire, source.next_ps), now_ps) if source.next_ps < NEVER_PS else due)
    return due


@kernel
def turn(wire: Any, source: Any, frames: Any, application: Any, devices: Any, pairs: Any, now_ps: int) -> int:
    """Everything that wire and devices do up to now; returns when the next turn is due."""
    while wire.running:
        offer(wire, source, frames, application, devices, pairs, now_ps)
        for i in range(wire.pairs):
            device_advance(devices[i], pairs[i], now_ps)
        if frames.count < BATCH_FRAMES:
            break
    for i in range(wire.pairs):
        device_advance(devices[i], pairs[i], now_ps)
        take_replies(wire, source, pairs[i])
    return due_ps(wire, source, devices, pairs, now_ps)
