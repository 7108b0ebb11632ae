"""Latency: the median and the tail, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import NullFormatter

from vfbench.report.figures.canvas import WHISKERS, caption, drawn, legend, paper, require, spread, thousands
from vfbench.report.figures.look import FAINT
from vfbench.report.figures.series import measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

PERCENTILES = {"p50": "latency_p50_us", "p99": "latency_p99_us", "p99.9": "latency_p999_us"}
DECADE = 10
"""Within less than one, only the ticks between can say what the axis shows."""
DODGE = 0.6
"""Of the distance between two percentiles, what the series are spread over, so that none hides another."""


@drawn
def latency_percentiles(runs: pandas.DataFrame) -> Figure:
    """Time from the wire to the application in us, steady state, logarithmic."""
    series = series_of(measured(runs))
    require(series, PERCENTILES.values(), "latency")
    figure, axes = paper(1, 1, 3.6)
    for number, each in enumerate(series):
        shift = DODGE * ((number + 0.5) / len(series) - 0.5)
        points = [
            (place + shift, *spread(each.rows[measure].dropna()))
            for place, measure in enumerate(PERCENTILES.values())
            if each.rows[measure].notna().any()
        ]
        if points:
            at, middle, below, above = zip(*points, strict=True)
            style = each.style() | {"linestyle": "none", "markersize": 8}
            axes.errorbar(at, middle, yerr=[below, above], capsize=2.5, elinewidth=0.9, **style)
    axes.set_xticks(range(len(PERCENTILES)), list(PERCENTILES))
    axes.set_xlim(-0.5, len(PERCENTILES) - 0.5)
    for edge in range(1, len(PERCENTILES)):
        axes.axvline(edge - 0.5, color=FAINT, linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(thousands)
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_formatter(thousands if high / low < DECADE else NullFormatter())
    axes.set_xlabel("percentile of the packets delivered")
    axes.set_ylabel("wire to application (us, logarithmic)")
    legend(figure, axes)
    caption(figure, series, WHISKERS, "Steady state.")
    return figure
