"""Every strategy under every workload, on the model."""

from __future__ import annotations

import pytest
from runs import STRATEGIES, WORKLOADS, run

DAMAGE = (
    "packets_corrupted",
    "packets_phantom",
    "packets_duplicated",
    "stale_pages_payload",
    "stale_pages_descriptor",
    "stale_pages_other",
)


@pytest.mark.parametrize("workload", sorted(WORKLOADS))
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_packet_ends_in_exactly_one_of_delivered_lost_and_corrupted(strategy, workload):
    outcome = run(STRATEGIES[strategy](), WORKLOADS[workload]())
    measures = outcome.measures
    assert outcome.state == "ok", outcome.reason
    assert measures["packets_offered"] > 0
    assert measures["packets_offered"] == (
        measures["packets_delivered"] + measures["packets_lost"] + measures["packets_corrupted"]
    )


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"untracked"}))
def test_no_strategy_but_the_baseline_damages_anything_by_default(strategy):
    measures = run(STRATEGIES[strategy]()).measures
    assert {name: measures[name] for name in DAMAGE} == dict.fromkeys(DAMAGE, 0)


def test_what_the_vf_wrote_after_the_last_copy_is_stale_where_nobody_tracked_it():
    measures = run(STRATEGIES["untracked"]()).measures
    assert measures["stale_pages_payload"] > 0


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_parts_of_the_downtime_add_up_to_it(strategy):
    measures = run(STRATEGIES[strategy]()).measures
    parts = ("quiesce", "final_sync", "final_copy", "state_transfer", "restore", "announce")
    assert sum(measures[f"{part}_ms"] for part in parts) == pytest.approx(measures["downtime_ms"])


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_same_experiment_twice_measures_the_same(strategy):
    first, second = run(STRATEGIES[strategy]()), run(STRATEGIES[strategy]())
    assert (first.measures, first.rounds, first.intervals) == (
        second.measures,
        second.rounds,
        second.intervals,
    )
