"""Migration channels that a testbed of one plain stream can't have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.parameters import changed
from vfbench.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfbench.experiment import Experiment

CHANNELS = ("multifd-channels", "zero-pages", "auto-converge")


def channel_refusals(experiment: Experiment, names: Iterable[str], why: str) -> list[str]:
    """One line for each of these settings of the migration that is set, and for memory of zeros in a real guest."""
    given = changed(experiment.migration)
    refused = [f"migration.{name}: {given[name]}, but {why}" for name in names if name in given]
    if experiment.guest.zero_memory_bytes:
        size = format_quantity(experiment.guest.zero_memory_bytes, "bytes")
        refused.append(f"guest.zero-memory: {size}, but a real guest's memory holds what it holds")
    return refused
