"""Published results: entries that can be run, errors that count from the published range, and what excuses one."""

from __future__ import annotations

import dataclasses

import pytest
from support.runs import STRATEGIES, WORKLOADS

from cli import main
from vfbench.errors import RunFailed
from vfbench.profiles import shipped_profiles
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


def test_qemus_expected_downtime_follows_from_its_formula():
    prediction = predicted(BY_NAME["expected-downtime"])
    assert prediction.predicted == pytest.approx(3.562, abs=1e-3)
    assert prediction.error < 0.02


def test_what_is_off_misses_its_goal_unless_it_says_what_it_lacks():
    silent = dataclasses.replace(BY_NAME["vf-line-rate"], lacks="")
    excused = dataclasses.replace(silent, lacks="the card that the paper had.")
    assert row(silent, 5.0).met is False
    assert row(excused, 5.0).met is None
    assert "lacks: the card that the paper had." in row(excused, 5.0).note


def test_what_is_off_and_excused_is_counted_below_the_table():
    excused = dataclasses.replace(BY_NAME["vf-line-rate"], lacks="the card that the paper had.")
    counted = published_table((Prediction(excused, 4.74, -0.5),), {}).left_out[0]
    assert counted.startswith("1 of 1 results are off by more than 25%")
    assert counted.endswith("worst vf-line-rate, -50.0 %.")


def test_what_says_what_it_lacks_is_judged_where_it_is_not_off():
    assert row(dataclasses.replace(BY_NAME["vf-line-rate"], lacks="something."), 9.5).met is True


def test_a_result_without_a_run_is_shown_and_not_judged():
    shown = row(BY_NAME["device-state-switchover"], None)
    assert (shown.predicted, shown.observed, shown.met) == (None, "420 to 1900", None)


def test_a_run_that_fails_misses_its_goal_and_ends_no_batch():
    def fails(_):
        raise RunFailed("the ledger does not add up")

    two = (BY_NAME["vf-line-rate"], BY_NAME["expected-downtime"])
    first, second = published_table(tuple(predictions(two, STRATEGIES, WORKLOADS, fails)), {}).rows
    assert (first.predicted, first.met) == (None, False)
    assert first.note.startswith("the run failed: the ledger does not add up")
    assert second.met is True


def test_the_command_stores_a_table_and_shows_the_error(tmp_path, capsys):
    words = ["validate", "published", "--only", "expected-*", "--results", str(tmp_path)]
    assert main(words) == 0
    assert "+1.8 %" in capsys.readouterr().out
    assert load(tmp_path / "published.json").rows[0].case == "expected-downtime"


def test_a_name_that_nothing_matches_is_refused_with_the_names_there_are(capsys):
    assert main(["validate", "published", "--only", "atlantis"]) == 2
    assert "there are vf-line-rate, bare-metal-strict" in capsys.readouterr().err


def test_the_commands_that_repeat_the_runs_can_be_had(capsys):
    assert main(["validate", "published", "--commands", "--only", "power-kernel"]) == 0
    assert "bench run --strategy emulated-iommu --workload bulk" in capsys.readouterr().out


@pytest.mark.slow
def test_whatever_is_far_off_says_what_its_source_had():
    off = [each.published for each in predictions(ENTRIES, STRATEGIES, WORKLOADS) if each.is_off]
    assert [entry.name for entry in off if not entry.lacks] == []
