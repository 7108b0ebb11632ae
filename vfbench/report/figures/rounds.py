"""The rounds of the pre-copy: what each found dirty, and what it sent again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from vfbench.errors import UserError
from vfbench.report.figures.canvas import WHISKERS, caption, drawn, legend, paper, spread, thousands
from vfbench.report.figures.series import Series, measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIB = 1 << 20
DECADES = 30
"""A line that stays below the highest one by so many times is not told from 0 on a linear axis."""
MANY_ROUNDS = 10
FEWEST_ROUNDS = 3
"""With fewer there is no course of rounds to be seen."""


@drawn
def pre_copy_rounds(rounds: pandas.DataFrame) -> Figure:
    """Dirty pages found at the end of each round, and MiB that each round sent again; round 0 sends all."""
    series = series_of(measured(rounds))
    if all(each.rows["round"].nunique() < FEWEST_ROUNDS for each in series):
        raise UserError(
            "every pre-copy switched over during its first pass or after the second sync, so there is no course to draw"
        )
    figure, (dirty, resent) = paper(1, 2, 3.5, sharex=True)
    for each in series:
        _line(dirty, each, "dirty_pages", 1)
        _line(resent, each, "resent_bytes", MIB)
    dirty.set_ylabel("dirty pages found (pages)")
    resent.set_ylabel("sent again (MiB)")
    for axes in (dirty, resent):
        axes.set_xlabel("pre-copy round (0: all memory)")
        axes.set_ylim(0, max(1.04 * axes.get_ylim()[1], 1))
    for axes, measure, unit in ((dirty, "dirty_pages", 1), (resent, "resent_bytes", MIB)):
        if _spans_decades(series, measure, unit):
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylabel(f"{axes.get_ylabel()[:-1]}, logarithmic)")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(6))
    for axes in (dirty, resent):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(thousands)
    legend(figure, dirty)
    caption(
        figure,
        series,
        WHISKERS,
        _ends(series),
        times=False,
    )
    return figure


def _ends(series: Sequence[Series]) -> str:
    """What the end of a line means, of those that never completed as well."""
    never = [each.label for each in series if (each.rows["state"] == "not-converged").any()]
    words = "A line ends where its pre-copy switches over to the stop-and-copy"
    return (
        f"{words}; of {', '.join(never)} where it was given up, never having converged."
        if never
        else f"{words}."
    )


def _spans_decades(series: Sequence[Series], measure: str, unit: float) -> bool:
    """Whether some lines would lie on the axis beside the highest one."""
    highest = [float(each.rows[measure].max()) / unit for each in series]
    return max(highest) > DECADES * max(1.0, min(highest))


def _line(axes: Axes, series: Series, measure: str, unit: float) -> None:
    points = [
        (int(str(number)), *spread(part[measure].dropna() / unit))
        for number, part in series.rows.groupby("round")
        if part[measure].notna().any()
    ]
    if points:
        at, middle, below, above = zip(*points, strict=True)
        style = series.style()
        if len(at) > MANY_ROUNDS:  # a marker at every few, or they hide the line and each other
            style |= {"markersize": 0.7 * style["markersize"], "markevery": len(at) // MANY_ROUNDS + 1}
        axes.errorbar(at, middle, yerr=[below, above], capsize=2.5, elinewidth=0.9, clip_on=False, **style)
