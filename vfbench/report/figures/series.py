"""From a frame of records to the series of a figure: the repeats of one experiment, under one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.report.figures.look import INK, LINES, Look, look
from vfbench.report.groups import MEASURED, aspect, labels

if TYPE_CHECKING:
    import pandas

IDENTITY = ("strategy", "workload", "testbed", "profile_digest")


@dataclass(frozen=True)
class Series:
    """Runs that differ in their seed only (or in `along`), what to call them, and how they look."""

    label: str
    strategy: str
    rows: pandas.DataFrame
    look: Look
    line: Any
    size: float
    """1 for the first of a figure, less for each that is drawn over it: equal values show as rings."""

    @property
    def repeats(self) -> int:
        """Runs in it, counted by seed."""
        return int(self.rows["seed"].nunique())

    def style(self) -> dict[str, Any]:
        """Of a line: the strategy's colour and marker, the variant's dashes; outlined, so colour can go."""
        return {
            "color": self.look.colour,
            "marker": self.look.marker,
            "linestyle": self.line,
            "label": self.label,
            "markeredgecolor": INK,
            "markeredgewidth": 0.6,
            "markersize": 4.5 + 5.5 * self.size,
            "linewidth": 1.0 + 2.6 * self.size,
        }


def measured(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The rows of runs that count; UserError if there is none, or runs of two testbeds or profiles."""
    rows = frame[frame["state"].isin(MEASURED)]
    if rows.empty:
        raise UserError("no run that was measured: there is nothing to draw")
    for name in ("testbed", "profile_digest"):
        found = sorted({str(value) for value in rows[name]})
        if len(found) > 1:
            raise UserError(
                f"runs of {name} {' and '.join(found)} are never put in one figure: choose one of them"
            )
    return rows


def series_of(rows: pandas.DataFrame, along: Sequence[str] = ()) -> list[Series]:
    """The series in order of appearance; parameters named in `along` don't set two series apart."""
    settings = [name for name in rows.columns if "." in name and name not in along]
    keys = [name for name in (*IDENTITY, *settings) if name in rows.columns]
    members = [part for _, part in rows.groupby(keys, sort=False, dropna=False)]
    named = labels([_aspects(part.iloc[0], settings) for part in members])
    seen: dict[str, int] = {}
    found: list[Series] = []
    for label, part in zip(named, members, strict=True):
        strategy = str(part["strategy"].iloc[0])
        variant = seen[strategy] = seen.get(strategy, -1) + 1
        line, size = LINES[variant % len(LINES)], 1 - len(found) / len(members)
        found.append(Series(label, strategy, part, look(strategy), line, size))
    return found


def _aspects(row: Any, settings: Sequence[str]) -> dict[str, str]:
    import pandas

    aspects = {name: str(row[name]) for name in ("strategy", "workload", "testbed")}
    for name in settings:
        if not pandas.isna(row[name]):
            aspects.update([aspect(name, plain(row[name]))])
    return aspects


def plain(value: Any) -> Any:
    """A frame's cell as Python's own type; pandas turns whole numbers into floats where others are missing."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
