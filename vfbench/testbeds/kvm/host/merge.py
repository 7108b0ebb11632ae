"""What goes on outside the guest in one turn: frames come in as time passes, and the device does what it can."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.hooks import host_work
from vfbench.machine.iommu.iotlb import honour_invalidations
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.vf.device import vf_advance
from vfbench.machine.virtio.vhost import vhost_advance
from vfbench.testbeds.kvm.host import guest_ram  # noqa: F401  its primitives, before the device is compiled
from vfbench.testbeds.kvm.host.peer import admit_due, is_held_up, next_frames, pass_time

AHEAD_OF_WIRE_PS = 10**9
"""Enough for a write-back that has begun, and for a ring of frames to send."""


@kernel
def bring_wire_to(host: Any, wire: Any, source: Any, frames: Any, pair: Any, until_ps: int) -> int:
    """Frames arrive and time passes up to ``until_ps``; returns how many."""
    total, admitted = 0, 1
    while admitted:
        next_frames(host, wire, source, frames, pair, until_ps)
        admitted = admit_due(host, wire, pair, until_ps)
        total += admitted
    pass_time(host, wire, pair, until_ps)
    return total


@kernel
def descriptors_used(pair: Any) -> tuple[int, int, int, int]:
    """How far the device has come in each of its rings."""
    return pair.nic.rx_head, pair.nic.tx_head, pair.vhost.rx_seen, pair.vhost.tx_seen


@kernel
def device_turn(host: Any, wire: Any, pair: Any) -> int:
    """The VF's turn, or vhost's, then that of the mechanisms' threads; returns whether anything moved."""
    before = descriptors_used(pair)
    if host.invalidations != host.invalidations_seen:
        # A guest waits for that, and the VF itself looks only when it next translates.
        honour_invalidations(host, pair)
    if pair.path == PATH_VF:
        # Where the wire's clock waits for the guest, the guest must not have to wait for the device's.
        ahead_ps = AHEAD_OF_WIRE_PS if is_held_up(host, wire, pair) else 0
        vf_advance(host, pair, wire.time_ps + ahead_ps, False)
    else:
        # A kick ends in the kernel: the worker looks whenever it has its turn.
        pair.vhost.tx_sleeps = 0
        vhost_advance(host, pair, wire.time_ps + 1, False)
    if not host.work_held:
        host_work(host, wire.time_ps)
    return int(descriptors_used(pair) != before)
