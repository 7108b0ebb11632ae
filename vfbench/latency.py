"""Latency percentiles from the buckets that the kernels count in.

The buckets of ``vfbench.machine.oracle.oracle.latency_bucket`` are an HDR histogram's (Tene): linear at first,
then half as many for each doubling, so that a value is known to 1.6 % over twelve decades. Only the reading is
done here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfbench.machine.queue_pair import LATENCY_BUCKETS, LATENCY_SUB_BUCKETS

HALF = LATENCY_SUB_BUCKETS // 2


def bucket_middle_ns(bucket: int) -> int:
    """The latency in the middle of a bucket of :func:`vfbench.machine.oracle.oracle.latency_bucket`."""
    if bucket < LATENCY_SUB_BUCKETS:
        return bucket
    shift = (bucket - HALF) // HALF
    return ((bucket - shift * HALF) << shift) + (1 << shift >> 1)


def latency_percentiles_us(
    buckets: npt.NDArray[np.int64], percentiles: tuple[float, ...]
) -> tuple[float | None, ...]:
    """The percentiles in microseconds, None for each when nothing was counted.

    A percentile is the value of the packet at that rank, counted from 1 and rounded, as HdrHistogram has it.
    """
    counted = np.cumsum(buckets)
    total = int(counted[-1])
    if total == 0:
        return (None,) * len(percentiles)
    ranks = [max(1, int(p / 100 * total + 0.5)) for p in percentiles]
    return tuple(
        bucket_middle_ns(min(int(bucket), LATENCY_BUCKETS - 1)) / 1000
        for bucket in np.searchsorted(counted, ranks)
    )
