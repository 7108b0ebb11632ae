"""The model against limits and closed forms: what must come out is known without running it."""

from __future__ import annotations

import pytest

from vfbench.validation.known.parts import Even, Poisson, costs, delivered, machine, mean_latency_ns
from vfbench.validation.known.precopy import PAGE_BYTES, PAGES, carried_out, rounds_expected
from vfbench.validation.known.queueing import in_system, loaded
from vfbench.validation.known.throughput import RFC_2544_BYTES, TEN_GBPS, frames_in

MS_PS = 10**9


@pytest.mark.parametrize("size", RFC_2544_BYTES)
def test_a_processor_faster_than_anything_delivers_line_rate_to_the_frame(size):
    found = frames_in(costs(), Even(frame_bytes=size), 10 * MS_PS, link_bps=TEN_GBPS)
    assert found == pytest.approx(TEN_GBPS / 8 / (size + 20) / 100, abs=1)


@pytest.mark.parametrize(("application_ns", "mpps"), [(0, 1.25), (200, 1.0), (1200, 0.5)])
def test_a_link_faster_than_anything_leaves_the_processor_s_limit(application_ns, mpps):
    profile = costs(rx_packet=800, app_packet=application_ns)
    assert frames_in(profile, Even(frame_bytes=64), 100 * MS_PS) / 1e5 == pytest.approx(mpps, rel=1e-3)


def test_no_dirty_rate_needs_one_round():
    precopy = carried_out(0)
    assert precopy.converged
    assert len(precopy.rounds) == 1


@pytest.mark.parametrize("share", [1.0, 1.01, 3.0])
def test_a_dirty_rate_at_or_above_the_bandwidth_never_converges(share):
    assert not carried_out(share, max_rounds=50).converged


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 0.9])
def test_rounds_are_a_geometric_series(share):
    precopy = carried_out(share)
    sent = [each.sent_bytes for each in precopy.rounds]
    assert sent[:4] == pytest.approx([PAGES * PAGE_BYTES * share**i for i in range(4)], rel=1e-3)
    assert len(precopy.rounds) == rounds_expected(share)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_all_rounds_together_take_the_first_over_one_minus_the_ratio(share):
    rounds = carried_out(share).rounds
    assert rounds[-1].end_ps == pytest.approx(rounds[0].end_ps / (1 - share), rel=1e-3)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_poisson_arrivals_at_the_dma_engine_wait_as_m_d_1_says(load):
    running = loaded(load)
    running.advance(1000 * MS_PS)
    assert mean_latency_ns(running) - 1000 == pytest.approx(1000 * load / (2 * (1 - load)), rel=0.03)


def test_as_many_frames_are_inside_as_arrive_while_one_is():
    running = loaded(0.8)
    counts = []
    for sample in range(1, 5001):
        running.advance(sample * 50_021_003)
        counts.append(in_system(running))
    rate_per_ns = delivered(running) / (running.now_ps / 1000)
    assert sum(counts) / len(counts) == pytest.approx(rate_per_ns * mean_latency_ns(running), rel=0.02)


def test_nothing_waits_where_nothing_takes_time():
    running = machine(Poisson(mean_gap_ps=10**6), costs())
    running.advance(10 * MS_PS)
    assert mean_latency_ns(running) <= 1
