"""Verdicts on real runs of the model: what the argument's arithmetic says comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support import runs

from strategies import DummyWrite, EmulatedIommu, Untracked
from vfbench.experiment import Device, Driver, Experiment, Guest, Precopy
from vfbench.records import ResultSet, read_intervals, read_rounds, read_runs
from vfbench.runner import run_all
from vfbench.verdicts import Verdict, chosen_claims, evaluate

SHORT_ROUNDS = Precopy(downtime_limit_ns=runs.MS)
LARGE = Guest(memory_bytes=256 * runs.MIB, packet_memory_bytes=8 * runs.MIB)
"""Its first pass takes longer than the 100 ms in which the bandwidth is measured, so rounds follow."""
NO_REUSE = Driver(tx_ring=256, page_reuse="none")


def verdict(folder: Path, claim: str, planned: list[Experiment]) -> Verdict:
    result_set = ResultSet.create(folder, ["any"], "bulk", datetime.now(UTC))
    list(run_all(planned, runs.profile(), result_set, lambda *_: None))
    (found,) = evaluate(
        read_runs(folder), read_rounds(folder), read_intervals(folder), chosen_claims([claim])
    )
    return found


def experiment(*arguments: Any, **parts: Any) -> Experiment:
    return runs.experiment(*arguments, **parts)


def test_full_frames_at_line_rate_re_send_the_whole_ring_in_every_round(tmp_path: Path) -> None:
    found = verdict(tmp_path, "C3", [experiment(DummyWrite(), guest=LARGE, migration=SHORT_ROUNDS)])
    pages = next(figure for figure in found.figures if figure.name == "packet pages dirtied per round")
    assert found.outcome == "holds"
    assert 512 <= pages.median <= 520


def test_line_rate_without_tricks_takes_recycled_pages(tmp_path: Path) -> None:
    drivers = (runs.DRIVER, NO_REUSE)
    planned = [
        experiment(strategy, driver=each, device=Device(moderation="fixed"))
        for strategy in (Untracked(), EmulatedIommu(exit_to="user-space"))
        for each in drivers
    ]
    found = verdict(tmp_path, "C7", planned)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where driver.page-reuse is none"
