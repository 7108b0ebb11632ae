"""A cell as a document of plain values: all that travels to the process, or the machine, that runs it.

The classes of strategy and workload go by where they can be imported from, so a plugin's go as well, and whoever
runs the cell compiles its own kernels.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.profiles import Profile

if TYPE_CHECKING:
    from vfbench.sweeps.cells import Cell


def specification(cell: Cell, profile: Profile) -> dict[str, Any]:
    """`read_specification` gives an equal experiment and profile; it fits JSON."""
    return {**specification_of(cell.experiment, profile), "time_limit_s": cell.time_limit_s}


def specification_of(experiment: Experiment, profile: Profile) -> dict[str, Any]:
    """The same of an experiment that is no sweep's, without a time limit."""
    return {
        "experiment": experiment.to_json(),
        "strategy": _place(type(experiment.strategy)),
        "workload": _place(type(experiment.workload)),
        "profile": profile.to_json(),
    }


def read_specification(document: dict[str, Any]) -> tuple[Experiment, Profile]:
    """The experiment and its costs; UserError for a class that can't be imported here."""
    strategy, workload = _imported(document["strategy"]), _imported(document["workload"])
    experiment = Experiment.from_json(
        document["experiment"], {strategy.name: strategy}, {workload.name: workload}
    )
    return experiment, Profile.from_json(document["profile"])


def _place(named: type) -> str:
    return f"{named.__module__}:{named.__qualname__}"


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{place} can't be imported where the cell runs: {error}") from error
