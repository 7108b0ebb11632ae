"""Runs on the model end: with their source, with what is on its way, and at their time limit."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import ClassVar

import pytest
from support.made_up_captures import SECOND, STEADY, frame, pcap
from support.runs import DRIVER, GUEST, MIB, PHASES, STRATEGIES, changed, profile, profile_for

from vfbench.experiment import Experiment, Link, Phases
from vfbench.runner import attempt
from vfbench.strategy import Strategy
from vfbench.testbeds import load_testbed, model
from vfbench.workload import Workload
from workloads import Bulk, KeyValue, RequestResponse
from workloads.pcap import Pcap

pytestmark = pytest.mark.usefixtures("shared_capture_cache")
ROOMY = changed(GUEST, memory_bytes=128 * MIB)
"""A bounce pool takes 64 MiB."""
LEDGER = ("packets_delivered", "packets_corrupted", "packets_lost")


def asked(
    workload: Workload, phases: Phases = PHASES, strategy: str = "dummy-write", rate_bps: int = 10**10
) -> Experiment:
    return Experiment(
        strategy=STRATEGIES[strategy](), workload=workload, guest=ROOMY, driver=DRIVER, phases=phases,
        link=Link(rate_bps=rate_bps),
    )  # fmt: skip


def no_progress(_fraction: float, _phase: str) -> None:
    """Nobody looks."""


def test_a_run_ends_when_its_capture_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap(STEADY))
    once = Pcap(capture=str(tmp_path / "a.pcap"), loop=False)
    outcome = model.run(asked(once, dataclasses.replace(PHASES, packets=10**6)), profile(), no_progress)
    assert (outcome.state, outcome.measures["packets_offered"]) == ("ok", len(STEADY))
    assert outcome.measures["input_frames"] == len(STEADY)


def test_packets_seconds_apart_take_no_longer_to_run_than_others(tmp_path: Path) -> None:
    """One step reaches over a silence; a step for each 20 us of it would be 50,000 a packet."""
    (tmp_path / "a.pcap").write_bytes(pcap([(i * SECOND, frame(), 100) for i in range(9)]))
    sparse = Pcap(capture=str(tmp_path / "a.pcap"), loop=False)
    steps = 0

    def count(_fraction: float, _phase: str) -> None:
        nonlocal steps
        steps += 1

    phases = dataclasses.replace(PHASES, packets=4, interval_ns=SECOND)
    outcome = model.run(asked(sparse, phases), profile(), count)
    assert outcome.measures["packets_offered"] >= 5
    assert steps < 100


def test_closed_loops_still_get_their_packets() -> None:
    for workload in (RequestResponse(), KeyValue()):
        outcome = model.run(asked(workload, dataclasses.replace(PHASES, packets=500)), profile(), no_progress)
        assert outcome.measures["packets_offered"] > 500


@pytest.mark.parametrize(
    "workload", [Bulk(), Bulk(send_ratio=1.0), RequestResponse()], ids=["bulk", "both ways", "closed"]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_ledger_adds_up_on_a_slow_link(workload: Workload, strategy: str) -> None:
    """At 1 Mb/s a full frame takes 12.3 ms, longer than all that was waited for."""
    made = asked(workload, strategy=strategy, rate_bps=10**6)
    outcome = model.run(made, profile_for(made.strategy), no_progress)
    assert outcome.measures["packets_offered"] == sum(outcome.measures[name] for name in LEDGER)  # type: ignore[misc]
    assert outcome.measures["packets_delivered"] > 0  # type: ignore[operator]


class Endless(STRATEGIES["untracked"]):  # type: ignore[misc, name-defined]
    name: ClassVar[str] = "endless"

    def migrate(self, migration: object) -> None:
        while True:
            time.sleep(0.01)


def test_a_run_without_an_end_is_ended_and_says_so() -> None:
    endless: Strategy = Endless()
    experiment = dataclasses.replace(asked(Bulk()), strategy=endless)
    outcome, error = attempt(load_testbed("model"), experiment, profile(), no_progress, limit_s=0.5)
    assert (outcome.state, error) == ("timed-out", None)
    assert outcome.reason == "still running after 0.5 s"
