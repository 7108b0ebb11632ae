"""What only the model's driver and stack do with packets that are joined or cut: plainly refused elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.layout import spreads_frames
from vfbench.machine.queue_pair import PATH_RELAY, PATH_VDPA, PATH_VIRTIO
from vfbench.machine.wire import BUFFER_BYTES, ETHERNET_BYTES
from vfbench.parameters import changed
from vfbench.strategy import backends

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

SHAPES = {
    "driver": ("gro", "segmentation", "segment", "send-pages", "virtio-buffers"),
    "host": ("gro", "segmentation"),
    "link": ("mtu",),
    "workload": ("write",),
}
"""Parameters by the part of an experiment that has them."""


def frame_refusals(experiment: Experiment) -> list[str]:
    """What the link does not carry: frames over its MTU, but for those that one buffer holds at the usual MTU."""
    link, longest_bytes = experiment.link, experiment.workload.longest_frame_bytes
    usual = "mtu" not in changed(link)
    most_bytes = BUFFER_BYTES if usual else link.mtu_bytes + ETHERNET_BYTES
    if longest_bytes <= most_bytes:
        return []
    return [
        f"{experiment.workload.name}: frames of {longest_bytes} B are over link.mtu={link.mtu_bytes}B, which makes "
        f"frames of {link.mtu_bytes + ETHERNET_BYTES} B; set link.mtu={longest_bytes - ETHERNET_BYTES}B"
    ]


def path_refusals(experiment: Experiment) -> list[str]:
    """What a strategy's devices are modelled without: vDPA's reads and writes one descriptor a frame."""
    paths = {each.path for each in backends(experiment.strategy)}
    refused = []
    if paths & {PATH_VDPA, PATH_RELAY}:
        if experiment.driver.segmentation == "on":
            refused.append("driver.segmentation: on, but a vDPA device is modelled without it")
        if spreads_frames(experiment):
            given = changed(experiment.link)["mtu"]
            refused.append(f"link.mtu: {given}, but a vDPA device is modelled with one buffer a frame")
        if experiment.driver.virtio_buffers != "single":
            given = experiment.driver.virtio_buffers
            refused.append(
                f"driver.virtio-buffers: {given}, but a vDPA device is modelled with one buffer a frame"
            )
    if PATH_VIRTIO in paths:
        return refused + _virtio_refusals(experiment)
    idle = {f"host.{name}": text for name, text in changed(experiment.host).items()}
    if "virtio-buffers" in changed(experiment.driver) and not refused:
        idle["driver.virtio-buffers"] = experiment.driver.virtio_buffers
    why = "no packet of the strategy passes virtio-net and the host's stack"
    return refused + [f"{name}: {text} cannot act: {why}" for name, text in idle.items()]


def _virtio_refusals(experiment: Experiment) -> list[str]:
    """What the settings of virtio-net and of the host's stack don't go together with."""
    refused, driver = [], experiment.driver
    if spreads_frames(experiment) and driver.virtio_buffers == "single":
        given = changed(experiment.link)["mtu"]
        refused.append(
            f"link.mtu: {given}, but a frame takes several of virtio-net's buffers; "
            "set driver.virtio-buffers=mergeable"
        )
    if experiment.host.segmentation == "off" and driver.segmentation == "off":
        refused.append(
            "host.segmentation: off cannot act without driver.segmentation=on: the guest sends frames only"
        )
    return refused


def offload_refusals(experiment: Experiment, why: str) -> list[str]:
    """A line for each of them that is not at its default; ``why`` ends it."""
    refused = []
    for part, names in SHAPES.items():
        owner = getattr(experiment, part)
        given = changed(owner)
        refused += [f"{owner.name}.{name}: {given[name]}, but {why}" for name in names if name in given]
    longest_bytes = experiment.workload.longest_frame_bytes
    if longest_bytes > BUFFER_BYTES:
        refused.append(
            f"{experiment.workload.name}: frames of {longest_bytes} B are over a receive buffer of {BUFFER_BYTES} B, "
            f"but {why}"
        )
    if experiment.workload.tags_replies:
        refused.append(f"{experiment.workload.name}: its frames carry segment numbers, but {why}")
    return refused
