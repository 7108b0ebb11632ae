"""What arrived wrong: pages that are stale at the destination, packets that are not what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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

PAGES = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")
PACKETS = ("packets_corrupted", "packets_phantom", "packets_duplicated")
KINDS = (
    "payload pages, corrupted packets",
    "descriptor pages, phantom packets",
    "other pages, packets twice",
)
HATCHES = ("", "xxx", "|||")


@drawn
def integrity(runs: pandas.DataFrame) -> Figure:
    """Stale pages by kind, and packets delivered corrupted, out of nothing, or twice; medians per run."""
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
        "Medians. Pages are compared at the stop, packets as the application takes them.",
        times=False,
    )
    return figure


def _bar(axes: Axes, place: int, series: Series, columns: Sequence[str]) -> float:
    """Draws the kinds end to end with their sum, and gives where they end."""
    medians = [series.rows[column].median() for column in columns]
    widths = [0.0 if value != value else float(value) for value in medians]  # NaN was not measured
    left = 0.0
    for width, hatch in zip(widths, HATCHES, strict=True):
        axes.barh(place, width, left=left, color=series.look.colour, hatch=hatch, height=0.62, **EDGE)
        left += width
    text = " not measured" if all(value != value for value in medians) else f" {left:,.10g}"
    axes.annotate(text, (left, place), va="center", fontsize=8, fontweight="bold" if left else "normal")
    return left
