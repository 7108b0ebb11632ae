"""What the model says that each scenario's driver does: its own counters, per packet, for the same frames.

Frames sent are the answers to frames received: what a run with an answer to each has more than one with none.
They come when the real ones came, which is the one thing that the model is told of a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from vfbench.validation.linux.played import Played
from vfbench.validation.linux.scenario import Registered, Scenario, experiment_as_measured

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
IN_A_TICK_S = (0.0005, 0.0015, 0.0025, 0.0035)


def predict(scenario: Scenario, registered: Registered, run: Run, moments_s: Sequence[float]) -> Predicted:
    """Counts per packet by the names of ``COLUMNS``; those that the model cannot know are left out.

    ``moments_s``: when each frame was on the real wire, from any beginning: the timer of lazy invalidation goes by it.
    """
    # What is received shares the queue of lazy unmaps; for frames sent, let it unmap nothing.
    design = {"driver.page-reuse": "flip"} if scenario.sent else {}
    model = _Model(scenario, registered, run, tuple(moment - moments_s[0] for moment in moments_s))
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
        counted["invalidations"] = model.invalidations(strategy, {**mode, f"{behind}.tracking": "migrating"})
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
    moments_s: Sequence[float]

    def counted(self, strategy: str, extra: Mapping[str, str], began_s: float = 0.0) -> Predicted:
        """Counts per packet under ``strategy`` with ``extra`` settings; the first frame comes at ``began_s``."""
        before = dict.fromkeys(COLUMNS, 0)
        after = self._measures(strategy, extra, began_s)
        if self.scenario.sent:
            before, after = after, self._measures(strategy, {**extra, f"{Played.name}.send": "1"}, began_s)
        return {name: (after[name] - before[name]) / len(self.moments_s) for name in COLUMNS}

    def invalidations(self, strategy: str, extra: Mapping[str, str]) -> float:
        """Invalidations per packet, the mean over where in a tick of the guest's kernel the first frame comes."""
        return fmean(self.counted(strategy, extra, began_s)["invalidations"] for began_s in IN_A_TICK_S)

    def _measures(self, strategy: str, extra: Mapping[str, str], began_s: float) -> dict[str, int]:
        moments_s = [began_s + moment for moment in self.moments_s]
        planned = experiment_as_measured(self.scenario, self.registered, strategy, moments_s, extra)
        measures = self.run(planned).measures
        return {name: _number(measures[column]) for name, column in COLUMNS.items()}


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the model counted {value!r}")
    return value
