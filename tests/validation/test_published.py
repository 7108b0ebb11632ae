"""Published results: entries that can be run, errors that count from the published range, and no excuse."""

from __future__ import annotations

import dataclasses
import re

import pytest
from support.runs import STRATEGIES, WORKLOADS

from cli import main
from vfbench.errors import RunFailed
from vfbench.profiles import load_profile, shipped_profiles
from vfbench.records.schema import RUNS as COLUMNS
from vfbench.validation.published.entries import published_results
from vfbench.validation.published.predict import Prediction, experiment_of, predictions
from vfbench.validation.published.table import published_table
from vfbench.validation.tables import load

ENTRIES = published_results()
BY_NAME = {entry.name: entry for entry in ENTRIES}


def predicted(entry, *found):
    values = iter(found)
    (prediction,) = predictions((entry,), STRATEGIES, WORKLOADS, lambda _: {entry.measure: next(values)})
    return prediction


def row(entry, value):
    prediction = Prediction(entry, value, None if value is None else entry.error(value))
    return published_table((prediction,), {}).rows[0]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_names_runs_and_measures_that_exist(entry):
    for run in entry.runs:
        assert experiment_of(run, STRATEGIES, WORKLOADS).profile in shipped_profiles()
    assert entry.measure in {column.name for column in COLUMNS} or not entry.runs
    assert (entry.needs == "") == (entry.take != "pending")
    assert entry.sure in ("A", "B", "C")
    assert entry.low <= entry.high


def test_a_prediction_inside_the_published_range_has_no_error():
    assert BY_NAME["power-kernel"].error(800) == 0


def test_an_error_counts_from_the_nearest_bound_of_the_range():
    assert BY_NAME["power-kernel"].error(375) == -0.5
    assert BY_NAME["power-kernel"].error(1530) == 0.5


def test_a_ratio_is_the_first_run_over_the_second():
    assert predicted(BY_NAME["power-kernel-gain"], 8.0, 2.0).predicted == 4.0


def test_a_share_is_what_the_first_run_wins_back_of_the_loss():
    assert predicted(BY_NAME["deferred-recovers"], 4.0, 2.0, 10.0).predicted == 0.25


def test_a_loss_is_what_the_first_run_falls_short_of_the_second():
    assert predicted(BY_NAME["iotlb-wall"], 6.0, 8.0).predicted == 0.25


def test_a_difference_is_what_the_first_run_has_more():
    assert predicted(BY_NAME["map-on-core"], 5000.0, 3000.0).predicted == 2000.0


def test_a_round_takes_longer_by_the_difference_of_the_reciprocals_of_its_rate():
    assert predicted(BY_NAME["vhost-adds-latency"], 0.02, 0.025).predicted == pytest.approx(10.0)


def test_a_loss_of_nothing_misses_a_published_loss():
    assert row(BY_NAME["iotlb-wall"], 0.0).met is False


def test_what_one_step_is_charged_is_the_sum_of_its_costs():
    found = predicted(BY_NAME["first-store-splits"])
    profile = load_profile("modern-25g")
    assert found.predicted == profile.picoseconds("write_fault") / 1000
    begins = predicted(BY_NAME["logging-begins"]).predicted
    per_gib_ps = profile.picoseconds("log_start_per_gib") + profile.picoseconds("log_clear_call")
    assert begins == pytest.approx(128 * per_gib_ps / 1e9)
    waits_ns = profile.value("post_copy_queue") * 0.8  # a byte at 10 Gb/s
    asked = predicted(BY_NAME["post-copy-request"]).predicted
    alone = predicted(BY_NAME["post-copy-request-preempt"]).predicted
    assert asked - alone == pytest.approx(waits_ns / 1e6)


def test_costs_are_added_up_for_the_rows_that_say_so_and_no_others():
    for entry in ENTRIES:
        assert (entry.charged is not None) == (entry.take == "costs")
        for cost in entry.charged.costs if entry.charged else ():
            assert cost in load_profile(entry.charged.profile).figures


def test_every_row_has_the_same_goal_whatever_the_prediction():
    rows = [row(entry, value) for entry in ENTRIES for value in (None, 0.0, entry.high, 1e9)]
    assert {(each.goal, each.limit) for each in rows} == {("relative", 0.25)}


def test_an_explanation_stands_beside_a_miss_and_does_not_take_its_goal_away():
    explained = dataclasses.replace(BY_NAME["strict-to-none"], explains="the driver that the paper had.")
    missed, met = row(explained, 1.0), row(explained, 8.0)
    assert (missed.met, "there: the driver that the paper had." in missed.note) == (False, True)
    assert (met.met, "the driver" in met.note) == (True, False)


def test_a_row_that_waits_for_its_mechanism_is_missed_and_says_which():
    waiting = row(BY_NAME["pml-over-write-protection"], None)
    assert (waiting.predicted, waiting.met) == (None, False)
    assert waiting.note.startswith("not modelled yet: work of the guest's own")


def test_what_waits_and_the_median_error_are_told_below_the_table():
    found = (
        Prediction(BY_NAME["vhost-receive"], 0.935, 0.1),
        Prediction(BY_NAME["power-user-space"], 264, 0.2),
        Prediction(BY_NAME["power-kernel"], 1530, 0.5),
        Prediction(BY_NAME["pml-over-write-protection"], None, None),
    )
    median, waiting, *_ = published_table(found, {}).left_out
    assert median == "the median error of the 3 that are run is 20.0 %."
    assert waiting == "1 of 4 wait for a mechanism, and count as missed."


LANDED = """bare-metal-strict bare-metal-deferred guest-sidecore-optimistic strict-to-none deferred-recovers
power-user-space power-kernel power-kernel-gain iotlb-wall bounce-buffers copy-over-strict swiotlb-forced swiotlb-areas
vhost-receive vhost-receive-by-size vhost-forward vhost-request-response offloads-into-a-guest first-store-logged
first-store-splits logging-begins vf-through-pre-copy vf-latency-through-pre-copy vf-kept-throughput
vf-kept-service-gap failover-total failover-total-later vfio-four-vfs vfio-four-vfs-multifd switchover-not-acknowledged
switchover-acknowledged virtio-vf-pre-copy vdpa-downtime vdpa-downtime-mapped vdpa-8-queues-39g vdpa-8-queues-128g
vdpa-8-queues-39g-mapped post-copy-request post-copy-request-preempt map-on-core map-off-core map-bare-metal
guest-trap-strict guest-trap-deferred guest-trap-optimistic bare-metal-optimistic vhost-adds-latency
vhost-four-streams logging-begins-page-by-page pml-over-write-protection first-touch-of-a-packet"""
"""Rows land before the mechanism that they test. This list only grows."""


def test_no_row_that_has_landed_is_removed():
    assert set(LANDED.split()) - set(BY_NAME) == set()


SHARED = {
    "logging-begins": "the cost is what the commit states of the time before it, the row after it",
    "first-store-logged": "the cost is the CPU time of splitting, the row the time of the guest's stores",
    "first-store-splits": "the cost is the CPU time of splitting, the row the time of the guest's stores",
}
"""Rows whose commit also states something else that a cost is taken from."""


def test_no_published_result_is_the_source_of_a_cost():
    """A cost set by an outcome would make that row meet its goal by itself."""
    stated = re.compile(r"\b(?:[0-9a-f]{12}|msg\d{6,})\b")
    figures = [figure for name in shipped_profiles() for figure in load_profile(name).figures.values()]
    cited = {commit for figure in figures for commit in stated.findall(figure.source)}
    circular = {name for name, entry in BY_NAME.items() if cited & set(stated.findall(entry.source))}
    assert circular - set(SHARED) == set()


def test_a_run_that_fails_misses_its_goal_and_ends_no_batch():
    def fails(_):
        raise RunFailed("the ledger does not add up")

    two = (BY_NAME["vhost-receive"], BY_NAME["pml-over-write-protection"])
    first, second = published_table(tuple(predictions(two, STRATEGIES, WORKLOADS, fails)), {}).rows
    assert (first.predicted, first.met) == (None, False)
    assert first.note.startswith("the run failed: the ledger does not add up")
    assert second.note.startswith("not modelled yet")


def test_the_command_stores_a_table_and_ends_with_1_where_a_goal_is_missed(tmp_path, capsys):
    words = ["validate", "published", "--only", "pml-over-*", "--results", str(tmp_path)]
    assert main(words) == 1
    assert "0 of 1 goals met" in capsys.readouterr().out
    assert load(tmp_path / "published.json").rows[0].case == "pml-over-write-protection"


def test_a_name_that_nothing_matches_is_refused_with_the_names_there_are(capsys):
    assert main(["validate", "published", "--only", "atlantis"]) == 2
    assert "there are bare-metal-strict, bare-metal-deferred" in capsys.readouterr().err


def test_the_commands_that_repeat_the_runs_can_be_had(capsys):
    assert main(["validate", "published", "--commands", "--only", "power-kernel"]) == 0
    assert "bench run --strategy emulated-iommu --workload tcp-stream" in capsys.readouterr().out
