"""Latency percentiles, held against the HdrHistogram library."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from vfbench.latency import latency_percentiles_us
from vfbench.machine.oracle.oracle import latency_bucket
from vfbench.machine.queue_pair import LATENCY_BUCKETS

PERCENTILES = (0.0, 50.0, 90.0, 99.0, 99.9, 100.0)


def counted(latencies_ns):
    buckets = np.zeros(LATENCY_BUCKETS, dtype=np.int64)
    for each in latencies_ns:
        buckets[latency_bucket(int(each))] += 1
    return buckets


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_percentiles_agree_with_hdr_histogram_within_a_bucket(spread):
    latencies_ns = np.random.default_rng(1).lognormal(10, spread, 5000).astype(np.int64) + 1
    oracle = HdrHistogram(1, 10**13, 3)
    for each in latencies_ns:
        oracle.record_value(int(each))
    ours = latency_percentiles_us(counted(latencies_ns), PERCENTILES)
    assert ours == pytest.approx([oracle.get_value_at_percentile(p) / 1000 for p in PERCENTILES], rel=0.016)


def test_nothing_counted_has_no_percentile():
    assert latency_percentiles_us(counted([]), (50.0, 99.0)) == (None, None)
