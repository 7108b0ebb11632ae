"""The downtime, part by part, beside the gap that the peer sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib import colormaps
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vfbench.report.figures.canvas import (
    EDGE,
    bar_height_in,
    caption,
    drawn,
    horizontal_bars,
    legend_of,
    paper,
)
from vfbench.report.figures.look import INK
from vfbench.report.figures.series import Series, measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {
    "quiesce_ms": ("quiesce", "///"),
    "final_sync_ms": ("final sync", "|||"),
    "final_copy_ms": ("final copy", ""),
    "emulator_ms": ("emulator", "ooo"),
    "state_transfer_ms": ("VF state", "xxx"),
    "remap_ms": ("maps", "+++"),
    "restore_ms": ("restore", "\\\\\\"),
    "announce_ms": ("announce", "---"),
}

SHADES = colormaps["cividis"].resampled(len(PARTS))
"""No strategy's colours; legible without telling red from green."""
GAP: dict[str, Any] = {"marker": "|", "markersize": 17, "markeredgewidth": 2, "color": INK}


@drawn
def downtime_parts(runs: pandas.DataFrame) -> Figure:
    """Stacked parts of the downtime in ms, of each series' run whose downtime is the median."""
    series = series_of(measured(runs[runs["downtime_ms"].notna()]))
    figure, axes = paper(1, 1, 1.6 + bar_height_in(series, 0.36))
    furthest = max(_bar(axes, place, each) for place, each in enumerate(series))
    horizontal_bars(axes, series, furthest)
    axes.set_xlabel("downtime (ms)")
    handles: list[Any] = [
        Patch(facecolor=SHADES(n), hatch=part[1], **EDGE) for n, part in enumerate(PARTS.values())
    ]
    gap = Line2D([], [], linestyle="none", **GAP)
    legend_of(figure, [*handles, gap], [*(name for name, _ in PARTS.values()), "gap seen by the peer"])
    caption(
        figure,
        series,
        "Bars: the run whose downtime is the median. Mark: median of the longest gap in the packets that the "
        "peer sees.",
    )
    return figure


def _bar(axes: Axes, place: int, series: Series) -> float:
    """Draws the parts end to end with the downtime beside them, and gives where all of that ends."""
    row = _median_run(series)
    left = 0.0
    for number, (measure, (_, hatch)) in enumerate(PARTS.items()):
        width = 0.0 if row[measure] != row[measure] else float(row[measure])  # NaN was not measured
        axes.barh(place, width, left=left, height=0.6, color=SHADES(number), hatch=hatch, **EDGE)
        left += width
    gap = series.rows["service_gap_ms"].median()
    furthest = left if gap != gap else max(left, float(gap))
    axes.plot(gap, place, linestyle="none", **GAP)
    axes.annotate(f"  {row['downtime_ms']:,.3g} ms", (furthest, place), va="center", fontsize=8)
    return furthest


def _median_run(series: Series) -> Any:
    """The run in the middle by downtime (the lower of two), so that its parts add up."""
    rows = series.rows.sort_values("downtime_ms")
    return rows.iloc[(len(rows) - 1) // 2]
