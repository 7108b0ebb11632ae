"""The records that peer, ports and costs begin a run with, the same on every testbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.machine.costs import COSTS
from vfbench.machine.queue_pair import FIFO_FRAMES, PATH_VIRTIO
from vfbench.machine.vf.register_access import reset_registers
from vfbench.machine.wire import BUFFER_BYTES, ETHERNET_BYTES, FULL_FRAME_BYTES, NEVER_PS
from vfbench.workload import ignore_replies

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

FULL_SPEED_1024 = 1024
COPYBREAK_BYTES = 256
"""Packets up to here were copied out (IXGBEVF_RX_HDR_SIZE, 2015)."""


def random_state(seed: int, stream: int) -> int:
    """A seed for one of the run's independent streams of random numbers; never 0."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]) | 1


def ps_per_byte(experiment: Experiment) -> int:
    """Of the guest's link."""
    return round(8e12 / experiment.link.rate_bps)


def is_closed_loop(experiment: Experiment) -> bool:
    """Whether the peer waits for answers."""
    return type(experiment.workload).peer_received is not ignore_replies


def costs_ps(profile: Profile) -> list[int]:
    """What things cost, in the order of ``COSTS``: ps, and for a rate ps per KiB."""
    return [
        round(1024 * profile.picoseconds_per_byte(name))
        if name.endswith("_rate")
        else profile.picoseconds(name)
        for name in COSTS
    ]


def prepare_peer(source: Any, experiment: Experiment, frames_left: int = NEVER_PS) -> tuple[Any, ...]:
    """Fill the peer's record; returns what must outlive it."""
    source.ps_per_byte = ps_per_byte(experiment)
    source.turnaround_ps = experiment.link.peer_turnaround_ns * 1000
    source.flows = experiment.workload.flows
    source.frame_bytes = experiment.link.mtu_bytes + ETHERNET_BYTES
    source.frames_left = frames_left
    source.random = random_state(experiment.seed, 0)
    return experiment.workload.prepare(source)


def prepare_application(application: Any, experiment: Experiment, stream: int) -> tuple[Any, ...]:
    """Fill the application's record, but for its memory; returns the arrays that must outlive it."""
    application.random = random_state(experiment.seed, stream)
    application.send_share_65536 = round(65536 * experiment.workload.send_ratio)
    application.write_bytes = experiment.workload.write_bytes
    application.tags = experiment.workload.tags_replies
    application.frame_bytes = experiment.link.mtu_bytes + ETHERNET_BYTES
    return experiment.workload.prepare_application(application) or ()


def prepare_driver(cpu: Any, experiment: Experiment) -> None:
    """Fill how the guest's driver is built, in the processor's record."""
    driver = experiment.driver
    cpu.copybreak_bytes = COPYBREAK_BYTES if driver.rx_mode == "copybreak" else 0
    cpu.reuse = driver.page_reuse == "flip"
    cpu.pages_fifo = driver.page_order == "fifo"
    cpu.refill_batch, cpu.poll_budget = driver.refill_batch, driver.poll_budget
    cpu.gro = driver.gro == "on"
    cpu.mirror_registers = experiment.migration.vf_state == "self-emulated"
    cpu.hold_ps = experiment.workload.hold_ns * 1000


def interrupt_interval_ps(experiment: Experiment, path: int) -> int:
    """How far apart a device's interrupts are at least; nothing throttles those of virtio-net."""
    return 0 if path == PATH_VIRTIO else experiment.device.interrupt_interval_ns * 1000


def prepare_pair(pair: Any, experiment: Experiment, profile: Profile) -> None:
    """Fill what a port of any testbed begins with: rates, limits, an empty IOTLB, registers as after a reset."""
    pair.last_interrupt_ps = pair.vhost.host_interrupt_ps = -NEVER_PS // 2
    pair.vhost.host_ring_frames = int(profile.value("host_nic_ring"))
    pair.vhost.tap_queue_frames = int(profile.value("tap_queue"))
    pair.nic.fifo_limit_bytes, pair.nic.fifo_limit_frames = int(profile.value("fifo")), FIFO_FRAMES
    pair.nic.rx_buffer_bytes = BUFFER_BYTES
    pair.nic.write_back_batch = experiment.device.writeback_batch
    pair.nic.line_ps_per_byte = pair.nic.ps_per_byte = ps_per_byte(experiment)
    pair.vhost.host_backlog_ps = pair.vhost.host_ring_frames * FULL_FRAME_BYTES * pair.nic.line_ps_per_byte
    pair.nic.slowdown_1024[:] = FULL_SPEED_1024
    pair.nic.iotlb_entries = int(profile.value("iotlb_entries"))
    pair.nic.iotlb_iova[:] = -1
    pair.oracle.reports_replies = is_closed_loop(experiment)
    pair.oracle.seen_by_replies = is_closed_loop(experiment) or experiment.workload.send_ratio > 0
    reset_registers(pair)
