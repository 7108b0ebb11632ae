"""Throughput against frame size, with what the wire can carry; and any measure against any parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.errors import UserError
from vfbench.records import RUNS
from vfbench.report.figures.canvas import WHISKERS, caption, drawn, legend, paper, spread, thousands
from vfbench.report.figures.look import INK
from vfbench.report.figures.series import Series, measured, plain, series_of
from vfbench.report.groups import setting_name, setting_text

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME_SIZE = "workload.frame_bytes"
LINK_RATE = "link.rate_bps"
GIGA = 1e9
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
    figure, axes = paper(1, 1, 3.9)
    for each in series:
        _line(axes, each, FRAME_SIZE, "gbps")
    for rate in sorted(set(rows[LINK_RATE])):
        axes.axhline(rate / GIGA, color=INK, linestyle=(0, (1, 1)), linewidth=1.2, label="line rate")
    sizes = sorted({int(size) for size in rows[FRAME_SIZE]})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.tick_params(axis="x", rotation=45 if len(sizes) > 8 else 0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("frame size with FCS (bytes)")
    axes.set_ylabel("throughput (Gb/s)")
    legend(figure, axes)
    caption(
        figure,
        series,
        WHISKERS,
        "Delivered to the guest's application in the steady state; Gb/s counts frame + 20 bytes.",
    )
    return figure


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
    values = values if any(isinstance(value, str) for value in values) else sorted(values)
    for each in series:
        _line(axes, each, parameter, measure, {value: place for place, value in enumerate(values)}, scale)
    owner, _, field = parameter.partition(".")
    axes.set_xticks(range(len(values)), [setting_text(field, plain(value)) for value in values])
    axes.margins(x=0.08)
    axes.set_ylim(0, max(1.06 * axes.get_ylim()[1], 1))
    axes.yaxis.set_major_formatter(thousands)
    meaning, unit = _UNITS[measure]
    unit = "MiB" if unit == "bytes" else unit
    axes.set_xlabel(f"{owner}: {setting_name(field)}")
    axes.set_ylabel(f"{measure.replace('_', ' ')} ({unit})" if unit else measure.replace("_", " "))
    legend(figure, axes)
    caption(figure, series, WHISKERS, f"{measure}: {meaning}.")
    return figure


def _line(
    axes: Axes, series: Series, x: str, y: str, places: dict[object, int] | None = None, scale: float = 1
) -> None:
    """Medians over the repeats at each x, in its order, with whiskers."""
    points = [
        (places[value] if places else float(str(value)), *spread(part[y].dropna() / scale))
        for value, part in series.rows.groupby(x, sort=True)
        if part[y].notna().any()
    ]
    points.sort()
    if points:
        at, middle, below, above = zip(*points, strict=True)
        axes.errorbar(at, middle, yerr=[below, above], capsize=2.5, elinewidth=0.9, **series.style())
