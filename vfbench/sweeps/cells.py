"""From grids to cells: one experiment each, equal ones once, in the order in which they are run."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.experiment import GROUPS, Experiment
from vfbench.options import Options
from vfbench.parameters import unknown
from vfbench.profiles import load_profile
from vfbench.runner import asked_for
from vfbench.sweeps.grid import Grid, Texts
from vfbench.testbeds import TESTBEDS

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

MOST_CELLS = 100_000
THE_CELLS_OWN = ("strategy", "workload")
"""Owners that stand for whichever strategy or workload a cell has: `workload.rate`."""


@dataclass(frozen=True)
class Cell:
    """An experiment of a sweep; `digest` is the experiment's, `grids` are those that ask for it."""

    experiment: Experiment
    digest: str
    grids: tuple[str, ...]
    groups: tuple[str, ...]
    time_limit_s: float

    @property
    def label(self) -> str:
        """What `--list` shows: `grid/name-s1`, of the first grid that asks for it."""
        return f"{self.grids[0]}/{self._name}"

    def matches(self, glob: str) -> bool:
        """Whether `glob` fits its name after that of one of its grids or groups: `c3/*`, `*/dummy-write*-s1`."""
        return any(fnmatchcase(f"{each}/{self._name}", glob) for each in (*self.grids, *self.groups))

    @property
    def _name(self) -> str:
        return f"{self.experiment.name}-s{self.experiment.seed}"


def cells_of(
    grids: Sequence[Grid],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
) -> list[Cell]:
    """The cells of all grids; UserError names the grid whose names or values won't do."""
    found: dict[str, Cell] = {}
    for grid in grids:
        try:
            _check_names(grid, strategies, workloads)
            load_profile(grid.profile)
            for experiment in _experiments(grid, strategies, workloads):
                _add(found, experiment, grid)
        except UserError as error:
            raise UserError(f"grid {grid.name!r}: {error}") from None
    return list(found.values())


def matching(cells: Iterable[Cell], globs: Sequence[str]) -> list[Cell]:
    """The cells that match one of `globs`; all of them if there is no glob."""
    return [cell for cell in cells if not globs or any(cell.matches(glob) for glob in globs)]


def _add(found: dict[str, Cell], experiment: Experiment, grid: Grid) -> None:
    digest = experiment.digest
    known = found.get(digest, Cell(experiment, digest, (), (), 0.0))
    found[digest] = Cell(
        experiment,
        digest,
        grids=_joined(known.grids, (grid.name,)),
        groups=_joined(known.groups, grid.groups),
        time_limit_s=max(known.time_limit_s, grid.time_limit_s),
    )


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _check_names(grid: Grid, strategies: Mapping[str, Any], workloads: Mapping[str, Any]) -> None:
    if grid.testbed not in TESTBEDS:
        raise unknown("no testbed is called", grid.testbed, TESTBEDS)
    for kind, names, known in (
        ("strategy", grid.strategies, strategies),
        ("workload", grid.workloads, workloads),
    ):
        for name in names:
            if name not in known and name != "all":
                raise unknown(f"no {kind} is called", name, [*known, "all"])
    chosen = (*_chosen(grid.strategies, strategies), *_chosen(grid.workloads, workloads))
    for name in (*grid.set, *grid.axes, *(name for variant in grid.variants for name in variant)):
        owner, dot, parameter = name.partition(".")
        if not (owner and dot and parameter):
            raise UserError(f"{name!r} is no NAME.PARAM, like guest.memory")
        if owner not in (*chosen, *GROUPS, *THE_CELLS_OWN):
            raise unknown(f"{name}: nothing in it is called", owner, [*chosen, *GROUPS, *THE_CELLS_OWN])
    lists = (grid.strategies, grid.workloads, grid.variants, grid.seeds, *grid.axes.values())
    if math.prod(len(each) for each in lists) > MOST_CELLS:
        raise UserError(f"its lists make over {MOST_CELLS:,} cells; split it or shorten them")


def _chosen(names: Sequence[str], known: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(each for name in names for each in (known if name == "all" else (name,))))


def _experiments(
    grid: Grid, strategies: Mapping[str, type[Strategy]], workloads: Mapping[str, type[Workload]]
) -> Iterator[Experiment]:
    """The seed turns slowest and the strategy fastest, so what drifts on the machine falls on all alike."""
    asked = [
        Options([strategy], workload, texts, preset=grid.preset, profile=grid.profile, testbed=grid.testbed)
        for settings in _settings(grid)
        for workload in _chosen(grid.workloads, workloads)
        for strategy in _chosen(grid.strategies, strategies)
        for texts in (_texts(settings, strategy, workload),)
    ]
    # Where an axis means nothing to a strategy its cells are equal, and need not be made to be found so.
    different = {(*each.strategies, each.workload, *each.settings): each for each in asked}
    first = [each for options in different.values() for each in asked_for(options, strategies, workloads)]
    for seed in grid.seeds:
        for experiment in first:
            yield dataclasses.replace(experiment, seed=seed)


def _settings(grid: Grid) -> Iterator[Texts]:
    for variant in grid.variants:
        for values in itertools.product(*grid.axes.values()):
            settings: Texts = {}
            for part in (grid.set, variant, dict(zip(grid.axes, values, strict=True))):
                for name in part:
                    if name in settings:
                        raise UserError(f"{name} is set twice: to {settings[name]!r} and to {part[name]!r}")
                settings.update(part)
            yield settings


def _texts(settings: Texts, strategy: str, workload: str) -> tuple[str, ...]:
    """As `--set` takes them. Parameters of a strategy or workload that the cell is not about fall away."""
    own = {"strategy": strategy, "workload": workload}
    texts = []
    for name, text in settings.items():
        owner, _, parameter = name.partition(".")
        owner = own.get(owner, owner)
        if owner in (strategy, workload, *GROUPS):
            texts.append(f"{owner}.{parameter}={text}")
    return tuple(texts)
