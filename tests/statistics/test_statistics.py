"""Statistics against known values: medians, intervals, ratios, rank tests, and when they can't tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.made_up_records import made_up, runs_frame

from vfbench.errors import UserError
from vfbench.statistics import compare, estimate, medians, rank_test, ratio, relative


def test_a_few_values_span_their_range_and_say_how_sure_that_is() -> None:
    found = estimate([3.0, 1.0, 2.0])
    assert (found.median, found.low, found.high, found.level) == (2.0, 1.0, 3.0, 0.75)


def test_the_range_of_n_values_holds_the_median_as_often_as_stated() -> None:
    samples = np.random.default_rng(1).normal(size=(20_000, 4))
    share = np.mean((samples.min(axis=1) < 0) & (samples.max(axis=1) > 0))
    assert share == pytest.approx(estimate([1, 2, 3, 4]).level, abs=0.01)


def test_the_bootstrap_interval_is_that_of_resampling_by_hand() -> None:
    values = np.arange(1.0, 12.0)
    resampled = np.random.default_rng(7).choice(values, size=(9999, 11))
    by_hand = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    found = estimate(values)
    assert (found.low, found.high) == pytest.approx(tuple(by_hand), abs=1.0)
    assert found.method == "bootstrap"


def test_the_same_values_give_the_same_interval() -> None:
    assert estimate([5, 1, 4, 2, 8, 7, 3]) == estimate([5, 1, 4, 2, 8, 7, 3])


def test_one_value_has_no_interval_and_none_has_no_median() -> None:
    assert math.isnan(estimate([4.0]).low)
    assert math.isnan(estimate([None, float("nan")]).median)


def test_values_that_agree_are_as_narrow_as_can_be() -> None:
    assert estimate([7.0] * 8).reach == 0.0


def test_a_spread_over_five_percent_is_too_wide_to_tell() -> None:
    assert estimate([100, 106, 94]).too_wide
    assert not estimate([100, 104, 96]).too_wide


def test_a_ratio_runs_from_lowest_over_highest_to_highest_over_lowest() -> None:
    found = ratio([8.0, 10.0], [4.0, 5.0])
    assert (found.ratio, found.low, found.high) == (2.0, 8 / 5, 10 / 4)


def test_nothing_is_relative_to_zero() -> None:
    assert math.isnan(ratio([1.0, 2.0], [0.0, 0.0]).ratio)


def test_complete_separation_of_four_and_four_has_the_known_p() -> None:
    assert rank_test([1, 2, 3, 4], [5, 6, 7, 8]).p == pytest.approx(2 / 70)


def test_ties_are_tested_over_all_permutations() -> None:
    assert rank_test([1, 1, 1, 1], [2, 2, 2, 2]).p == pytest.approx(2 / 70)
    assert rank_test([1, 1, 2], [1, 1, 2]).p == 1.0


def test_two_sets_that_part_are_higher_and_lower() -> None:
    assert compare([5, 6, 7, 8], [1, 2, 3, 4]).outcome == "higher"
    assert compare([1, 2, 3, 4], [5, 6, 7, 8]).outcome == "lower"


def test_two_sets_that_agree_are_the_same() -> None:
    assert compare([100, 101, 99], [100, 100, 101]).outcome == "same"


def test_two_repeats_each_can_never_tell_and_it_says_so() -> None:
    found = compare([1.0, 2.0], [10.0, 11.0])
    assert found.outcome == "unclear"
    assert "run 4 or more of each" in found.warning


def test_a_wide_spread_is_named_as_the_reason() -> None:
    found = compare([50, 100, 150, 200], [60, 90, 160, 190])
    assert found.outcome == "unclear"
    assert "the spread is too wide to tell" in found.warning


def test_a_median_rests_on_the_repeats_of_its_cell_only() -> None:
    frame = runs_frame(
        made_up("stores", seeds=3, gbps=[1.0, 2.0, 9.0]),
        made_up("stores", gbps=5.0, driver__page_reuse="none"),
    )
    found = medians(frame, ["gbps"])
    assert list(found["median"]) == [2.0, 5.0]
    assert [len(each) for each in found["experiments"]] == [3, 1]


def test_failed_runs_count_towards_no_median() -> None:
    frame = runs_frame(made_up("stores", gbps=1.0), made_up("stores", gbps=9.0, state="failed"))
    assert list(medians(frame, ["gbps"])["median"]) == [1.0]


def test_each_cell_is_relative_to_the_baseline_of_its_own_work() -> None:
    frame = runs_frame(
        made_up("copied", gbps=4.0),
        made_up("stores", gbps=8.0),
        made_up("copied", gbps=2.0, driver__page_reuse="none"),
        made_up("stores", gbps=8.0, driver__page_reuse="none"),
    )
    assert list(relative(frame, {"strategy": "some-copied"}, ["gbps"])["ratio"]) == [2.0, 4.0]


def test_testbeds_are_never_held_against_each_other() -> None:
    frame = runs_frame(made_up("copied", gbps=4.0), made_up("stores", gbps=8.0, testbed="kvm"))
    assert relative(frame, {"strategy": "some-copied"}, ["gbps"]).empty


def test_a_baseline_that_did_not_run_is_named() -> None:
    with pytest.raises(UserError, match="no run is the baseline"):
        relative(runs_frame(made_up("stores", gbps=1.0)), {"strategy": "nobody"}, ["gbps"])
