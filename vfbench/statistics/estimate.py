"""A median and a ratio of two medians, each with the interval in which it may lie.

From 6 values on the interval is a percentile bootstrap of 95 % (``scipy.stats.bootstrap``, 9999 resamples, fixed
seed: the same values give the same interval). Of fewer values it is their range, which holds the median of the
population with probability 1 - 2^(1-n) (the chance that not all lie on one side): 50 % of two, 93.75 % of five.
A single value has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
WIDE = 0.05
"""An interval that reaches further than this share of its median to either side is too wide to tell."""
FEWEST_FOR_BOOTSTRAP = 6
RESAMPLES = 9999
SEED = 20151021

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A median of ``n`` values; ``low`` to ``high`` is its interval, with confidence ``level`` (NaN without one)."""

    median: float
    low: float
    high: float
    n: int
    level: float
    method: str
    """``bootstrap``, ``range`` (2 to 5 values), ``single`` or ``none``."""

    @property
    def reach(self) -> float:
        """The longer side of the interval as a share of the median; 0 where all values agree, NaN without one."""
        return _reach(self.median, self.low, self.high)

    @property
    def too_wide(self) -> bool:
        """Whether the spread hides a difference of ``WIDE``."""
        return self.reach > WIDE


@dataclass(frozen=True)
class Ratio:
    """Median of values over median of a baseline; NaN where the baseline is 0 or one of them is empty."""

    ratio: float
    low: float
    high: float
    n: int
    n_baseline: int
    level: float
    method: str

    @property
    def reach(self) -> float:
        """As that of an :class:`Estimate`."""
        return _reach(self.ratio, self.low, self.high)

    @property
    def too_wide(self) -> bool:
        """Whether the spread hides a difference of ``WIDE``."""
        return self.reach > WIDE

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.low > 1 or self.high < 1


def estimate(values: Iterable[object]) -> Estimate:
    """The median of ``values`` and its interval."""
    numbers = numbers_of(values)
    if len(numbers) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, math.nan, "none")
    middle = float(np.median(numbers))
    if len(numbers) == 1:
        return Estimate(middle, math.nan, math.nan, 1, math.nan, "single")
    if len(numbers) < FEWEST_FOR_BOOTSTRAP:
        level = 1 - 2.0 ** (1 - len(numbers))
        return Estimate(middle, float(numbers.min()), float(numbers.max()), len(numbers), level, "range")
    low, high = _bootstrap((numbers,), _median)
    return Estimate(middle, low, high, len(numbers), LEVEL, "bootstrap")


def ratio(values: Iterable[object], baseline: Iterable[object]) -> Ratio:
    """The median of ``values`` relative to that of ``baseline``.

    With fewer than 6 of either, the interval runs from lowest over highest to highest over lowest, and its level
    is the chance that both ranges hold their medians.
    """
    above, below = numbers_of(values), numbers_of(baseline)
    counts = (len(above), len(below))
    if 0 in counts or np.median(below) == 0:
        return Ratio(math.nan, math.nan, math.nan, *counts, math.nan, "none")
    middle = float(np.median(above) / np.median(below))
    if min(counts) == 1:
        return Ratio(middle, math.nan, math.nan, *counts, math.nan, "single")
    if min(counts) < FEWEST_FOR_BOOTSTRAP:
        level = math.prod(1 - 2.0 ** (1 - count) for count in counts)
        if below.min() <= 0:
            return Ratio(middle, math.nan, math.nan, *counts, math.nan, "none")
        low, high = float(above.min() / below.max()), float(above.max() / below.min())
        return Ratio(middle, low, high, *counts, level, "range")
    low, high = _bootstrap((above, below), _median_ratio)
    return Ratio(middle, low, high, *counts, LEVEL, "bootstrap")


def numbers_of(values: Iterable[object]) -> Values:
    """What of ``values`` is a finite number."""
    import pandas

    if isinstance(values, pandas.Series) and pandas.api.types.is_numeric_dtype(values.dtype):
        found = values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        each = list(values)
        try:
            found = np.array(each, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = pandas.to_numeric(pandas.Series(each, dtype=object), errors="coerce")
            found = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return found[np.isfinite(found)]


def _median(values: Values, axis: int) -> Values:
    return np.median(values, axis=axis)


def _median_ratio(values: Values, baseline: Values, axis: int) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.median(values, axis=axis) / np.median(baseline, axis=axis)


def _bootstrap(samples: tuple[Values, ...], statistic: object) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _reach(middle: float, low: float, high: float) -> float:
    if low == high == middle:
        return 0.0
    return max(middle - low, high - middle) / abs(middle) if middle else math.inf * (high - low)
