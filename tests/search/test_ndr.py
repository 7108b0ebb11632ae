"""The highest rate without loss: the search itself, and what the model answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import fakes
from support.runs import STRATEGIES, WORKLOADS, experiment, profile

import cli
from strategies import Untracked
from vfbench import runner
from vfbench.errors import RunFailed
from vfbench.experiment import Phases
from vfbench.options import Options
from vfbench.search.ndr import Limits, highest_rate, planned, search, steady_loss, steady_only
from workloads import Bulk

LINK = 10**10
LIMITS = Limits(trial_ns=20_000_000, tolerance=0.01, partial_drop=0.005)


def found_with(
    capacity: float, tolerance: float, allowed: float = 0.0
) -> tuple[int | None, dict[int, float]]:
    """The rate found on something that carries so many bit/s and loses all above, and the trials."""
    known: dict[int, float] = {}

    def loss_at(rate: int) -> float:
        return known.setdefault(rate, max(0.0, 1 - capacity / rate))

    return highest_rate(loss_at, LINK, tolerance, allowed, known), known


@pytest.mark.parametrize("capacity", [0.02, 0.3, 0.5, 0.987])
def test_the_search_ends_below_the_capacity_by_the_tolerance_at_most(capacity: float) -> None:
    found, _ = found_with(capacity * LINK, 0.01)
    assert found is not None
    assert 0.99 * capacity * LINK <= found <= capacity * LINK


def test_who_loses_nothing_at_the_links_rate_has_it_after_one_trial() -> None:
    assert found_with(LINK, 0.01) == (LINK, {LINK: 0.0})


def test_who_always_loses_has_no_such_rate() -> None:
    assert found_with(1, 0.01)[0] is None


def test_some_loss_allows_a_higher_rate() -> None:
    none, some = (found_with(5e9, 0.001, allowed)[0] for allowed in (0.0, 0.1))
    assert none == pytest.approx(5e9, rel=0.01)
    assert some == pytest.approx(5e9 / 0.9, rel=0.01)


def test_only_frames_of_the_steady_state_count() -> None:
    steady = {"phase": "steady", "packets_offered": 20, "packets_lost": 0}
    migrating = {"phase": "steady", "packets_offered": 100, "packets_lost": 90}
    rows: list[Any] = [*[steady] * 9, {**steady, "packets_lost": 1}, migrating]
    assert steady_loss(fakes.outcome(intervals=rows)) == 1 / 200


def test_a_steady_state_without_frames_is_no_answer() -> None:
    with pytest.raises(RunFailed, match="make the trial longer"):
        steady_loss(fakes.outcome(intervals=[]))


def test_both_rates_share_their_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[int] = []

    def run(made: Any, *_: object) -> Any:
        rates.append(made.workload.rate_bps)
        lost = max(0, round(10_000 * (1 - 4e9 / made.workload.rate_bps)))
        rows = [{"interval": 0, "phase": "steady", "packets_offered": 10_000, "packets_lost": lost}]
        return fakes.outcome(intervals=rows, measures={"latency_p50_us": 9.0, "latency_p99_us": 12.5})

    monkeypatch.setattr(runner, "load_testbed", lambda _: type("T", (), {"run": staticmethod(run)}))
    found = search(experiment(Untracked(), Bulk()), profile(), LIMITS)
    assert found.ndr_bps == pytest.approx(4e9, rel=0.03)
    assert found.pdr_bps is not None
    assert found.ndr_bps <= found.pdr_bps  # type: ignore[operator]
    assert found.trials == len(rates[:-3]) == len(set(rates[:-3]))
    assert rates[-3:] == [round(load * found.ndr_bps) for load in (0.1, 0.5, 0.9)]
    assert [(each.load, each.p50_us, each.p99_us) for each in found.latency] == [
        (0.1, 9.0, 12.5),
        (0.5, 9.0, 12.5),
        (0.9, 9.0, 12.5),
    ]


def test_a_run_that_fails_says_why_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise RunFailed("the ring stalled")

    monkeypatch.setattr(runner, "load_testbed", lambda _: type("T", (), {"run": staticmethod(run)}))
    found = search(experiment(Untracked(), Bulk()), profile(), LIMITS)
    assert (found.ndr_bps, found.pdr_bps, found.reason) == (None, None, "the ring stalled")


def test_frames_are_those_of_rfc_2544_unless_told() -> None:
    made = planned(Options(["untracked"], "bulk"), [], LIMITS, STRATEGIES, WORKLOADS)
    assert [each.workload.frame_bytes for each in made] == [64, 128, 256, 512, 1024, 1280, 1518]  # type: ignore[attr-defined]


def test_the_steady_state_is_whole_intervals_so_that_no_frame_of_the_migration_counts() -> None:
    phases = steady_only(experiment(Untracked(), phases=Phases(packets=1000)), 20_000_000).phases
    assert phases.steady_ns == 10 * phases.interval_ns == 20_000_000
    assert phases.packets == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("--workload", "pcap"),
            "workload 'pcap' has no frame size and rate to search over; these have: small-",
        ),
        (("--workload", "bulks"), "no workload is called 'bulks' - did you mean 'bulk'?"),
        (("--set", "bulk.rate=1Gbps"), "bulk.rate is what the search varies"),
        (("--frame", "64"), "bulk.frame: '64' is no size"),
        (("--frame", "1B"), "bulk.frame: 1B is out of range"),
        (("--tolerance", "0"), "0 is out of range (above 0, below 1)"),
        (("--partial-drop", "much"), "'much' is no"),
        (("--trial", "1us"), "--trial: 1us is out of range (1ms to 600s)"),
        (("--trial", "soon"), "--trial: 'soon' is no time"),
    ],
)
def test_bad_options_end_in_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    assert cli.main(["ndr", *words]) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_ndr_prints_a_row_for_each_strategy_and_frame(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["ndr", "--strategy", "untracked,virtio-net", "--frame", "64B,1518B", "--trial", "20ms"]
    small = ["--set", "guest.memory=64MiB", "--set", "guest.packet-memory=16MiB", "--tolerance", "10%"]
    assert cli.main([*words, *small, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {(each["strategy"], each["frame_bytes"]): each for each in document["found"]}
    assert document["partial_drop"] == 0.005
    assert len(rows) == 4
    assert rows["untracked", 1518]["ndr_bps"] == 10**10
    assert rows["untracked", 64]["ndr_bps"] < 5 * 10**9
    assert rows["untracked", 64]["ndr_bps"] <= rows["untracked", 64]["pdr_bps"]
