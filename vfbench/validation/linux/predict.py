"""What the model says that each scenario's driver does: its own counters, per packet, for the same frames.

Frames sent are the answers to frames received: what a run with an answer to each has more than one with none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def predict(scenario: Scenario, registered: Registered, run: Run, packets_per_s: float) -> Predicted:
    """Counts per packet by the names of ``COLUMNS``; those that the model cannot know are left out.

    ``packets_per_s``: as they came on the real wire, for the timer of lazy invalidation.
    """
    # What is received shares the queue of lazy unmaps; for frames sent, let it unmap nothing.
    design = {"driver.page-reuse": "flip"} if scenario.sent else {}
    model = _Model(scenario, registered, run, packets_per_s)
    behind = registered.strategy_for(scenario.driver.path, True)
    strategy = behind or registered.strategy_for(scenario.driver.path, False)
    if strategy is None:
        return {}
    mode = design if behind is None else {**design, f"{behind}.mode": scenario.iommu.mode}
    if scenario.iommu.told_of_maps or behind is None:
        counted = model.counted(strategy, mode)
        # With caching mode each map is an invalidation too: that is how the hypervisor is told (VT-d 6.1).
        counted["invalidations"] += counted["maps"]
    else:
        # The guest maps as often whether it tells or not, but the model counts only maps that are told.
        counted = model.counted(strategy, design)
        untold = model.counted(strategy, {**mode, f"{behind}.tracking": "migrating"})
        counted["invalidations"] = untold["invalidations"]
    if behind is None:
        return {name: counted[name] for name in ("interrupts", "kicks")}
    if scenario.driver.path == "vf":
        del counted["kicks"]  # a tail write of a VF reaches the device without the hypervisor
    return counted


@dataclass(frozen=True)
class _Model:
    scenario: Scenario
    registered: Registered
    run: Run
    packets_per_s: float

    def counted(self, strategy: str, extra: Mapping[str, str]) -> Predicted:
        """Counts per packet under ``strategy`` with ``extra`` settings."""
        silent = self._measures(strategy, extra)
        before = dict.fromkeys(COLUMNS, 0)
        after = silent
        if self.scenario.sent:
            # Each frame received in the steady state has been answered in it, but for the last one perhaps.
            before, after = (
                silent,
                self._measures(strategy, {**extra, f"{self.registered.workload}.send": "1"}),
            )
        return {name: (after[name] - before[name]) / self.registered.count(self.scenario) for name in COLUMNS}

    def _measures(self, strategy: str, extra: Mapping[str, str]) -> dict[str, int]:
        planned = experiment_of(self.scenario, self.registered, strategy, extra, self.packets_per_s)
        measures = self.run(planned).measures
        return {name: _number(measures[column]) for name, column in COLUMNS.items()}


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the model counted {value!r}")
    return value
