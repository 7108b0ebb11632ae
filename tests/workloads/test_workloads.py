"""Workloads: one conformance test over all of them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.workload_frames import collect, new_source, next_batch, offered_bps

from vfbench.errors import UserError
from vfbench.parameters import changed, parameters_of
from vfbench.workload import BATCH_FRAMES, Workload
from workloads import ALL_WORKLOADS
from workloads.bulk import Bulk
from workloads.bursty import Bursty
from workloads.imix import ImixSimple
from workloads.key_value import KeyValue
from workloads.pcap import Pcap
from workloads.request_response import RequestResponse
from workloads.small_packets import SmallPackets
from workloads.tcp_stream import TcpStream

OPEN_LOOPS = [each for each in ALL_WORKLOADS if each not in (RequestResponse, TcpStream)]
RANDOM = (ImixSimple, Bursty, KeyValue)
every_workload = pytest.mark.parametrize("kind", ALL_WORKLOADS, ids=lambda kind: kind.name)
every_open_loop = pytest.mark.parametrize("kind", OPEN_LOOPS, ids=lambda kind: kind.name)


pytestmark = pytest.mark.usefixtures("shared_capture_cache")


def test_names_are_unique_and_summaries_fit_a_line() -> None:
    assert len({each.name for each in ALL_WORKLOADS}) == len(ALL_WORKLOADS)
    for each in ALL_WORKLOADS:
        assert each.__doc__ is not None
        assert 10 < len(each.__doc__.splitlines()[0]) < 90


@every_workload
def test_every_parameter_says_what_it_means_and_defaults_are_valid(kind: type[Workload]) -> None:
    assert changed(kind()) == {}
    assert all(each.help for each in parameters_of(kind))


@every_workload
def test_frames_come_in_order_and_never_faster_than_the_wire(kind: type[Workload]) -> None:
    frames = collect(kind(), 5000)
    assert len(frames.length) == 5000
    assert np.all(frames.start_ps[1:] >= frames.arrival_ps[:-1])
    assert frames.start_ps[0] >= 0


@every_workload
def test_frame_sizes_are_legal_and_flows_are_within_bounds(kind: type[Workload]) -> None:
    frames = collect(dataclasses.replace(kind(), flows=7), 5000)
    assert frames.length.min() >= 64
    assert frames.length.max() <= 2048
    assert frames.flow.min() >= 0
    assert len(set(frames.flow % 7)) == 7
    if kind is not RequestResponse:  # whose flows are source ports, many to a client
        assert frames.flow.max() == 6


@every_workload
def test_the_same_seed_gives_the_same_frames_and_another_seed_others(kind: type[Workload]) -> None:
    first, again, other = collect(kind(), 3000, 1), collect(kind(), 3000, 1), collect(kind(), 3000, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    same = all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert same == (kind not in RANDOM)


@every_workload
def test_no_more_frames_than_are_left(kind: type[Workload]) -> None:
    source, kept = new_source(kind(), frames=10)
    assert len(next_batch(kind(), source).length) == 10
    assert source.frames_left == 0
    assert len(next_batch(kind(), source).length) == 0
    assert kept is not None


@every_workload
def test_no_frame_starts_at_or_after_the_horizon_and_none_is_skipped(kind: type[Workload]) -> None:
    whole = collect(kind(), 60)
    workload = kind()
    source, kept = new_source(workload, frames=60)
    horizon_ps = int(whole.start_ps[30])
    before = next_batch(workload, source, horizon_ps)
    assert np.all(before.start_ps < horizon_ps)
    assert len(before.length) == 30
    after = next_batch(workload, source)
    assert np.array_equal(np.concatenate([before.arrival_ps, after.arrival_ps]), whole.arrival_ps)
    assert kept is not None


@every_workload
def test_a_batch_is_never_overfilled(kind: type[Workload]) -> None:
    workload = dataclasses.replace(kind(), flows=2048)
    source, kept = new_source(workload)
    assert len(next_batch(workload, source).length) == BATCH_FRAMES
    assert len(next_batch(workload, source).length) == BATCH_FRAMES
    assert kept is not None


@pytest.mark.parametrize("rate_bps", [5 * 10**8, 2 * 10**9, 7 * 10**9])
@every_open_loop
def test_the_offered_rate_is_met(kind: type[Workload], rate_bps: int) -> None:
    """Within 0.1 % where frames are evenly spaced, 1 % where sizes are drawn, 15 % where tails are heavy."""
    frames = collect(dataclasses.replace(kind(), rate_bps=rate_bps), 200_000)
    tolerance = {Bursty: 0.15, KeyValue: 0.01, Pcap: 0.03}.get(kind, 0.001)
    assert offered_bps(frames) == pytest.approx(rate_bps, rel=tolerance)


@pytest.mark.parametrize("kind", [SmallPackets, Bulk, ImixSimple, KeyValue], ids=lambda kind: kind.name)
def test_without_a_rate_the_wire_is_full(kind: type[Workload]) -> None:
    assert offered_bps(collect(kind(), 50_000)) == pytest.approx(10**10, rel=0.002)


@every_workload
def test_a_rate_above_the_link_is_refused(kind: type[Workload]) -> None:
    with pytest.raises(
        UserError, match=rf"{kind.name}.rate: 11Gbps is more than the link carries \(10Gbps\)"
    ):
        new_source(dataclasses.replace(kind(), rate_bps=11 * 10**9))


@pytest.mark.parametrize("kind", [KeyValue, RequestResponse], ids=lambda kind: kind.name)
def test_a_parameter_that_cannot_act_is_refused(kind: type[Workload]) -> None:
    with pytest.raises(UserError, match=rf"{kind.name}.send: 0.5 cannot act: every request is answered once"):
        dataclasses.replace(kind(), send_ratio=0.5)


@every_workload
def test_a_slow_link_and_a_fast_one_work(kind: type[Workload]) -> None:
    for ps_per_byte in (8_000_000, 20):
        source, kept = new_source(kind(), frames=200, ps_per_byte=ps_per_byte)
        frames = next_batch(kind(), source)
        assert np.all(np.diff(frames.arrival_ps) >= (frames.length[1:] + 20) * ps_per_byte)
        assert kept is not None


def test_the_compiler_changes_nothing() -> None:
    """Every workload's frames, answers and stores, as machine code and as plain Python."""

    def run(disabled: str) -> str:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": f"{root}:{root / 'tests'}"}
        script = root / "tests" / "support" / "workload_frames.py"
        command = [sys.executable, "-W", "error::RuntimeWarning", str(script)]
        return subprocess.run(
            command, env=environment, cwd=root, check=True, capture_output=True, text=True, timeout=300
        ).stdout

    compiled = run("0")
    assert len(compiled.splitlines()) == len(ALL_WORKLOADS)
    assert compiled == run("1")
