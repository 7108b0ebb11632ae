"""Latency percentiles from the buckets that the kernels count in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from vfbench.machine.port import LATENCY_SUB_BUCKETS

HIGHEST_NS = 10**12
HALF = LATENCY_SUB_BUCKETS // 2


def bucket_middle_ns(bucket: int) -> int:
    """The latency in the middle of a bucket of :func:`vfbench.machine.ledger.latency_bucket`."""
    if bucket < LATENCY_SUB_BUCKETS:
        return max(1, bucket)
    shift = (bucket - HALF) // HALF
    return ((bucket - shift * HALF) << shift) + (1 << shift >> 1)


def latency_percentiles_us(
    buckets: npt.NDArray[np.int64], percentiles: tuple[float, ...]
) -> tuple[float | None, ...]:
    """The percentiles in microseconds, None for each when nothing was counted."""
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    for bucket in np.flatnonzero(buckets):
        histogram.record_value(min(bucket_middle_ns(int(bucket)), HIGHEST_NS), int(buckets[bucket]))
    if histogram.get_total_count() == 0:
        return (None,) * len(percentiles)
    return tuple(histogram.get_value_at_percentile(p) / 1000 for p in percentiles)
