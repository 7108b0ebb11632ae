"""Throughput against frame size, with what the wire can carry; and any measure against any parameter."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfbench.errors import UserError
from vfbench.records import RUNS
from vfbench.report.figures.canvas import (
    WHISKERS,
    caption,
    drawn,
    legend,
    legend_of,
    paper,
    spread,
    thousands,
    tick_label,
)
from vfbench.report.figures.look import INK
from vfbench.report.figures.series import Series, measured, plain, series_of
from vfbench.report.groups import setting_name, setting_text

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME_SIZE = "workload.frame_bytes"
LINK_RATE = "link.rate_bps"
FRAME_SIZE_LABEL = "frame size with FCS (bytes)"
DELIVERED = "Delivered to the guest's application in the steady state; Gb/s counts frame + 20 bytes."
MOST_LINES = 6
"""More than these in one pair of axes can't be told apart; each gets a panel then."""
PANEL_COLUMNS = 4
NAMES = {"gbps": "throughput", "stale_pages_payload": "stale packet pages"}
"""What an axis calls a measure whose column is terse."""
DODGE = 0.5
"""Of the distance between two words, what the series are spread over."""
GIGA = 1e9
LEVEL = 0.99
"""This share of the best other's throughput or more is level with it."""
MIB = 1 << 20
_UNITS = {column.name: (column.meaning, column.unit) for column in RUNS}


@drawn
def throughput_by_frame_size(runs: pandas.DataFrame) -> Figure:
    """Gb/s in the steady state over the frame size in bytes (FCS included), and the link's rate as a line.

    Of the runs whose workload has one frame size; UserError if there is none.
    """
    if FRAME_SIZE not in runs.columns or runs[FRAME_SIZE].isna().all():
        raise UserError("no run has a workload of one frame size: nothing to draw throughput against")
    rows = measured(runs[runs[FRAME_SIZE].notna()])
    series = series_of(rows, along=[FRAME_SIZE])
    if len(series) > MOST_LINES:
        return _small_multiples(series)
    figure, axes = paper(1, 1, 3.9)
    for each in series:
        _line(axes, each, FRAME_SIZE, "gbps")
    _frame_size_axes(axes, rows)
    axes.set_xlabel(FRAME_SIZE_LABEL)
    axes.set_ylabel("throughput (Gb/s)")
    legend(figure, axes)
    caption(figure, series, WHISKERS, DELIVERED)
    return figure


def _frame_size_axes(axes: Axes, rows: pandas.DataFrame) -> None:
    for rate in sorted(set(rows[LINK_RATE])):
        axes.axhline(rate / GIGA, color=INK, linestyle=(0, (1, 1)), linewidth=1.2, label="line rate")
    sizes = sorted({int(size) for size in rows[FRAME_SIZE]})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.tick_params(axis="x", rotation=45 if len(sizes) > 8 else 0)
    axes.set_ylim(bottom=0)


def _small_multiples(series: Sequence[Series]) -> Figure:
    """A panel for each variant of the strategy that has most of them, the other strategies beside it in each."""
    import pandas

    most = Counter(each.strategy for each in series).most_common(1)[0][0]
    own = [each for each in series if each.strategy == most]
    others = [dataclasses.replace(each, size=0.0) for each in series if each.strategy != most]
    others = others if len(others) <= MOST_LINES else []
    own = own if others else list(series)
    every = pandas.concat([each.rows for each in series])
    rows = -(-len(own) // PANEL_COLUMNS)
    figure, grid = paper(rows, PANEL_COLUMNS, 0.9 + 1.7 * rows, sharex=True, sharey=True, squeeze=False)
    for axes, each in zip(grid.flat, own, strict=False):
        for one in (*others, dataclasses.replace(each, size=0.4, line="-")):
            _line(axes, one, FRAME_SIZE, "gbps")
        _frame_size_axes(axes, every)
        title = each.label.removeprefix(f"{most} ") if others else each.label
        message = _against_best(each, others)
        axes.set_title(
            tick_label(title, 26) + (f"\n{message}" if message else ""), fontsize=8, fontweight="normal"
        )
    for axes in list(grid.flat)[len(own) :]:
        axes.set_visible(False)
    for column in range(PANEL_COLUMNS):  # the lowest panel of each column bears the ticks
        lowest = max(n for n in range(len(own)) if n % PANEL_COLUMNS == column % len(own))
        list(grid.flat)[lowest].tick_params(axis="x", labelbottom=True)
    figure.supylabel("throughput (Gb/s)", fontsize=9, color=INK)
    handles, names = grid.flat[0].get_legend_handles_labels()
    entries = dict(
        zip((most if name == own[0].label and others else name for name in names), handles, strict=True)
    )
    if not others:
        entries.pop(own[0].label, None)
    legend_of(figure, list(entries.values()), list(entries))
    variants = f"A panel for each variant of {most}. " if others else ""
    caption(figure, series, f"{variants}Across: {FRAME_SIZE_LABEL}.", WHISKERS, DELIVERED)
    return figure


def _against_best(series: Series, others: Sequence[Series]) -> str:
    """A panel's message: how far the variant falls behind the best of the others, and at which frame size."""
    shares = []
    for size, part in series.rows.groupby(FRAME_SIZE):
        rivals = [each.rows.loc[each.rows[FRAME_SIZE] == size, "gbps"].median() for each in others]
        best = max((rate for rate in rivals if rate == rate), default=0.0)
        own = part["gbps"].median()
        if own == own and best > 0:
            shares.append((float(own) / float(best), int(str(size))))
    if not shares:
        return ""
    worst, size_bytes = min(shares)
    if worst >= LEVEL:
        return "level with the best other"
    return f"down to {100 * worst:.0f} % of the best other, at {size_bytes} B"


@drawn
def measure_against(runs: pandas.DataFrame, parameter: str, measure: str) -> Figure:
    """A measure of `schema.RUNS` over a parameter like `strategy.entries`; its values evenly spaced.

    Of the runs that have the parameter and the measure; UserError if there is none.
    """
    if parameter not in runs.columns or measure not in _UNITS:
        raise UserError(f"these runs have no parameter {parameter!r} or no measure {measure!r}")
    rows = measured(runs[runs[parameter].notna() & runs[measure].notna()])
    series = series_of(rows, along=[parameter])
    figure, axes = paper(1, 1, 3.6)
    scale = MIB if _UNITS[measure][1] == "bytes" else 1
    values = rows[parameter].drop_duplicates().tolist()
    in_words = any(isinstance(value, str | bool) for value in values)
    values = values if in_words else sorted(values)
    for number, each in enumerate(series):
        shift = DODGE * ((number + 0.5) / len(series) - 0.5) if in_words else 0.0
        places = {value: place + shift for place, value in enumerate(values)}
        _line(axes, each, parameter, measure, places, scale, joined=not in_words)
    owner, _, field = parameter.partition(".")
    axes.set_xticks(range(len(values)), [setting_text(field, plain(value)) for value in values])
    axes.set_xlim(*((-0.5, len(values) - 0.5) if in_words else (-0.15, len(values) - 0.85)))
    axes.set_ylim(0, max(1.06 * axes.get_ylim()[1], 1))
    axes.yaxis.set_major_formatter(thousands)
    meaning, unit = _UNITS[measure]
    unit = "MiB" if unit == "bytes" else unit
    axes.set_xlabel(f"{owner}: {setting_name(field)}")
    name = NAMES.get(measure, measure.replace("_", " "))
    axes.set_ylabel(f"{name} ({unit})" if unit else name)
    legend(figure, axes)
    caption(figure, series, WHISKERS, f"{measure}: {meaning}.")
    return figure


def _line(
    axes: Axes,
    series: Series,
    x: str,
    y: str,
    places: dict[object, float] | None = None,
    scale: float = 1,
    *,
    joined: bool = True,
) -> None:
    """Medians over the repeats at each x, in its order, with whiskers; `joined` where there is a way between them."""
    points = [
        (places[value] if places else float(str(value)), *spread(part[y].dropna() / scale))
        for value, part in series.rows.groupby(x, sort=True)
        if part[y].notna().any()
    ]
    points.sort()
    if points:
        at, middle, below, above = zip(*points, strict=True)
        style = series.style() | ({} if joined else {"linestyle": "none", "markersize": 9})
        axes.errorbar(at, middle, yerr=[below, above], capsize=2.5, elinewidth=0.9, clip_on=False, **style)
