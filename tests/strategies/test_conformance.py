"""What must hold of every strategy and every workload, on the model and on a real VM alike.

The model runs every pair. A real VM takes seconds for each, so there the strategies take turns with the workloads.
"""

from __future__ import annotations

import dataclasses
import functools
from itertools import cycle, groupby, islice

import pytest
from support.runs import (
    MS,
    PHASES,
    STRATEGIES,
    WORKLOADS,
    changed,
    experiment,
    profile_for,
    run,
    small,
    why_no_kvm,
)

from vfbench.layout import lay_out
from vfbench.records import Outcome
from vfbench.records.damage import STALE, damage_of, was_compared
from vfbench.testbeds import load_testbed
from vfbench.testbeds.kvm.refusals import refusals

LEDGER = ("packets_delivered", "packets_lost", "packets_corrupted")
PARTS = ("quiesce", "final_sync", "final_copy", "state_transfer", "restore", "announce")
OWN_PARTS = ("emulator", "remap")
"""What the model charges by itself, and a real machine has in the others."""
MOST = max(len(STRATEGIES), len(WORKLOADS))
ON_KVM = list(islice(zip(cycle(sorted(STRATEGIES)), cycle(sorted(WORKLOADS)), strict=False), MOST))

PAIRS = [
    *(
        pytest.param("model", *pair)
        for pair in ((s, w) for s in sorted(STRATEGIES) for w in sorted(WORKLOADS))
    ),
    *(pytest.param("kvm", *pair, marks=pytest.mark.slow) for pair in ON_KVM),
]


@functools.cache
def outcome_of(testbed: str, strategy: str, workload: str) -> Outcome:
    made = experiment(small(strategy), WORKLOADS[workload]())
    if testbed == "kvm":
        made = dataclasses.replace(
            made, testbed="kvm", phases=changed(PHASES, steady_ns=200 * MS, after_ns=200 * MS)
        )
    return load_testbed(testbed).run(made, profile_for(made.strategy), lambda *_: None)


@pytest.fixture
def outcome(testbed: str, strategy: str, workload: str) -> Outcome:
    """The run that a test looks at; the test is skipped where its testbed can't run."""
    reason = why_no_kvm() if testbed == "kvm" else ""
    refused = refusals(experiment(small(strategy), WORKLOADS[workload]())) if testbed == "kvm" else []
    if reason or refused:
        pytest.skip(reason or refused[0])
    return outcome_of(testbed, strategy, workload)


@pytest.mark.parametrize(("testbed", "strategy", "workload"), PAIRS)
def test_every_packet_ends_in_exactly_one_of_delivered_lost_and_corrupted(outcome: Outcome) -> None:
    assert outcome.state == "ok", outcome.reason
    assert outcome.measures["packets_offered"] > 0
    assert outcome.measures["packets_offered"] == sum(outcome.measures[name] for name in LEDGER)


@pytest.mark.parametrize(("testbed", "strategy", "workload"), PAIRS)
def test_no_strategy_but_the_baseline_damages_anything_by_default(outcome: Outcome, strategy: str) -> None:
    allowed = {"packets_corrupted", *(kind.measure for kind in STALE)} if strategy == "untracked" else set()
    assert set(damage_of(outcome.measures)) <= allowed
    assert was_compared(outcome.measures)


@pytest.mark.parametrize(("testbed", "strategy", "workload"), PAIRS)
def test_the_parts_of_the_downtime_add_up_to_it(outcome: Outcome) -> None:
    parts = sum(outcome.measures[f"{part}_ms"] for part in PARTS)
    parts += sum(outcome.measures.get(f"{part}_ms") or 0 for part in OWN_PARTS)
    assert parts == pytest.approx(outcome.measures["downtime_ms"])


@pytest.mark.parametrize(("testbed", "strategy", "workload"), PAIRS)
def test_no_interval_lies_in_two_phases(outcome: Outcome) -> None:
    phases = [phase for phase, _ in groupby(each["phase"] for each in outcome.intervals)]
    stops_at_once = phases == ["steady", "blackout", "after"] and not outcome.rounds
    assert stops_at_once or phases == ["steady", "migrating", "blackout", "after"]


@pytest.mark.parametrize(("testbed", "strategy", "workload"), PAIRS)
def test_every_page_that_anyone_may_touch_is_compared(
    outcome: Outcome, testbed: str, strategy: str, workload: str
) -> None:
    cold = lay_out(experiment(small(strategy), WORKLOADS[workload]())).cold_pages if testbed == "model" else 0
    assert outcome.measures["pages_compared"] == (64 << 20) // 4096 - cold


@pytest.mark.parametrize("testbed", ["model", pytest.param("kvm", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("strategy", "workload"), [("untracked", "bulk")])
def test_what_the_vf_wrote_after_the_last_copy_is_stale_where_nobody_tracked_it(outcome: Outcome) -> None:
    assert outcome.measures["stale_pages_payload"] > 0


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_on_the_model_the_same_experiment_twice_measures_the_same(strategy: str) -> None:
    first, second = (run(small(strategy), figures=profile_for(small(strategy))) for _ in range(2))
    assert (first.measures, first.rounds, first.intervals) == (
        second.measures,
        second.rounds,
        second.intervals,
    )
