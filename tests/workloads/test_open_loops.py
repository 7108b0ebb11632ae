"""Open loops: frames that come whatever becomes of those before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.workload_frames import PS_PER_BYTE, US, Guest, S, collect, new_source

from vfbench.errors import UserError
from vfbench.quantiles import pareto_mean, pareto_table, power
from vfbench.workload import FRAMES, may_put, next_flow, put_frame
from workloads.bulk import Bulk
from workloads.bursty import Bursty
from workloads.imix import ImixSimple
from workloads.small_packets import SmallPackets


def test_small_packets_come_at_14_88_million_a_second() -> None:
    frames = collect(SmallPackets(), 10_000)
    assert set(np.diff(frames.arrival_ps)) == {84 * PS_PER_BYTE}
    assert set(frames.length) == {64}


def test_bulk_frames_are_full() -> None:
    frames = collect(Bulk(), 1000)
    assert set(frames.length) == {1518}
    assert set(np.diff(frames.arrival_ps)) == {1538 * PS_PER_BYTE}


@pytest.mark.parametrize("rate_bps", [0, 3_333_333_333])
def test_even_frames_are_those_that_one_by_one_would_be(rate_bps: int) -> None:
    def one_by_one(source: Any, frames: Any, horizon_ps: int) -> None:
        while may_put(source, frames, horizon_ps):
            put_frame(source, frames, source.next_ps, 64, next_flow(source), 0)
            source.next_ps += source.gap_ps

    workload = SmallPackets(rate_bps=rate_bps, flows=5)
    records = []
    for arrivals in (SmallPackets.arrivals, one_by_one):
        source, _ = new_source(workload, frames=1500)
        batch = np.zeros(1, FRAMES).view(np.recarray)[0]
        for horizon_ps in (0, 1, 10 * US, 20 * US, 20 * US, S):
            arrivals(source, batch, horizon_ps)
        batch.count = 0
        arrivals(source, batch, S)
        records.append((source.tobytes(), batch.tobytes()))
    assert records[0] == records[1]


def test_flows_take_turns() -> None:
    assert list(collect(Bulk(flows=3), 7).flow) == [0, 1, 2, 0, 1, 2, 0]


def test_the_answered_share_is_the_send_ratio() -> None:
    guest = Guest(Bulk(send_ratio=0.25))
    assert [guest.deliver(1518, 0) for _ in range(8)] == [0, 0, 0, 1518] * 2


def test_twelve_frames_of_imix_hold_seven_four_and_one_in_changing_order() -> None:
    packs = collect(ImixSimple(), 12 * 500).length.reshape(500, 12)
    assert np.array_equal(np.sort(packs, axis=1), np.tile([64] * 7 + [594] * 4 + [1518], (500, 1)))
    assert len({pack.tobytes() for pack in packs}) > 300


def test_every_place_in_imix_is_as_likely_for_the_large_frame() -> None:
    packs = collect(ImixSimple(), 12 * 4000).length.reshape(4000, 12)
    share = (packs == 1518).mean(axis=0)
    assert share == pytest.approx(np.full(12, 1 / 12), abs=0.03)


def test_bursts_run_at_line_rate_and_have_heavy_tails() -> None:
    frames = collect(Bursty(rate_bps=2 * 10**9, burst_frames=20), 400_000)
    breaks = np.flatnonzero(np.diff(frames.start_ps) > 1538 * PS_PER_BYTE)
    bursts = np.diff(breaks)
    assert bursts.mean() == pytest.approx(20, rel=0.1)
    assert bursts.min() >= 6
    assert bursts.max() > 20 * 20
    # A Pareto tail of shape 1.5: ten times longer is 10**1.5 times rarer.
    assert (bursts > 20).sum() / (bursts > 200).sum() == pytest.approx(10**1.5, rel=0.4)


def test_the_pareto_table_has_the_mean_of_its_distribution() -> None:
    for shape in (1.5, 2.0, 3.0, 4.0):
        assert pareto_mean(pareto_table(shape)) == pytest.approx(shape / (shape - 1), rel=0.01)


def test_a_burst_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(UserError, match=r"bursty.burst-frames: 4 on average at shape 1.2"):
        Bursty(burst_frames=4, shape=1.2)


def test_powers_agree_with_the_library() -> None:
    x = np.linspace(1e-6, 1e6, 10_001)
    for exponent in (-4.0, -0.99, 0.5, 1.3):
        assert power(x, exponent) == pytest.approx(x**exponent, rel=1e-12)
