"""Processor time per packet, by side: before, during and after the migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from vfbench.report.figures.canvas import EDGE, bar_height_in, caption, drawn, horizontal_bars, paper, require
from vfbench.report.figures.look import INK
from vfbench.report.figures.series import Series, measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHASES = {"steady": "steady state", "migrating": "while migrating", "after": "at the destination"}
SIDES = {"guest": "", "host": "////"}


@drawn
def cycles_per_packet(runs: pandas.DataFrame) -> Figure:
    """Cycles per packet of the guest's vCPUs and, beside them, of the host's cores; one panel per phase."""
    series = series_of(measured(runs))
    columns = [_column(side, phase) for side in SIDES for phase in PHASES]
    require(series, columns, "cycles per packet")
    figure, panels = paper(1, len(PHASES), 1.5 + bar_height_in(series, 0.36), sharey=True, sharex=True)
    furthest = 0.0
    for axes, (phase, title) in zip(panels, PHASES.items(), strict=True):
        furthest = max(furthest, *(_bar(axes, place, each, phase) for place, each in enumerate(series)))
        axes.set_title(title)
    for axes in panels:
        horizontal_bars(axes, series, furthest, ticks=3)
    panels[1].set_xlabel("processor time (cycles per packet)")
    sides = [
        Patch(facecolor="#ffffff00", edgecolor=INK, hatch=hatch, label=f"{side} (cycles per packet)")
        for side, hatch in SIDES.items()
    ]
    figure.legend(handles=sides, loc="outside upper left", ncols=2)
    caption(figure, series, "Medians; guest and host end to end, the figure is their sum.")
    return figure


def _bar(axes: Axes, place: int, series: Series, phase: str) -> float:
    """Draws guest and host end to end, and gives where they end."""
    left = 0.0
    for side, hatch in SIDES.items():
        value = series.rows[_column(side, phase)].median()
        width = 0.0 if value != value else float(value)  # NaN was not measured
        axes.barh(place, width, left=left, color=series.look.colour, hatch=hatch, height=0.62, **EDGE)
        left += width
    axes.annotate(f" {left:,.0f}", (left, place), va="center", fontsize=8)
    return left


def _column(side: str, phase: str) -> str:
    return f"{side}_cycles_per_packet" + ("" if phase == "steady" else f"_{phase}")
