"""The table relative to a baseline: medians with their intervals, and how each stands to the baseline's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vfbench import statistics
from vfbench.errors import UserError
from vfbench.parameters import unknown
from vfbench.records import Record
from vfbench.records.damage import Damage
from vfbench.report.groups import Group
from vfbench.report.numbers import number
from vfbench.report.scenarios import Scenario
from vfbench.report.watched import DAMAGE, HEADLINE, Watched

NEGLIGIBLE = 0.005
"""A ratio nearer to 1 than this is called the same, however sure it is."""


@dataclass(frozen=True)
class Cell:
    """Texts: the median, its interval, its ratio to the baseline, and a word on it: better, worse, same, unclear."""

    median: str = ""
    interval: str = ""
    ratio: str = ""
    standing: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Row:
    """A strategy's variant."""

    label: str
    damage: Damage
    states: str
    runs: int
    is_baseline: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Comparison:
    """The columns that were measured anywhere, and a row per variant; `baseline` is empty if it did not run here."""

    baseline: str
    columns: tuple[Watched, ...]
    rows: tuple[Row, ...]


def choose_baseline(records: Iterable[Record], wanted: str | None) -> str:
    """The strategy that was asked for, or the one that ran first; UserError for one that did not run."""
    names = list(dict.fromkeys(str(record.run["strategy"]) for record in records))
    if not names:
        raise UserError("there are no runs, so there is no baseline")
    if wanted is not None and wanted not in names:
        raise unknown("--baseline: no run is of a strategy", wanted, names)
    return wanted or names[0]


def compared(scenario: Scenario, baseline: str) -> Comparison:
    """Every variant of the scenario against the first variant of the strategy `baseline`."""
    candidates = [
        each for each in scenario.groups if each.first.run["strategy"] == baseline and each.measured
    ]
    reference = candidates[0] if candidates else None
    columns = tuple(each for each in (*HEADLINE, *DAMAGE) if _is_measured(each, scenario.groups))
    rows = tuple(
        Row(
            group.label,
            group.damage,
            group.states,
            len(group.records),
            group is reference,
            tuple(_cell(each, group, reference) for each in columns),
        )
        for group in scenario.groups
    )
    return Comparison(reference.label if reference else "", columns, rows)


def _is_measured(watched: Watched, groups: Sequence[Group]) -> bool:
    """Damage of a kind that never happened needs no column."""
    values = [value for group in groups for value in watched.values(group.measured)]
    return any(values) if watched in DAMAGE else bool(values)


def _cell(watched: Watched, group: Group, reference: Group | None) -> Cell:
    values = watched.values(group.measured)
    if not values:
        return Cell()
    if watched in DAMAGE:
        worst = max(values)
        hit = sum(value > 0 for value in values)
        return Cell(watched.text(worst), f"in {hit} of {len(values)} runs" if hit and len(values) > 1 else "")
    found = statistics.estimate(values)
    median = watched.text(found.median)
    low, high = (median if math.isnan(edge) else watched.text(edge) for edge in (found.low, found.high))
    interval = "" if low == high == median else f"{low} to {high}"
    if reference is None or group is reference:
        return Cell(median, interval)
    against = statistics.compare(values, watched.values(reference.measured))
    return Cell(
        median, interval, ratio_text(against), of_damaged(standing(watched, against), group), against.warning
    )


def of_damaged(word: str, group: Group) -> str:
    """Nothing that a damaged variant does is better: what it delivered was not what was sent."""
    return "damaged" if word == "better" and group.damage.damaged else word


def ratio_text(against: statistics.Comparison) -> str:
    """`1.23`; `from 0` where there is no ratio because the baseline is 0."""
    if not math.isnan(against.ratio.ratio):
        return number(against.ratio.ratio)
    return "from 0" if against.direction else ""


def standing(watched: Watched, against: statistics.Comparison) -> str:
    """By the intervals; a rank test that can't confirm them with so few repeats is left to the warning.

    `unclear` where the intervals don't tell, and where a side has no value: nothing is never better.
    """
    if against.outcome == "same" or abs(against.ratio.ratio - 1) < NEGLIGIBLE:
        return "same"
    if not against.direction:
        return "unclear"
    return "better" if against.direction == watched.better else "worse"
