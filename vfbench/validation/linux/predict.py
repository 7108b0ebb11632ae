"""What the model says that each scenario's driver does: its own counters, per packet, for the same frames.

Frames sent are the answers to frames received: what a run with an answer to each has more than one with none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vfbench.validation.linux.scenario import Registered, Scenario, experiment_of

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.records import Outcome

COLUMNS = {
    "maps": "iommu_maps",
    "unmaps": "iommu_unmaps",
    "invalidations": "iommu_invalidations",
    "interrupts": "interrupts",
    "kicks": "kicks",
}
Run = Callable[["Experiment"], "Outcome"]
Predicted = dict[str, float]


def predict(scenario: Scenario, registered: Registered, run: Run) -> Predicted:
    """Counts per packet by the names of ``COLUMNS``; those that the model cannot know are left out."""
    behind = registered.strategy_for(scenario.driver.path, True)
    strategy = behind or registered.strategy_for(scenario.driver.path, False)
    if strategy is None:
        return {}
    mode = {} if behind is None else {f"{behind}.mode": scenario.iommu.mode}
    if scenario.iommu.told_of_maps or behind is None:
        counted = _counted(scenario, registered, strategy, run, mode)
        # With caching mode each map is an invalidation too: that is how the hypervisor is told (VT-d 6.1).
        counted["invalidations"] += counted["maps"]
    else:
        # The guest maps as often whether it tells or not, but the model counts only maps that are told.
        counted = _counted(scenario, registered, strategy, run, {})
        untold = _counted(scenario, registered, strategy, run, {**mode, f"{behind}.tracking": "migrating"})
        counted["invalidations"] = untold["invalidations"]
    if behind is None:
        return {name: counted[name] for name in ("interrupts", "kicks")}
    if scenario.driver.path == "vf":
        del counted["kicks"]  # a tail write of a VF reaches the device without the hypervisor
    return counted


def _counted(
    scenario: Scenario, registered: Registered, strategy: str, run: Run, extra: Mapping[str, str]
) -> Predicted:
    silent = run(experiment_of(scenario, registered, strategy, extra)).measures
    if not scenario.sent:
        return {
            name: _number(silent[column]) / registered.count(scenario) for name, column in COLUMNS.items()
        }
    answering = {**extra, f"{registered.workload}.send": "1"}
    loud = run(experiment_of(scenario, registered, strategy, answering)).measures
    # Each frame received in the steady state has been answered in it, but for the last one perhaps.
    return {
        name: (_number(loud[column]) - _number(silent[column])) / registered.count(scenario)
        for name, column in COLUMNS.items()
    }


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the model counted {value!r}")
    return value
