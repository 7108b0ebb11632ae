"""Whether two sets of repeats differ: the ratio of their medians, and an exact rank test beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from vfbench.statistics.estimate import (
    LEVEL,
    SEED,
    WIDE,
    Estimate,
    Ratio,
    Values,
    estimate,
    numbers_of,
    ratio,
)

MOST_PERMUTATIONS = 20_000
"""All orders are tried up to this many (8 against 8 has 12,870); of more with ties, a sample of this size."""


@dataclass(frozen=True)
class RankTest:
    """Mann-Whitney, two-sided. ``smallest_p`` is what complete separation would give with these counts."""

    p: float
    smallest_p: float
    n: int
    n_baseline: int


@dataclass(frozen=True)
class Comparison:
    """Two sets of repeats.

    ``outcome`` is ``higher`` or ``lower`` (the ratio's interval leaves out 1 and the rank test's p is at most
    0.05), ``same`` (it holds 1 and reaches at most ``WIDE`` to either side, or all values are equal), or
    ``unclear``; ``warning`` says why it is unclear, and is empty otherwise. ``direction`` is what the intervals say by
    themselves, without the rank test: ``higher``, ``lower``, or empty where they don't tell. To a baseline of 0, or
    one that reaches it, there is no ratio or no interval of one: then the intervals of the two medians are compared.
    """

    ratio: Ratio
    test: RankTest
    outcome: str
    warning: str
    direction: str = ""


def rank_test(values: Iterable[object], baseline: Iterable[object]) -> RankTest:
    """The exact test by ``scipy.stats.mannwhitneyu``; with ties over all permutations. NaN for an empty side."""
    first, second = numbers_of(values), numbers_of(baseline)
    counts = (len(first), len(second))
    if 0 in counts:
        return RankTest(math.nan, math.nan, *counts)
    _, ranks = np.unique(np.concatenate([first, second]), return_inverse=True)
    p = _p_of_ranks(tuple(ranks[: counts[0]].tolist()), tuple(ranks[counts[0] :].tolist()))
    return RankTest(min(1.0, p), min(1.0, 2 / math.comb(sum(counts), counts[0])), *counts)


@cache
def _p_of_ranks(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """The test sees no more of the values than their order, of which few repeats have few."""
    from scipy.stats import PermutationMethod, mannwhitneyu

    method = "exact"
    if min(len(first), len(second)) > 1 and len({*first, *second}) < len(first) + len(second):
        # There are ties, and permuting takes two values a side.
        method = PermutationMethod(n_resamples=MOST_PERMUTATIONS, rng=np.random.default_rng(SEED))
    return float(mannwhitneyu(first, second, alternative="two-sided", method=method).pvalue)


def compare(values: Iterable[object], baseline: Iterable[object]) -> Comparison:
    """How ``values`` stand to ``baseline``."""
    first, second = numbers_of(values), numbers_of(baseline)
    found, test = ratio(first, second), rank_test(first, second)
    if 0 in (len(first), len(second)):
        return Comparison(found, test, "unclear", "a side has no value")
    if (found.low <= 1 <= found.high and not found.too_wide) or _all_equal(first, second):
        return Comparison(found, test, "same", "")
    direction = _direction(found, first, second)
    has_intervals = min(len(first), len(second)) > 1
    if direction and has_intervals and test.p <= 1 - LEVEL:
        return Comparison(found, test, direction, "", direction)
    return Comparison(found, test, "unclear", _why_unclear(found, test), direction)


def _direction(found: Ratio, first: Values, second: Values) -> str:
    if not math.isnan(found.low):
        return ("higher" if found.low > 1 else "lower") if found.differs else ""
    (low, high), (low_baseline, high_baseline) = _edges(estimate(first)), _edges(estimate(second))
    if low > high_baseline:
        return "higher"
    return "lower" if high < low_baseline else ""


def _edges(found: Estimate) -> tuple[float, float]:
    """Of a single value, the value."""
    return (found.median, found.median) if math.isnan(found.low) else (found.low, found.high)


def _why_unclear(found: Ratio, test: RankTest) -> str:
    if test.smallest_p > 1 - LEVEL:
        return (
            f"{test.n} against {test.n_baseline} repeats can't be told apart (p is {test.smallest_p:.2g} at the "
            "least): run 4 or more of each"
        )
    if math.isnan(found.low):
        return f"the baseline is or reaches 0, so there is no ratio to tell by, and p is {test.p:.2g}"
    if found.too_wide and not found.differs:
        return f"the spread is too wide to tell ({found.reach:.0%} of the ratio, {WIDE:.0%} would do)"
    return f"the interval and the rank test disagree (p = {test.p:.2g})"


def _all_equal(first: Values, second: Values) -> bool:
    return bool(len(first) and len(second)) and len(np.unique(np.concatenate([first, second]))) == 1
