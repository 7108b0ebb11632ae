"""pcap: the content is the input, wherever it lies; a capture without times has no speed."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from support.made_up_captures import SECOND, STEADY, frame, interface, pcap, section, simple
from support.workload_frames import collect, new_source, offered_bps

from strategies import ALL_STRATEGIES
from vfbench.errors import UserError
from vfbench.experiment import Experiment
from workloads import ALL_WORKLOADS
from workloads.pcap import SHIPPED_CAPTURE, Pcap

pytestmark = pytest.mark.usefixtures("shared_capture_cache")

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}


def asked(path: Path, **workload: object) -> Experiment:
    return Experiment(strategy=STRATEGIES["untracked"](), workload=Pcap(capture=str(path), **workload))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "frames"),
    [
        (pcap(STEADY[:1]), "one frame"),
        (pcap([(5 * SECOND, frame(1), 60)] * 9), "9 frames of one instant"),
        (section() + interface() + simple(frame()) * 9, "9 frames of one instant"),
    ],
)
def test_what_has_no_span_has_no_speed(tmp_path: Path, content: bytes, frames: str) -> None:
    (tmp_path / "a.pcap").write_bytes(content)
    wanted = f"a.pcap: its replay is {frames}, which has no speed; give one, like --rate 1Gbps"
    with pytest.raises(UserError, match=wanted):
        new_source(Pcap(capture=str(tmp_path / "a.pcap")))
    with pytest.raises(UserError, match=wanted):
        new_source(Pcap(capture=str(tmp_path / "a.pcap"), speed=2.0))


def test_a_rate_spreads_frames_of_one_instant_evenly(tmp_path: Path) -> None:
    """100 B and 1000 B of wire at 1 Gb/s: 8 ns a byte, from start to start, in every round of the loop."""
    (tmp_path / "a.pcap").write_bytes(pcap([(0, frame(), 76), (0, frame(), 976), (0, frame(), 76)]))
    frames = collect(Pcap(capture=str(tmp_path / "a.pcap"), rate_bps=10**9), 6)
    assert list(np.diff(frames.start_ps)) == [800_000, 8_000_000, 800_000, 800_000, 8_000_000]
    assert offered_bps(collect(Pcap(capture=str(tmp_path / "a.pcap"), rate_bps=10**9), 300)) == pytest.approx(
        10**9, rel=0.02
    )


def test_as_fast_as_the_wire_lets_has_to_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(STEADY[:1]))
    assert len(collect(Pcap(capture=str(tmp_path / "a.pcap"), speed=0.0), 50).length) == 50


def test_another_capture_under_the_same_path_is_another_experiment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(STEADY))
    first = asked(path).digest
    path.write_bytes(pcap(STEADY[:-1]))
    assert asked(path).digest != first


def test_the_same_capture_is_the_same_experiment_wherever_it_lies_and_however_packed(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(STEADY))
    (tmp_path / "b.pcap.gz").write_bytes(gzip.compress(pcap(STEADY)))
    first, other = asked(tmp_path / "a.pcap"), asked(tmp_path / "b.pcap.gz")
    assert first.digest == other.digest
    assert first.digest != asked(tmp_path / "a.pcap", loop=False).digest
    assert asked(SHIPPED_CAPTURE).digest == dataclasses.replace(first, workload=Pcap()).digest


def test_an_experiment_is_made_again_from_its_document_only_with_the_same_capture(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(STEADY))
    document = asked(path).to_json()
    assert Experiment.from_json(document, STRATEGIES, WORKLOADS).digest == asked(path).digest
    path.write_bytes(pcap(STEADY[:-1]))
    with pytest.raises(UserError, match=r"pcap\.capture: the content of '.*a\.pcap' is another now"):
        Experiment.from_json(document, STRATEGIES, WORKLOADS)


def test_a_capture_that_changes_before_it_is_replayed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(STEADY))
    workload = Pcap(capture=str(path))
    assert workload.inputs["capture"]
    path.write_bytes(pcap(STEADY[:-1]))
    with pytest.raises(UserError, match="its content has changed since this run was asked for"):
        new_source(workload)


def test_a_capture_that_is_none_has_no_content_and_its_path_counts(tmp_path: Path) -> None:
    assert dict(asked(tmp_path / "missing.pcap").workload.inputs) == {}
    assert asked(tmp_path / "missing.pcap").digest != asked(tmp_path / "another.pcap").digest
