"""Workloads: one conformance test over all, then what each promises."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workload_frames import PS_PER_BYTE, Frames, Guest, collect, new_source, next_batch

from vfbench.errors import UserError
from vfbench.parameters import changed, parameters_of
from vfbench.quantiles import pareto_mean, pareto_table, power, zipf_table
from vfbench.workload import BATCH_FRAMES, FRAMES, NEVER_PS, Workload, may_put, next_flow, put_frame
from workloads import ALL_WORKLOADS
from workloads.bulk import Bulk
from workloads.bursty import Bursty
from workloads.imix import ImixSimple
from workloads.key_value import KEYS, STRIDE, KeyValue, value_address
from workloads.pcap import Pcap
from workloads.request_response import DUPLICATES, NOBODY, OLDEST, PORTS, RESENT, RequestResponse
from workloads.small_packets import SmallPackets

US, MS, S = 10**6, 10**9, 10**12
OPEN_LOOPS = [each for each in ALL_WORKLOADS if each is not RequestResponse]
RANDOM = (ImixSimple, Bursty, KeyValue)
every_workload = pytest.mark.parametrize("kind", ALL_WORKLOADS, ids=lambda kind: kind.name)
every_open_loop = pytest.mark.parametrize("kind", OPEN_LOOPS, ids=lambda kind: kind.name)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler's cache is fixed on import; this one is the captures'."""
    monkeypatch.setattr(
        "vfbench.captures.user_cache_path", lambda _name: tmp_path_factory.getbasetemp() / "cache"
    )


def offered_bps(frames: Frames) -> float:
    """From the first frame's start to the last one's; the last frame itself is not counted."""
    return int((frames.length[:-1] + 20).sum()) * 8 * S / int(frames.start_ps[-1] - frames.start_ps[0])


# --- conformance


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
        root = Path(__file__).parent.parent
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(root)}
        command = [sys.executable, "-W", "error::RuntimeWarning", str(root / "tests" / "workload_frames.py")]
        return subprocess.run(
            command, env=environment, cwd=root, check=True, capture_output=True, text=True, timeout=300
        ).stdout

    compiled = run("0")
    assert len(compiled.splitlines()) == len(ALL_WORKLOADS)
    assert compiled == run("1")


# --- the open loops


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


# --- key-value


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.5, 4.0])
def test_the_shares_of_keys_follow_zipf(exponent: float) -> None:
    tags = collect(KeyValue(keys=1000, zipf=exponent), 200_000).tag >> 1
    weights = np.arange(1, 1001) ** -exponent
    share = np.bincount(tags, minlength=1000) / len(tags)
    assert len(share) == 1000
    assert share == pytest.approx(weights / weights.sum(), abs=0.004)


def test_the_zipf_table_reaches_the_last_key() -> None:
    table = zipf_table(1 << 20, 0.99)
    assert np.all(np.diff(table) >= 0)
    assert (table[0], table[-1] >> 16) == (0, 1 << 20)


def test_one_key_is_enough() -> None:
    assert set(collect(KeyValue(keys=1), 1000).tag >> 1) == {0}


def test_the_share_of_sets_and_their_size() -> None:
    frames = collect(KeyValue(set_share=0.3, request_bytes=100, value_bytes=200), 100_000)
    is_set = frames.tag & 1
    assert is_set.mean() == pytest.approx(0.3, abs=0.01)
    assert np.array_equal(frames.length, 100 + 200 * is_set)


def test_a_set_dirties_the_pages_of_its_value_and_a_get_none() -> None:
    guest = Guest(KeyValue(keys=40, value_bytes=1536, request_bytes=96), heap_pages=16)
    across = next(rank for rank in range(40) if value_address(guest.application, rank) % 4096 > 4096 - 1536)
    assert guest.deliver(96, across << 1) == 96 + 1536
    assert guest.dirty_pages() == []
    assert guest.deliver(96 + 1536, across << 1 | 1) == 96
    first, second = guest.dirty_pages()
    assert second == first + 1
    assert 8 <= first < second < 8 + 16


def test_all_keys_have_places_of_their_own_when_the_heap_is_large_enough() -> None:
    guest = Guest(KeyValue(keys=16, value_bytes=1952), heap_pages=8)
    for rank in range(16):
        guest.deliver(2048, rank << 1 | 1)
    assert len({value_address(guest.application, rank) for rank in range(16)}) == 16
    assert guest.dirty_pages() == list(range(8, 16))


def test_a_heap_too_small_for_a_value_is_left_alone() -> None:
    guest = Guest(KeyValue(value_bytes=1024, request_bytes=96), heap_pages=0)
    assert guest.deliver(1120, 1) == 96
    assert guest.dirty_pages() == []


def test_the_stride_visits_every_key() -> None:
    for keys in (1, 2, 6, 1000, 1 << 20):
        scratch = Guest(KeyValue(keys=keys)).application.scratch
        assert np.gcd(int(scratch[STRIDE]), int(scratch[KEYS])) == 1


# --- request-response


class Loop:
    """A closed loop under the test's hands."""

    def __init__(self, **parameters: Any) -> None:
        self.workload = RequestResponse(**parameters)
        self.source, self.kept = new_source(self.workload)

    def ask(self, horizon_ps: int = NEVER_PS) -> Frames:
        return next_batch(self.workload, self.source, horizon_ps)

    def answer(self, flow: int, time_ps: int) -> None:
        RequestResponse.peer_received(self.source, time_ps, 64, flow)


def test_each_client_asks_once_and_then_waits() -> None:
    loop = Loop(flows=5)
    assert sorted(loop.ask(MS).flow % 5) == [0, 1, 2, 3, 4]
    assert len(loop.ask(MS).flow) == 0


def test_an_answer_brings_the_next_request_after_the_turnaround_from_another_port() -> None:
    loop = Loop(flows=2)
    first = loop.ask(MS)
    loop.answer(int(first.flow[1]), 50 * US)
    second = loop.ask(MS)
    assert list(second.start_ps) == [70 * US]
    assert second.flow[0] % 2 == first.flow[1] % 2
    assert second.flow[0] != first.flow[1]


def test_a_lost_request_is_sent_again_after_the_timeout() -> None:
    loop = Loop(flows=3, timeout_ns=1_000_000)
    first = loop.ask(MS // 2)
    loop.answer(int(first.flow[1]), 10 * US)
    again = loop.ask(first.start_ps[0] + MS + 10 * US)
    assert list(again.flow[1:]) == [first.flow[0], first.flow[2]]
    assert list(again.start_ps[1:]) == [first.start_ps[0] + MS, first.start_ps[2] + MS]
    assert loop.source.scratch[RESENT] == 2


def test_duplicate_and_late_answers_are_counted_and_ignored() -> None:
    loop = Loop(flows=1, timeout_ns=1_000_000)
    flow = int(loop.ask(MS // 2).flow[0])
    loop.ask(MS + MS // 2)  # sent again
    loop.answer(flow, 2 * MS)
    loop.answer(flow, 2 * MS + US)  # the other copy's answer, while nothing is asked
    loop.ask(2 * MS + 100 * US)
    loop.answer(flow, 2 * MS + 100 * US)  # and while the next is
    assert len(loop.ask(2 * MS + 200 * US).flow) == 0
    assert loop.source.scratch[DUPLICATES] == 2


def test_the_loop_conserves_its_clients_whatever_is_lost_late_or_doubled() -> None:
    chance = np.random.default_rng(7)
    loop = Loop(flows=40, timeout_ns=300_000)
    on_their_way: list[tuple[int, int]] = []
    now_ps, asked = 0, 0
    for _ in range(3000):
        now_ps += 10 * US
        for answer in sorted(each for each in on_their_way if each[0] <= now_ps):
            on_their_way.remove(answer)
            loop.answer(answer[1], answer[0])
        for at_ps, flow in zip((batch := loop.ask(now_ps)).arrival_ps, batch.flow, strict=True):
            copies = chance.choice([0, 1, 1, 1, 2])
            on_their_way += [
                (int(at_ps) + int(chance.integers(1, 500)) * US, int(flow)) for _ in range(copies)
            ]
            asked += 1
        waiting = count_waiting(loop)
        assert waiting + int(loop.source.ready_tail - loop.source.ready_head) == 40
    assert asked > 2000
    assert loop.source.scratch[RESENT] > 100
    assert loop.source.scratch[DUPLICATES] > 100


def count_waiting(loop: Loop) -> int:
    (clients,) = loop.kept
    client, count, last_ps = int(loop.source.scratch[OLDEST]), 0, -1
    while client != NOBODY:
        assert clients[client][1] >= last_ps
        last_ps, client, count = clients[client][1], int(clients[client][3]), count + 1
    return count


def test_a_rate_paces_the_closed_loop() -> None:
    frames = collect(RequestResponse(rate_bps=10**8, flows=64), 1000)
    assert offered_bps(frames) == pytest.approx(10**8, rel=0.001)


def test_every_request_is_answered_at_the_given_size() -> None:
    assert Guest(RequestResponse(answer_bytes=777)).deliver(128, 0) == 777


def test_flows_of_requests_fit_the_common_bound() -> None:
    most = next(each.high for each in parameters_of(RequestResponse) if each.field == "flows")
    assert most is not None
    assert most * PORTS <= 1 << 20


# --- pcap


def write_capture(path: Path, packets: list[tuple[int, int]], destination: int = 1) -> str:
    """A pcap of (nanoseconds, length) Ethernet packets of one UDP flow."""
    header = struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 64, 1)
    data = bytes([2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, 9, 8, 0]) + bytes(28)
    records = [struct.pack("<IIII", t // 10**9, t % 10**9, 42, n) + data for t, n in packets]
    path.write_bytes(header + b"".join(records))
    return str(path)


def test_a_capture_keeps_its_times_and_gains_its_fcs(tmp_path: Path) -> None:
    capture = write_capture(
        tmp_path / "a.pcap", [(5 * 10**9, 42), (5 * 10**9 + 3000, 1514), (5 * 10**9 + 9000, 100)]
    )
    frames = collect(Pcap(capture=capture, loop=False), 100)
    assert list(frames.length) == [64, 1518, 104]
    assert list(frames.start_ps) == [0, 3 * US, 9 * US]


def test_speed_scales_the_times_and_zero_is_as_fast_as_the_wire(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(0, 96), (10_000, 96), (30_000, 96)])
    assert list(collect(Pcap(capture=capture, loop=False, speed=2.0), 9).start_ps) == [0, 5 * US, 15 * US]
    assert list(np.diff(collect(Pcap(capture=capture, loop=False, speed=0.0), 9).start_ps)) == [120 * 800] * 2


def test_a_loop_begins_again_a_mean_distance_after_the_last_frame(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(0, 96), (10_000, 96), (30_000, 96)])
    assert list(collect(Pcap(capture=capture), 5).start_ps) == [0, 10 * US, 30 * US, 45 * US, 55 * US]


def test_a_capture_of_one_packet_can_loop(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(77, 96)])
    assert len(collect(Pcap(capture=capture), 50).length) == 50
    assert offered_bps(collect(Pcap(capture=capture, rate_bps=10**9), 50)) == pytest.approx(10**9, rel=0.001)


def test_without_loop_the_replay_ends(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(0, 96), (10, 96)])
    workload = Pcap(capture=capture, loop=False)
    source, kept = new_source(workload)
    assert len(next_batch(workload, source).length) == 2
    assert source.next_ps == NEVER_PS
    assert kept is not None


def test_frames_recorded_above_segmentation_are_refused_or_cut(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(0, 54 + 3 * 1460 + 10), (10**6, 1514)])
    with pytest.raises(UserError, match=r"frame of 14058 B is over 2048.*pcap.segment=1518B"):
        new_source(Pcap(capture=write_capture(tmp_path / "b.pcap", [(0, 14054)])))
    frames = collect(Pcap(capture=capture, loop=False, segment_bytes=1518), 99)
    assert list(frames.length) == [1518, 1518, 1518, 68, 1518]


def test_speed_and_rate_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"pcap.speed: 2.0 cannot act: pcap.rate sets the speed"):
        Pcap(speed=2.0, rate_bps=10**9)


def test_a_replay_of_years_is_refused(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(0, 96), (4 * 10**18, 96)])
    with pytest.raises(UserError, match=r"packet 2: its time is 4000000000 s after"):
        new_source(Pcap(capture=capture))
    capture = write_capture(tmp_path / "b.pcap", [(0, 96), (10**16, 96)])
    with pytest.raises(UserError, match=r"would last \d+ days, and 13 is the most"):
        new_source(Pcap(capture=capture))


def test_the_shipped_capture_is_small_and_holds_real_frames() -> None:
    received, both = collect(Pcap(loop=False), 20_000), collect(Pcap(loop=False, direction="both"), 20_000)
    assert 2000 < len(received.length) < len(both.length) < 20_000
    assert both.length.max() == 1518
    assert len(set(both.flow)) == 64
