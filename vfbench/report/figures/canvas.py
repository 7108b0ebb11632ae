"""The paper that every figure is drawn on: its size, its legend above, its caption below."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vfbench.errors import UserError
from vfbench.report.figures.look import INK, MUTED, RC
from vfbench.report.figures.series import Series

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

WIDTH_IN = 7.6
CAPTION_WIDTH = 138
"""Characters of the caption's size that fit the width."""

LEGEND_ROW_IN = 0.18
"""What each row of a legend after the first adds to a figure's height, so that the axes keep theirs."""

TESTBED_NOTES = {True: "guest code was emulated: times and throughput don't count"}

_P = ParamSpec("_P")


def drawn(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """A figure function that draws in the report's style, whatever its caller has set."""

    @functools.wraps(draw)
    def styled(*arguments: _P.args, **named: _P.kwargs) -> Figure:
        with matplotlib.rc_context(RC):
            return draw(*arguments, **named)

    return styled


def paper(rows: int, columns: int, height_in: float, **more: Any) -> tuple[Figure, Any]:
    """A figure without a screen, and its axes as `Figure.subplots` gives them."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots(rows, columns, **more)


def legend(figure: Figure, axes: Axes) -> None:
    """One legend above everything: the series in their order, then whatever else is labelled."""
    found = zip(*axes.get_legend_handles_labels(), strict=True)
    entries = sorted(found, key=lambda entry: not isinstance(entry[0], Container))
    legend_of(figure, [handle for handle, _ in entries], [name for _, name in entries])


def legend_of(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """The legend above everything, in as many columns as the width takes."""
    longest = max((len(name) for name in names), default=1)
    columns = max(1, min(len(names), 108 // (longest + 8)))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LEGEND_ROW_IN * ((len(names) - 1) // columns))
    # matplotlib fills column after column; who reads, reads row after row.
    order = [number for column in range(columns) for number in range(column, len(names), columns)]
    figure.legend(
        [handles[number] for number in order],
        [names[number] for number in order],
        loc="outside upper left",
        ncols=columns,
        handlelength=2.8,
    )


def horizontal_bars(axes: Axes, series: Sequence[Series], furthest: float, ticks: int = 4) -> None:
    """Axes of horizontal bars, one per series from the top, with room for figures beyond the longest."""
    axes.set_yticks(range(len(series)), [tick_label(each.label) for each in series])
    axes.set_ylim(len(series) - 0.5, -0.5)
    axes.set_xlim(0, 1.28 * furthest or 1)
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(ticks))
    axes.xaxis.set_major_formatter(thousands)


def thousands(value: float, place: float) -> str:
    """A tick's label; matplotlib hands over its place, too."""
    return f"{value:,.10g}"


def caption(figure: Figure, series: Sequence[Series], *words: str, times: bool = True) -> None:
    """Below the figure: what else there is to know, then testbed, profile and repeats.

    `times`: the figure shows times or throughput, which don't count where guest code was emulated.
    """
    rows = series[0].rows
    where = [f"testbed {rows['testbed'].iloc[0]}"]
    if "profile" in rows.columns:
        where.append(f"costs of profile {rows['profile'].iloc[0]}")
    text = " ".join([f"{', '.join(where).capitalize()}; {repeats(series)}.", *words])
    functional = any(bool(each.rows["functional"].fillna(False).any()) for each in series)
    if functional and times:
        text = f"Functional only: {TESTBED_NOTES[True]}. {text}"
        figure.text(
            0.5,
            0.5,
            "times don't count",
            ha="center",
            va="center",
            fontsize=30,
            color=MUTED,
            alpha=0.25,
            zorder=0,
        )
    figure.supxlabel(
        textwrap.fill(text, CAPTION_WIDTH), x=0.01, ha="left", fontsize=7.5, color=MUTED, linespacing=1.35
    )


def repeats(series: Sequence[Series]) -> str:
    """`3 runs each`, or from how many to how many."""
    counts = sorted({each.repeats for each in series})
    if counts == [1]:
        return "1 run each"
    return f"{counts[0]} runs each" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs each"


def tick_label(label: str, width: int = 24) -> str:
    """A series' label over as many lines as it takes beside a bar."""
    return "\n".join(textwrap.wrap(label, width, break_on_hyphens=False)) or label


def bar_height_in(series: Sequence[Series], each_in: float, lines_in: float = 0.15) -> float:
    """Room for a row of bars per series, its label's lines counted."""
    return sum(max(each_in, lines_in * (tick_label(one.label).count("\n") + 2)) for one in series)


def require(series: Sequence[Series], measures: Iterable[str], what: str) -> None:
    """UserError unless one of the measures was measured in some run."""
    wanted = list(measures)
    if all(each.rows[wanted].isna().all(axis=None) for each in series):
        raise UserError(f"no run measured {what}: there is nothing to draw")


def spread(values: pandas.Series) -> tuple[float, float, float]:
    """Median, and how far the least lies below and the greatest above it."""
    middle = float(values.median())
    return middle, middle - float(values.min()), float(values.max()) - middle


WHISKERS = "Points are medians, whiskers reach from the least to the greatest."
EDGE: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.6}
