"""Every measure relative to a baseline: median, its interval, the ratio and its interval, and what to make of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

from vfbench import statistics
from vfbench.records import Record
from vfbench.records.damage import Damage
from vfbench.report.against_baseline import choose_baseline, ratio_text, standing
from vfbench.report.blocks import Column, rendered, width_of, wrap_line
from vfbench.report.groups import Group
from vfbench.report.scenarios import Scenario, scenarios
from vfbench.report.watched import HEADLINE, Watched


@dataclass(frozen=True)
class RelativeRow:
    """A variant's measure beside the baseline's; `comparison` is None for the baseline itself."""

    scenario: str
    label: str
    watched: Watched
    damage: Damage
    """No figure of a damaged variant is better than one of a whole one."""
    estimate: statistics.Estimate
    comparison: statistics.Comparison | None

    @property
    def standing(self) -> str:
        """`better`, `worse`, `same`, `unclear`, or `baseline`; `damaged` in place of `better` where a run is."""
        if self.comparison is None:
            return "baseline"
        word = standing(self.watched, self.comparison)
        return "damaged" if word == "better" and self.damage.damaged else word

    def to_json(self) -> dict[str, Any]:
        """Plain values; what there is none of is null."""
        document: dict[str, Any] = {
            "scenario": self.scenario,
            "variant": self.label,
            "integrity": self.damage.to_json(),
            "measure": self.watched.measure,
            "unit": self.watched.unit,
            "median": _finite(self.estimate.median),
            "low": _finite(self.estimate.low),
            "high": _finite(self.estimate.high),
            "repeats": self.estimate.n,
            "standing": self.standing,
        }
        if self.comparison is not None:
            ratio = self.comparison.ratio
            document |= {
                "ratio": _finite(ratio.ratio),
                "ratio_low": _finite(ratio.low),
                "ratio_high": _finite(ratio.high),
                "p": _finite(self.comparison.test.p),
                "warning": self.comparison.warning,
            }
        return document


def relative_rows(records: Sequence[Record], wanted: str) -> list[RelativeRow]:
    """By scenario and measure; scenarios in which the baseline was not measured have none.

    UserError for a baseline that did not run.
    """
    baseline = choose_baseline(records, wanted)
    return [row for scenario in scenarios(records) for row in _rows(scenario, baseline)]


def print_relative(rows: Sequence[RelativeRow], baseline: str, file: TextIO) -> None:
    """A table for each scenario, and the warnings below; of a width that fits `file`."""
    width = width_of(file)
    for title in dict.fromkeys(row.scenario for row in rows):
        own = [row for row in rows if row.scenario == title]
        lines = [f"Relative to {baseline}: {title}", *_table_lines(own, width), *_warnings(own)]
        click.echo(file=file)
        for line in (part for text in lines for part in wrap_line(text, width)):
            click.echo(line, file=file)


def _table_lines(rows: Sequence[RelativeRow], width: int) -> Iterable[str]:
    texts = [_texts(row) for row in rows]
    starts = [n == 0 or rows[n - 1].watched is not row.watched for n, row in enumerate(rows)]
    measures = tuple(_measure(row.watched) if first else "" for row, first in zip(rows, starts, strict=True))
    columns = [
        Column("measure", measures, left=True),
        *(
            Column(title, tuple(text[number] for text in texts))
            for number, title in enumerate(("median", "interval", "ratio", "its interval"))
        ),
        Column("", tuple(_word(row) for row in rows), left=True),
        Column("verdict", tuple(row.damage.short for row in rows), left=True),
    ]
    return rendered([row.label for row in rows], columns, width, bold=False)


def _rows(scenario: Scenario, baseline: str) -> Iterable[RelativeRow]:
    measured = [group for group in scenario.groups if group.measured]
    candidates = [group for group in measured if group.first.run["strategy"] == baseline]
    if not candidates:
        return
    reference = candidates[0]
    for watched in HEADLINE:
        if watched.values(reference.measured):
            for group in (reference, *(each for each in measured if each is not reference)):
                yield _row(scenario, group, reference, watched)


def _row(scenario: Scenario, group: Group, reference: Group, watched: Watched) -> RelativeRow:
    values = watched.values(group.measured)
    comparison = (
        None if group is reference else statistics.compare(values, watched.values(reference.measured))
    )
    return RelativeRow(
        scenario.title,
        group.label,
        watched,
        group.damage,
        statistics.estimate(values),
        comparison,
    )


def _word(row: RelativeRow) -> str:
    """Nothing of a single repeat: a line below says that it has no interval."""
    single = row.comparison is not None and row.comparison.ratio.method == "single"
    return "" if single else row.standing


def _measure(watched: Watched) -> str:
    return f"{watched.title}, {watched.unit}" if watched.unit else watched.title


def _texts(row: RelativeRow) -> tuple[str, str, str, str]:
    text = row.watched.text
    found = row.estimate
    median = "-" if math.isnan(found.median) else text(found.median)
    interval = _interval(found.low, found.high, text)
    if row.comparison is None:
        return median, interval, "", ""
    ratio = row.comparison.ratio
    edges = _interval(ratio.low, ratio.high, lambda edge: f"{edge:.3g}")
    return median, interval, ratio_text(row.comparison), edges


def _interval(low: float, high: float, text: Any) -> str:
    return "" if math.isnan(low) else f"{text(low)} to {text(high)}"


def _warnings(rows: Sequence[RelativeRow]) -> Iterable[str]:
    """How the intervals were made, and where they don't tell."""
    methods = {row.estimate.method for row in rows}
    if methods & {"range"}:
        yield "Fewer than 6 repeats: an interval is the range of the repeats."
    if methods & {"bootstrap"}:
        yield f"Intervals: bootstrap, {statistics.LEVEL:.0%}."
    if methods <= {"single", "none"}:
        yield "One repeat each: no intervals; --repeat 6 or more gives them."
        return
    warned = dict.fromkeys(
        f"{row.watched.title}, {row.label}: {row.comparison.warning}"
        for row in rows
        if row.comparison is not None and row.comparison.warning and row.standing == "unclear"
    )
    yield from warned


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
