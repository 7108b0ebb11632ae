"""What arrived wrong: pages that are stale at the destination, packets that are not what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from vfbench.records import damage
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

PAGES = tuple(kind.measure for kind in damage.STALE)
PACKETS = tuple(kind.measure for kind in damage.PACKETS)
KINDS = (
    "payload pages, corrupted packets",
    "descriptor pages, phantom packets",
    "other pages, packets twice",
    "corrupted packets sent",
)
HATCHES = ("", "xxx", "|||", "---")


@drawn
def integrity(runs: pandas.DataFrame) -> Figure:
    """Stale pages by kind, and packets delivered corrupted, out of nothing, or twice: the worst run."""
    series = series_of(measured(runs))
    figure, (pages, packets) = paper(1, 2, 1.5 + bar_height_in(series, 0.36), sharey=True)
    for axes, columns, title, label in (
        (pages, PAGES, "stale at the destination", "pages per migration"),
        (packets, PACKETS, "delivered damaged", "packets per run"),
    ):
        furthest = max(_bar(axes, place, each, columns) for place, each in enumerate(series))
        horizontal_bars(axes, series, furthest)
        axes.set_title(title)
        axes.set_xlabel(label)
    patches = [Patch(facecolor="#ffffff00", edgecolor=INK, hatch=hatch) for hatch in HATCHES]
    legend_of(figure, patches, KINDS)
    caption(
        figure,
        series,
        "The worst run of each, and how many were damaged. Pages are compared at the stop, packets as the application "
        "takes them.",
        times=False,
    )
    return figure


def _bar(axes: Axes, place: int, series: Series, columns: Sequence[str]) -> float:
    """Draws the kinds end to end with their sum, and gives where they end."""
    rows = series.rows[list(columns)].astype("float64")
    each_run = rows.sum(axis=1, min_count=1)
    if each_run.isna().all():
        axes.annotate(" not compared", (0, place), va="center", fontsize=8)
        return 0.0
    worst = rows.iloc[int(each_run.fillna(-1).to_numpy().argmax())]
    widths = [0.0 if value != value else float(value) for value in worst]  # NaN was not measured
    left = 0.0
    for width, hatch in zip(widths, HATCHES, strict=False):
        axes.barh(place, width, left=left, color=series.look.colour, hatch=hatch, height=0.62, **EDGE)
        left += width
    hit = int((each_run > 0).sum())
    text = f" {left:,.10g}" + (f" ({hit} of {len(rows)} runs)" if hit and len(rows) > 1 else "")
    axes.annotate(text, (left, place), va="center", fontsize=8, fontweight="bold" if left else "normal")
    return left
