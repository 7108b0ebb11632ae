"""One thing measured: how it is sampled, what the samples say, and what could not be measured and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

LOW_PERCENT: Final = 5
HIGH_PERCENT: Final = 95


@dataclass(frozen=True)
class Probe:
    """Something to measure.

    `figure` names the cost of a profile that the result stands for, or is a name of its own where no cost is like
    it (`belongs` is False then, and the result is shown and noted beside the profile, not in it). `sample` gives
    one value in `unit`; it takes some milliseconds.
    """

    figure: str
    unit: str
    method: str
    sample: Callable[[], float]
    belongs: bool = True


@dataclass(frozen=True)
class Result:
    """What a probe's samples say: their median, and their 5th and 95th percentile."""

    figure: str
    unit: str
    method: str
    median: float
    low: float
    high: float
    repeats: int
    belongs: bool


@dataclass(frozen=True)
class NotMeasured:
    """A cost that can't be measured on this machine, and why."""

    figure: str
    reason: str


def measure(probe: Probe, repeats: int) -> Result:
    """Sample `repeats` times after one sample that warms caches and compiles, and is thrown away."""
    probe.sample()
    samples = np.array([probe.sample() for _ in range(repeats)])
    low, median, high = np.percentile(samples, (LOW_PERCENT, 50, HIGH_PERCENT))
    return Result(
        figure=probe.figure,
        unit=probe.unit,
        method=probe.method,
        median=float(median),
        low=float(low),
        high=float(high),
        repeats=repeats,
        belongs=probe.belongs,
    )
