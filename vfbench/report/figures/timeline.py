"""The migration over time: Gb/s per interval, a strip per series, with its phases behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.patches import Patch

from vfbench.report.figures.canvas import bar_height_in, caption, drawn, paper, tick_label
from vfbench.report.figures.look import INK, MUTED
from vfbench.report.figures.series import Series, measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASES: dict[str, dict[str, Any]] = {
    "steady": {"facecolor": "#ffffff00"},
    "migrating": {"facecolor": "#8a8f983a"},
    "blackout": {"facecolor": "#8a8f98c0", "hatch": "xx"},
    "after": {"facecolor": "#8a8f9818", "hatch": "///"},
}
"""How the background of a phase looks; no phase is told by its shade alone."""
HEADROOM = 1.12
MANY_STRIPS = 8
LONGER = 1.5
"""How much longer than those that completed a migration may be drawn before the axis is cut."""
STILL_SENDING = 0.5
"""Less than this share of the usual packets at the end of a run is the peer ending, not the strategy."""
"""The axis reaches further than the fastest interval, so that no line lies on its edge."""


@drawn
def migration_timeline(intervals: pandas.DataFrame) -> Figure:
    """Gb/s delivered per interval over the time from the end of the warm-up; each series' first run."""
    series = series_of(measured(intervals))
    shown = [_first_run(each) for each in series]
    height = 1.6 + bar_height_in(series, 0.85 if len(series) <= MANY_STRIPS else 0.55)
    figure, grid = paper(len(series), 1, height, sharex=True, sharey=True, squeeze=False)
    strips = grid[:, 0]
    for axes, each in zip(strips, shown, strict=True):
        _phases(axes, each)
        _throughput(axes, each)
        axes.set_title(tick_label(each.label, 90), fontsize=9, color=INK, fontweight="normal", pad=3)
    fastest = max(float(each.rows["gbps"].max()) for each in shown)
    strips[0].set_ylim(0, HEADROOM * fastest if fastest > 0 else 1)
    strips[0].margins(x=0)
    _cut(strips, shown)
    figure.supylabel("throughput (Gb/s)", fontsize=9, color=INK)
    strips[-1].set_xlabel("time since the end of the warm-up (ms)")
    patches = [Patch(edgecolor=MUTED, linewidth=0.6, label=name, **look) for name, look in PHASES.items()]
    figure.legend(handles=patches, loc="outside upper left", ncols=len(PHASES))
    seeds = sorted({int(each.rows["seed"].iloc[0]) for each in shown})
    length = max(float(each.rows["length_ms"].max()) for each in series)
    caption(
        figure,
        series,
        f"Delivered per interval of {length:.3g} ms, cut where a phase ends; "
        f"shown is the run with seed {', '.join(map(str, seeds))}.",
    )
    return figure


def _cut(strips: Sequence[Axes], shown: Sequence[Series]) -> None:
    """End the axis where the last migration that completed ends; of what goes on longer, say for how long."""
    ends = [float(each.rows["start_ms"].iloc[-1] + each.rows["length_ms"].iloc[-1]) for each in shown]
    completed = [end for end, each in zip(ends, shown, strict=True) if each.rows["state"].iloc[0] == "ok"]
    if not completed or max(ends) <= LONGER * max(completed):
        return
    strips[0].set_xlim(0, max(completed))
    for axes, end in zip(strips, ends, strict=True):
        if end > max(completed):
            words = f"never completed; given up after {end:,.0f} ms"
            axes.annotate(
                words, (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=8, color=MUTED
            )


def _first_run(series: Series) -> Series:
    rows = series.rows
    first = rows[rows["experiment"] == rows["experiment"].iloc[0]].sort_values("interval")
    return dataclasses.replace(series, rows=without_slivers(without_the_end(first)))


def without_the_end(rows: pandas.DataFrame) -> pandas.DataFrame:
    """One run's intervals without those at its end in which the peer had stopped sending: their dip means nothing."""
    if "packets_offered" not in rows or rows["packets_offered"].isna().any():
        return rows
    offered = rows["packets_offered"] / rows["length_ms"]
    usual = STILL_SENDING * float(offered.median())
    last = len(rows)
    while last > 1 and rows["phase"].iloc[last - 1] == "after" and float(offered.iloc[last - 1]) < usual:
        last -= 1
    ended = rows.iloc[:last]
    return ended if (ended["phase"] == "after").any() else rows


def without_slivers(rows: pandas.DataFrame) -> pandas.DataFrame:
    """One run's intervals, those cut to less than half by the end of their phase joined to the one before.

    In a fraction of an interval a single poll is a rate that no wire carries. A phase of one such interval keeps it.
    """
    lasted = rows["length_ms"]
    is_sliver = (lasted < lasted.median() / 2) & (rows["phase"] == rows["phase"].shift())
    parts = (~is_sliver).cumsum()
    length_ms = lasted.groupby(parts).sum()
    gbps = (rows["gbps"] * lasted).groupby(parts).sum() / length_ms
    return rows.groupby(parts).first().assign(length_ms=length_ms, gbps=gbps)


def _phases(axes: Axes, series: Series) -> None:
    """A span per stretch of intervals of one phase."""
    rows = series.rows
    stretch = (rows["phase"] != rows["phase"].shift()).cumsum()
    for _, part in rows.groupby(stretch):
        phase = str(part["phase"].iloc[0])
        if phase in PHASES:
            end = part["start_ms"].iloc[-1] + part["length_ms"].iloc[-1]
            axes.axvspan(
                part["start_ms"].iloc[0], end, linewidth=0, zorder=0, edgecolor=MUTED, **PHASES[phase]
            )


def _throughput(axes: Axes, series: Series) -> None:
    rows = series.rows
    edges = [*rows["start_ms"], rows["start_ms"].iloc[-1] + rows["length_ms"].iloc[-1]]
    axes.stairs(rows["gbps"], edges, baseline=None, color=series.look.colour, linewidth=1.8, zorder=3)
