"""The records of one testbed and one profile, and the cells in them that a rule asks for."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.records.schema import INTERVALS, ROUNDS, RUNS, TRAITS, Column
from vfbench.statistics import Values, cell_columns, measured, numbers_of
from vfbench.verdicts.verdict import NotEnough

if TYPE_CHECKING:
    import pandas

TRAIT_NAMES = tuple(column.name for column in TRAITS)
ALL_TRAITS = "traits"
"""The column that has every word, those with a column of their own as well."""


@dataclass(frozen=True)
class Cell:
    """Repeats of one experiment: what they share, and their rows."""

    shared: dict[str, Any]
    """Settings, traits and names, by column."""
    runs: pandas.DataFrame

    def __getitem__(self, column: str) -> Any:
        return self.shared[column]

    def trait(self, word: str, absent: object) -> Any:
        """Any word of its strategy's, those that have no column included; ``absent`` where it says nothing of it."""
        return self._words.get(word, absent)

    @cached_property
    def _words(self) -> dict[str, Any]:
        document = self.shared.get(ALL_TRAITS)
        return json.loads(document) if isinstance(document, str) and document else {}

    @property
    def words_without_column(self) -> tuple[str, ...]:
        """Words of its strategy's traits that stand in no column of their own."""
        return tuple(word for word in self._words if word not in TRAIT_NAMES)

    @property
    def experiments(self) -> tuple[str, ...]:
        """The ids of its runs."""
        return tuple(self.runs["experiment"])

    @cached_property
    def work(self) -> tuple[tuple[str, str], ...]:
        """Everything but the strategy: two cells of equal work can be held against each other."""
        return tuple((name, str(value)) for name, value in self.shared.items() if not _is_of_strategy(name))

    def median(self, measure: str) -> float:
        """Over the repeats that have it, NaN where none has."""
        found = self.values(measure)
        return float(np.median(found)) if len(found) else math.nan

    def total(self, *measures: str) -> float:
        """The medians added up; NaN if one is missing."""
        return math.fsum(self.median(measure) for measure in measures)

    def largest(self, measure: str) -> float:
        """The largest of the repeats, NaN where none has it."""
        found = self.values(measure)
        return float(found.max()) if len(found) else math.nan

    def values(self, measure: str) -> Values:
        """Of the repeats that have it."""
        return numbers_of(self.runs[measure])

    @cached_property
    def has_migrated(self) -> bool:
        """Whether every repeat completed its migration; one that never does supports no claim about the way there."""
        return bool((self.runs["state"] == "ok").all())

    @cached_property
    def is_functional(self) -> bool:
        """Whether guest code was emulated in any repeat, so that times and throughput don't count."""
        return bool(self.runs["functional"].fillna(False).any())


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

    def cells(self, kind: Callable[[Cell], bool], **wanted: object) -> list[Cell]:
        """Cells of a kind (``vfbench.verdicts.kinds``) whose columns are as wanted: a value, several, a predicate."""
        return [cell for cell in self.all_cells if kind(cell) and _matches(cell, wanted)]

    def timed(self, kind: Callable[[Cell], bool], **wanted: object) -> list[Cell]:
        """The same without runs whose times and throughput don't count (their guest code was emulated)."""
        return [cell for cell in self.cells(kind, **wanted) if not cell.is_functional]

    def completed(self, kind: Callable[[Cell], bool], **wanted: object) -> list[Cell]:
        """Of those the ones that migrated, in every repeat."""
        return [cell for cell in self.timed(kind, **wanted) if cell.has_migrated]

    def never_migrated(self, kind: Callable[[Cell], bool], **wanted: object) -> int:
        """How many of them did not."""
        return sum(not cell.has_migrated for cell in self.timed(kind, **wanted))

    def rounds_of(self, cell: Cell) -> Iterator[pandas.DataFrame]:
        """The pre-copy rounds of each repeat, in order."""
        return _parts(self._rounds, cell)

    def intervals_of(self, cell: Cell) -> Iterator[pandas.DataFrame]:
        """The intervals of each repeat, in order."""
        return _parts(self._intervals, cell)

    @cached_property
    def _rounds(self) -> dict[str, pandas.DataFrame]:
        return _by_experiment(self.rounds, "round", ROUNDS)

    @cached_property
    def _intervals(self) -> dict[str, pandas.DataFrame]:
        return _by_experiment(self.intervals, "interval", INTERVALS)


def cells_of(runs: pandas.DataFrame) -> list[Cell]:
    """The cells with runs that count, in order of appearance."""
    import pandas

    counted = measured(runs)
    if counted.empty:
        return []
    names = [*cell_columns(counted), *TRAIT_NAMES]
    numbers = counted.groupby(names, dropna=False, sort=False, observed=True).ngroup().to_numpy()
    firsts = counted[names][~pandas.Series(numbers).duplicated().to_numpy()].to_dict("records")
    own = counted[[column.name for column in RUNS if column.name not in TRAIT_NAMES]]
    return [
        Cell(_plain({str(name): value for name, value in shared.items()}), rows)
        for shared, (_, rows) in zip(firsts, own.groupby(numbers, sort=False), strict=True)
    ]


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


def one_parameter_apart(
    cells: Iterable[Cell], references: Iterable[Cell], trait: str
) -> list[tuple[Cell, Cell]]:
    """Each cell with the first reference that differs from it in ``trait``, one parameter, and nothing else."""
    known: dict[object, list[Cell]] = {}
    for reference in references:
        known.setdefault((reference["strategy"], reference.work), []).append(reference)
    pairs = []
    for cell in cells:
        apart = (
            each for each in known.get((cell["strategy"], cell.work), ()) if _is_apart(cell, each, trait)
        )
        pairs += [(cell, reference) for reference in itertools.islice(apart, 1)]
    return pairs


def _is_apart(cell: Cell, other: Cell, trait: str) -> bool:
    differing = [name for name in cell.shared if name != ALL_TRAITS and str(cell[name]) != str(other[name])]
    differing += [
        word for word in cell.words_without_column if cell.trait(word, None) != other.trait(word, None)
    ]
    parameters = [name for name in differing if name.startswith("strategy.")]
    return len(parameters) <= 1 and set(differing) - set(parameters) == {trait}


def _plain(shared: dict[str, Any]) -> dict[str, Any]:
    """Python's own types; a workload that offers the link's rate (0) is given that rate."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in shared.items()}
    if plain.get("workload.rate_bps") == 0:
        plain["workload.rate_bps"] = plain["link.rate_bps"]
    return plain


def _by_experiment(
    frame: pandas.DataFrame, order: str, columns: tuple[Column, ...]
) -> dict[str, pandas.DataFrame]:
    """Each run's own rows in order, with what was measured in them."""
    own = frame[["experiment", *(column.name for column in columns)]]
    own = own.drop_duplicates(["experiment", order]).sort_values(["experiment", order], kind="stable")
    return {str(experiment): rows for experiment, rows in own.groupby("experiment", sort=False)}


def _parts(by_experiment: dict[str, pandas.DataFrame], cell: Cell) -> Iterator[pandas.DataFrame]:
    for experiment in dict.fromkeys(cell.experiments):
        if experiment in by_experiment:
            yield by_experiment[experiment]


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
