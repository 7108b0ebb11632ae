"""What only the model's driver and stack do with packets that are joined or cut: plainly refused elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.parameters import changed

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

SHAPES = {
    "driver": ("gro", "segmentation", "segment", "send-pages"),
    "link": ("mtu",),
    "workload": ("write",),
}
"""Parameters by the part of an experiment that has them."""


def offload_refusals(experiment: Experiment, why: str) -> list[str]:
    """A line for each of them that is not at its default; ``why`` ends it."""
    refused = []
    for part, names in SHAPES.items():
        owner = getattr(experiment, part)
        given = changed(owner)
        refused += [f"{owner.name}.{name}: {given[name]}, but {why}" for name in names if name in given]
    if experiment.workload.tags_answers:
        refused.append(f"{experiment.workload.name}: its frames carry segment numbers, but {why}")
    return refused
