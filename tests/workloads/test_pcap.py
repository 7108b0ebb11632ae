"""pcap: a capture replayed at its own times, or others."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from support.workload_frames import US, collect, new_source, next_batch, offered_bps

from vfbench.errors import UserError
from vfbench.workload import NEVER_PS
from workloads.pcap import Pcap

pytestmark = pytest.mark.usefixtures("shared_capture_cache")


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


def test_a_capture_of_one_packet_can_loop_at_a_speed_that_is_given(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "a.pcap", [(77, 96)])
    assert len(collect(Pcap(capture=capture, speed=0.0), 50).length) == 50
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
