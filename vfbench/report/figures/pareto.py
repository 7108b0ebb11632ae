"""Blackout against steady cost: what one is bought with of the other, and who is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from vfbench.errors import UserError
from vfbench.records.damage import damage_in
from vfbench.report.figures.canvas import caption, drawn, legend_of, paper, thousands
from vfbench.report.figures.look import INK, MUTED
from vfbench.report.figures.series import Series, measured, series_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COST = ("guest_cycles_per_packet", "host_cycles_per_packet")
BLACKOUT = "service_gap_ms"
DAMAGE: dict[str, Any] = {"marker": "x", "color": "#D00000", "markersize": 15, "markeredgewidth": 2.4}
FEWEST = 2


@drawn
def pareto(runs: pandas.DataFrame) -> Figure:
    """The gap that the peer sees over guest and host cycles per packet; the line joins those that none beats in both.

    A series that was damaged in any run is crossed out and joins no line. UserError with fewer than two points.
    """
    series = series_of(measured(runs))
    points = [(each, point) for each in series if (point := _point(each)) is not None]
    if len(points) < FEWEST:
        raise UserError("fewer than two strategies have a blackout and a cost: one dot is no picture")
    figure, axes = paper(1, 1, 3.5)
    whole = []
    for each, (cost, gap) in points:
        damaged = damage_in(each.rows).damaged > 0
        style = each.style() | {"linestyle": "none", "markersize": 13}
        axes.plot(cost, gap, alpha=0.45 if damaged else 1.0, **style)
        if damaged:
            axes.plot(cost, gap, linestyle="none", **DAMAGE)
        else:
            whole.append((cost, gap))
    _numbers(axes, [point for _, point in points])
    _front(axes, whole)
    axes.set_xlabel("processor time of guest and host (cycles per packet, steady state)")
    axes.set_ylabel("gap for the peer (ms)")
    axes.set_xlim(0, 1.08 * max(cost for _, (cost, _) in points) or 1)
    axes.set_ylim(0, 1.15 * max(gap for _, (_, gap) in points) or 1)
    axes.xaxis.set_major_formatter(thousands)
    axes.yaxis.set_major_formatter(thousands)
    _legend(figure, points)
    missing = [each.label for each in series if each not in [one for one, _ in points]]
    caption(figure, [each for each, _ in points], *_words(missing))
    return figure


def _point(series: Series) -> tuple[float, float] | None:
    cost = series.rows[list(COST)].sum(axis=1, min_count=len(COST)).median()
    gap = series.rows[BLACKOUT].median()
    return None if cost != cost or gap != gap else (float(cost), float(gap))


def _numbers(axes: Axes, points: list[tuple[float, float]]) -> None:
    """Beside each point its number in the legend; points that lie on one another share a label."""
    reach = [0.03 * max(each[side] for each in points) for side in (0, 1)]
    places: dict[tuple[float, float], list[int]] = {}
    for number, point in enumerate(points, start=1):
        near = (at for at in places if all(abs(at[side] - point[side]) <= reach[side] for side in (0, 1)))
        places.setdefault(next(near, point), []).append(number)
    for at, numbers in places.items():
        text = ", ".join(map(str, numbers))
        axes.annotate(text, at, xytext=(9, 5), textcoords="offset points", fontsize=9, fontweight="bold")


def _front(axes: Axes, points: list[tuple[float, float]]) -> None:
    """Those that no other beats in both."""
    best = sorted(
        point for point in set(points) if not any(_beats(other, point) for other in points if other != point)
    )
    if len(best) > 1:
        axes.plot(*zip(*best, strict=True), color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1]


def _legend(figure: Figure, points: list[tuple[Series, tuple[float, float]]]) -> None:
    handles: list[Any] = []
    names = []
    for number, (each, _) in enumerate(points, start=1):
        style = each.style() | {"linestyle": "none", "markersize": 8}
        style.pop("label")
        handles.append(Line2D([], [], **style))
        names.append(f"{number} {each.label}")
    if any(damage_in(each.rows).damaged for each, _ in points):
        handles.append(Line2D([], [], linestyle="none", **(DAMAGE | {"markersize": 9})))
        names.append("DAMAGED")
    handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (4, 3))))
    names.append("none is better in both")
    legend_of(figure, handles, names)


def _words(missing: list[str]) -> list[str]:
    if not missing:
        return ["Medians."]
    return [
        f"Medians. Without a gap, because the migration never completed or was not measured: {', '.join(missing)}."
    ]
