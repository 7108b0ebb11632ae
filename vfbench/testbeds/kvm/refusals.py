"""What a real VM can't honour, said before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.composition import hook_of
from vfbench.layout import room_refusals
from vfbench.testbeds.channels import CHANNELS, channel_refusals
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.offloads import offload_refusals
from vfbench.units import format_quantity

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

# Above them lie the device's registers, and the testbed's own 2 MiB lie below the guest's memory.
MOST_MEMORY_BYTES = (0xD000_0000 // (2 << 20) - 1) * (2 << 20)


def refusals(experiment: Experiment) -> list[str]:
    """One line for each parameter that this testbed can't honour, naming the value."""
    refused = []
    if experiment.guest.queues > 1:
        refused.append(
            f"guest.queues: {experiment.guest.queues}, but a guest here has one vCPU and one queue"
        )
    if experiment.guest.memory_bytes > MOST_MEMORY_BYTES:
        given, most = (
            format_quantity(b, "bytes") for b in (experiment.guest.memory_bytes, MOST_MEMORY_BYTES)
        )
        refused.append(f"guest.memory: {given} is over {most}, where the device's registers lie")
    if experiment.guest.dirty_log != "write-protect":
        refused.append(
            f"guest.dirty-log: {experiment.guest.dirty_log!r}, but which log KVM has is up to the host kernel"
        )
    refused += [
        f"{each.name}: exits to nobody, but a real guest can't tell its hypervisor anything for nothing"
        for each in experiment.strategy.mechanisms
        if hook_of(each, "hypercall") is not None and each.exit_to == "none"
    ]
    refused += [
        f"{each.name}: {line}" for each in experiment.strategy.mechanisms for line in each.refusals("kvm")
    ]
    if experiment.guest.host_pages != "2MiB":
        refused.append(f"guest.host-pages: {experiment.guest.host_pages!r}, but no IOMMU stands here")
    if experiment.device.moderation == "adaptive":
        refused.append(
            "device.moderation: 'adaptive', but the device here has one interval, interrupt-interval"
        )
    refused += offload_refusals(experiment, "the guest here sends one frame at a time")
    refused += channel_refusals(
        experiment, CHANNELS, "this testbed sends each page in full over one stream, and slows nobody down"
    )
    return refused or room_refusals(experiment, boot.FREE_BASE)
