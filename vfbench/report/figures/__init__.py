"""Figures of records: each function takes frames of `vfbench.records` and gives a matplotlib Figure.

The report and the notebooks use the same ones. A figure holds runs of one testbed and one cost profile; repeats
(runs that differ in their seed only) become one series, and nothing else is pooled.
"""

from __future__ import annotations

from vfbench.report.figures.cycles import cycles_per_packet
from vfbench.report.figures.downtime import downtime_parts
from vfbench.report.figures.integrity import integrity
from vfbench.report.figures.latency import latency_percentiles
from vfbench.report.figures.pareto import pareto
from vfbench.report.figures.picture import to_png, to_svg
from vfbench.report.figures.rounds import pre_copy_rounds
from vfbench.report.figures.throughput import measure_against, throughput_by_frame_size
from vfbench.report.figures.timeline import migration_timeline

__all__ = [
    "cycles_per_packet",
    "downtime_parts",
    "integrity",
    "latency_percentiles",
    "measure_against",
    "migration_timeline",
    "pareto",
    "pre_copy_rounds",
    "throughput_by_frame_size",
    "to_png",
    "to_svg",
]
