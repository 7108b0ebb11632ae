"""The records of one testbed and one profile, and the cells in them that a rule asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vfbench.records.schema import TRAITS
from vfbench.statistics import cell_columns, estimate, measured
from vfbench.verdicts.verdict import NotEnough

if TYPE_CHECKING:
    import pandas

TRAIT_NAMES = tuple(column.name for column in TRAITS)


@dataclass(frozen=True)
class Cell:
    """Repeats of one experiment: what they share, and their rows."""

    shared: dict[str, Any]
    """Settings, traits and names, by column."""
    runs: pandas.DataFrame

    def __getitem__(self, column: str) -> Any:
        return self.shared[column]

    @property
    def experiments(self) -> tuple[str, ...]:
        """The ids of its runs."""
        return tuple(self.runs["experiment"])

    @property
    def work(self) -> tuple[tuple[str, str], ...]:
        """Everything but the strategy: two cells of equal work can be held against each other."""
        return tuple((name, str(value)) for name, value in self.shared.items() if not _is_of_strategy(name))

    def median(self, measure: str) -> float:
        """Over the repeats that have it, NaN where none has."""
        return estimate(self.runs[measure]).median

    def total(self, *measures: str) -> float:
        """The medians added up; NaN if one is missing."""
        return math.fsum(self.median(measure) for measure in measures)

    def largest(self, measure: str) -> float:
        """The largest of the repeats, NaN where none has it."""
        return float(self.runs[measure].astype("float64").max())


@dataclass(frozen=True)
class Evidence:
    """Frames of ``vfbench.records``, of one testbed and one profile."""

    runs: pandas.DataFrame
    rounds: pandas.DataFrame
    intervals: pandas.DataFrame

    @cached_property
    def all_cells(self) -> list[Cell]:
        """The cells with runs that count, in order of appearance."""
        return cells_of(self.runs)

    @property
    def is_silent(self) -> bool:
        """Whether no run says what its strategy declares."""
        return bool(self.runs["dma_visible_by"].isna().all())

    def cells(self, **wanted: object) -> list[Cell]:
        """Cells whose traits are as wanted: a value, a tuple of values, or a predicate."""
        return [cell for cell in self.all_cells if _matches(cell, wanted)]

    def timed(self, **wanted: object) -> list[Cell]:
        """The same without runs whose times and throughput don't count (their guest code was emulated)."""
        return [cell for cell in self.cells(**wanted) if not cell.runs["functional"].fillna(False).any()]

    def rounds_of(self, cell: Cell) -> Iterator[pandas.DataFrame]:
        """The pre-copy rounds of each repeat, in order."""
        return _parts(self.rounds, cell, "round")

    def intervals_of(self, cell: Cell) -> Iterator[pandas.DataFrame]:
        """The intervals of each repeat, in order."""
        return _parts(self.intervals, cell, "interval")

    def unassisted(self) -> list[Cell]:
        """The assigned VF without an IOMMU, used throughout: the yardstick for speed, however it is stopped.

        Where several strategies ran like this, the one that does nothing about DMA comes first.
        """
        found = self.timed(
            datapath="vf", datapath_migrating="vf", guest_iommu=False, faults=only_faults_of_the_stop
        )
        return sorted(found, key=lambda cell: cell["dma_visible_by"] != "none")


def cells_of(runs: pandas.DataFrame) -> list[Cell]:
    """The cells with runs that count, in order of appearance."""
    counted = measured(runs)
    if counted.empty:
        return []
    names = [*cell_columns(counted), *TRAIT_NAMES]
    groups = counted.groupby(names, dropna=False, sort=False, observed=True)
    return [Cell(_plain(dict(zip(names, key, strict=True))), group) for key, group in groups]


FAULTS_OF_THE_STOP = {"1", "3", "4"}


def only_faults_of_the_stop(faults: str) -> bool:
    """Whether nothing was switched on but an order of the stop."""
    return set(faults.split()) <= FAULTS_OF_THE_STOP


def needed(cells: list[Cell], what: str) -> list[Cell]:
    """``cells``, or NotEnough with what they would have been."""
    if not cells:
        raise NotEnough(f"no run of {what}")
    return cells


def paired(
    cells: Iterable[Cell],
    references: Iterable[Cell],
    work: Callable[[Cell], object] = lambda cell: cell.work,
) -> list[tuple[Cell, Cell]]:
    """Each cell with the first reference that has the same work; those without one are left out."""
    known: dict[object, Cell] = {}
    for reference in references:
        known.setdefault(work(reference), reference)
    return [(cell, known[work(cell)]) for cell in cells if work(cell) in known]


def _plain(shared: dict[str, Any]) -> dict[str, Any]:
    """Python's own types; a workload that offers the link's rate (0) is given that rate."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in shared.items()}
    if plain.get("workload.rate_bps") == 0:
        plain["workload.rate_bps"] = plain["link.rate_bps"]
    return plain


def _parts(frame: pandas.DataFrame, cell: Cell, order: str) -> Iterator[pandas.DataFrame]:
    for experiment in dict.fromkeys(cell.experiments):
        rows = frame[frame["experiment"] == experiment]
        if not rows.empty:
            yield rows.drop_duplicates(order).sort_values(order)


def _matches(cell: Cell, wanted: dict[str, object]) -> bool:
    return all(_fits(cell.shared.get(name), value) for name, value in wanted.items())


def _fits(value: Any, wanted: object) -> bool:
    import pandas

    if pandas.isna(value):
        return False
    if callable(wanted):
        return bool(wanted(value))
    return bool(value in wanted if isinstance(wanted, tuple) else value == wanted)


def _is_of_strategy(name: str) -> bool:
    return name == "strategy" or name.startswith("strategy.") or name in TRAIT_NAMES
