"""The ranking at the top of the page: a row for each variant, whole ones first, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from vfbench.records.damage import DAMAGED, WHOLE
from vfbench.report.columns import BY_NAME, Shown
from vfbench.report.groups import Group
from vfbench.report.numbers import number
from vfbench.report.table import MISSING, cell_text
from vfbench.report.watched import PROCESSOR_TIME

CYCLES = Shown("cycles a packet", PROCESSOR_TIME.measure, number, timed=True, of=PROCESSOR_TIME.of)
COLUMNS = (
    BY_NAME["gbps"],
    BY_NAME["tx_gbps"],
    BY_NAME["gbps_migrating"],
    BY_NAME["service_gap_ms"],
    CYCLES,
    BY_NAME["latency_p99_us"],
    BY_NAME["resent_bytes"],
)
ORDER = {WHOLE: 0, DAMAGED: 1, None: 2}


@dataclass(frozen=True)
class Ranked:
    """A row: texts, and by column the number to sort by (None where there is none)."""

    label: str
    group: Group
    cells: tuple[tuple[str, float | None], ...]


def ranking(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[Ranked, ...]]:
    """The titles of the columns that were measured, and the rows: whole ones first.

    Among equals the faster one, by the digits that are shown; then the one with the shorter gap; then the cheaper one.
    """
    shown = [each for each in COLUMNS if any(cell_text(group, each) != MISSING for group in groups)]
    rows = [Ranked(group.label, group, tuple(_cell(group, each) for each in shown)) for group in groups]
    rows.sort(key=lambda row: (ORDER[row.group.damage.verdict], *_merit(row.group)))
    return tuple(each.title.replace("\n", " ") for each in shown), tuple(rows)


def _cell(group: Group, shown: Shown) -> tuple[str, float | None]:
    text = cell_text(group, shown)
    values = sorted(value for record in group.measured if (value := shown.value(record)) is not None)
    return ("\u2013" if text == MISSING else text), (values[len(values) // 2] if values else None)


def _merit(group: Group) -> tuple[float, float, float]:
    gbps, gap_ms = group.median("gbps"), group.median("service_gap_ms")
    cycles = [value for record in group.measured if (value := CYCLES.value(record)) is not None]
    return (
        -float(f"{gbps or 0.0:.2e}"),
        math.inf if gap_ms is None else gap_ms,
        median(cycles) if cycles else math.inf,
    )
