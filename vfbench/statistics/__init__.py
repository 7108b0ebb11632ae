"""Repeats put into figures: medians with intervals, ratios to a baseline, and whether two sets differ.

The model is deterministic for a seed, so repeats are runs that differ in their seed alone. A *cell* is a set of
repeats: the same strategy, workload, settings, testbed and profile. Runs of two testbeds never share a cell.

On plain values: :func:`estimate`, :func:`ratio`, :func:`rank_test`, :func:`compare`. On the frame that
``vfbench.records.read_runs`` gives: :func:`cell_columns`, :func:`medians`, :func:`relative`. What is missing
(None, NaN) is left out. No function raises for few values: they give fewer figures, and say why in words.
"""

from __future__ import annotations

from vfbench.statistics.comparison import Comparison, RankTest, compare, rank_test
from vfbench.statistics.estimate import LEVEL, WIDE, Estimate, Ratio, Values, estimate, numbers_of, ratio
from vfbench.statistics.frames import MEASURED, cell_columns, measured, medians, relative

__all__ = [
    "LEVEL",
    "MEASURED",
    "WIDE",
    "Comparison",
    "Estimate",
    "RankTest",
    "Ratio",
    "Values",
    "cell_columns",
    "compare",
    "estimate",
    "measured",
    "medians",
    "numbers_of",
    "rank_test",
    "ratio",
    "relative",
]
