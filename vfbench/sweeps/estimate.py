"""How long cells will take: from finished cells of like kind, or by a rule where there are none.

A cell's work is the virtual time that it is known beforehand to cover. Seconds of wall time per second of
virtual time are taken from finished cells: those of the same testbed, strategy and workload, else all of that
testbed, else `RULE`, which is a plain assumption and is called one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.sweeps.cells import Cell

RULE = 1.0
"""Seconds of wall time per second of virtual time, where nothing is known."""
START_S = 6.0
"""What starting the processes and loading the kernels takes, about."""

Kind = tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """Seconds of each cell on one core, in their order, and on how many finished cells they rest."""

    seconds: tuple[float, ...]
    known_cells: int
    by_rule: int

    def wall_s(self, workers: int) -> float:
        """Until all are done, with so many of them at a time."""
        if not self.seconds:
            return 0.0
        return START_S + max(sum(self.seconds) / workers, max(self.seconds))

    def basis(self) -> str:
        """What the seconds rest on, in words."""
        if self.by_rule == len(self.seconds):
            return f"by rule: {RULE:g} s of wall time per second of virtual time, as no cell is finished"
        words = f"from {self.known_cells} finished cells"
        return f"{words}; {self.by_rule} cells by rule" if self.by_rule else words


def estimate(cells: Sequence[Cell], finished: Iterable[tuple[Cell, float]]) -> Estimate:
    """Estimate `cells` from `finished` ones and the seconds that those took."""
    rates: dict[Kind, list[float]] = {}
    known_cells = 0
    for cell, wall_s in finished:
        known_cells += 1
        for kind in _kinds(cell.experiment):
            rates.setdefault(kind, []).append(wall_s / virtual_s(cell.experiment))
    seconds, by_rule = [], 0
    for cell in cells:
        known = next((rates[kind] for kind in _kinds(cell.experiment) if kind in rates), None)
        by_rule += known is None
        rate = statistics.median(known) if known else RULE
        seconds.append(rate * virtual_s(cell.experiment))
    return Estimate(tuple(seconds), known_cells, by_rule)


def virtual_s(experiment: Experiment) -> float:
    """The virtual time of a run, as far as it is known: its phases and one pass over all memory."""
    phases = experiment.phases
    pass_s = 8 * experiment.guest.memory_bytes / experiment.migration.bandwidth_bps
    return (phases.warmup_ns + phases.steady_ns + phases.after_ns) / 1e9 + pass_s


def _kinds(experiment: Experiment) -> tuple[Kind, ...]:
    """From the closest to the widest."""
    testbed = experiment.testbed
    return (testbed, experiment.strategy.name, experiment.workload.name), (testbed,)
