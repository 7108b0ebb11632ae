"""Ranking: weights, penalties, what is left out, and what would turn it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from vfbench.advice.ranking import Measured, measured_of, ranked, turning, weights_of
from vfbench.advice.ways import Way
from vfbench.errors import UserError


def measured(name, downtime=100.0, gbps=10.0, host=100.0, *, converged=True, damaged="", unmerged=()):
    return Measured(Way(name, unmerged=unmerged), downtime, gbps, host, converged, damaged)


def order(places):
    return [place.measured.way.strategy for place in places]


FAST = measured("fast", downtime=500, gbps=10, host=50)
SMOOTH = measured("smooth", downtime=50, gbps=5, host=200)


@pytest.mark.parametrize(
    ("weigh", "first"),
    [
        ("downtime", "smooth"),
        ("throughput", "fast"),
        ("host-cpu", "fast"),
        ("downtime=9,throughput=1", "smooth"),
    ],
)
def test_what_matters_decides_who_is_first(weigh, first):
    assert order(ranked([FAST, SMOOTH], weights_of(weigh)))[0] == first


def test_each_word_counts_half_of_the_one_before_unless_it_says_how_much():
    assert weights_of("risk,downtime,host-cpu") == {"risk": 1, "downtime": 0.5, "host-cpu": 0.25}
    assert weights_of("downtime=3, risk=1") == {"downtime": 3, "risk": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed", "--weigh 'speed': give each of downtime, throughput, host-cpu, risk once"),
        ("risk,risk", "--weigh 'risk': give each of"),
        ("risk=-1", "--weigh 'risk=-1': give a weight from 0"),
        ("risk=nan", "give a weight from 0"),
        ("risk=much", "give a weight from 0"),
        ("", "name what matters"),
        ("risk=0", "name what matters"),
    ],
)
def test_weights_that_say_nothing_are_refused(text, words):
    with pytest.raises(UserError) as refused:
        weights_of(text)
    assert words in str(refused.value)


def test_the_best_in_everything_scores_nothing():
    best, other = ranked(
        [measured("best", 10, 10, 10), measured("other", 20, 5, 20)], weights_of("downtime,throughput")
    )
    assert (best.score, other.penalties) == (0, {"downtime": 0.5, "throughput": 0.5})


def test_what_arrives_damaged_is_not_ranked():
    places = ranked([measured("wrong", 1, 100, 1, damaged="3 stale pages"), SMOOTH], weights_of("downtime"))
    assert order(places) == ["smooth"]


def test_what_never_converges_comes_last_whatever_its_figures():
    places = ranked([measured("endless", 0, 100, 1, converged=False), SMOOTH], weights_of("throughput"))
    assert order(places) == ["smooth", "endless"]
    assert [*turning(places, weights_of("throughput"))] == [
        "endless first: never, it did not converge under this load"
    ]


def test_risk_is_a_step_for_each_thing_that_nobody_ships():
    risky = measured("patched", unmerged=("a changed VF driver in the guest",))
    places = ranked([risky, measured("stock")], weights_of("risk"))
    assert order(places) == ["stock", "patched"]
    assert places[1].measured.risk == 1


def test_nothing_costs_no_host_and_has_no_penalty():
    places = ranked([measured("free", host=0), measured("dear", host=10)], weights_of("host-cpu"))
    assert [place.score for place in places] == [0, 1]


def test_the_weight_that_turns_it_turns_it():
    weights = weights_of("downtime=1,throughput=1")
    places = ranked([FAST, SMOOTH], weights)
    (sentence,) = turning(places, weights)
    assert order(places) == ["smooth", "fast"]
    assert "fast first: if downtime counts 56% of that; or if throughput counts 1.8 times as much" in sentence
    assert order(ranked([FAST, SMOOTH], weights_of("downtime=0.55,throughput=1"))) == ["fast", "smooth"]


def test_the_figure_that_turns_it_turns_it():
    weights = weights_of("downtime=1,throughput=1")
    (sentence,) = turning(ranked([FAST, SMOOTH], weights), weights)
    assert "the downtime of smooth were" in sentence
    figure = float(sentence.split("the downtime of smooth were ")[1].split()[0])
    assert 50 < figure < 500
    worse = dataclasses.replace(SMOOTH, downtime_ms=figure * 1.02)
    better = dataclasses.replace(SMOOTH, downtime_ms=figure * 0.95)
    assert order(ranked([FAST, worse], weights))[0] == "fast"
    assert order(ranked([FAST, better], weights))[0] == "smooth"


def test_what_nothing_alone_turns_says_so():
    places = ranked(
        [measured("best", 10, 10, 0), measured("worse", 20, 10, 0)], weights_of("throughput,host-cpu")
    )
    assert all("first: " in sentence for sentence in turning(places, weights_of("throughput,host-cpu")))


def test_one_alone_is_first_and_nothing_turns_it():
    places = ranked([FAST], weights_of("downtime"))
    assert [*turning(places, weights_of("downtime"))] == []


def test_figures_over_repeats_are_the_worst_downtime_and_the_median_of_the_rest():
    rows = [
        {
            "state": "ok",
            "downtime_ms": 30.0,
            "service_gap_ms": gap,
            "gbps": gbps,
            "host_cycles_per_packet": 7.0,
        }
        for gap, gbps in ((10.0, 9.0), (90.0, 5.0), (20.0, 7.0))
    ]
    found = measured_of(Way("x"), rows)
    assert (found.downtime_ms, found.gbps, found.host_cycles_per_packet) == (90.0, 7.0, 7.0)
    assert found.converged
    assert found.damaged == ""


def test_throughput_is_the_least_of_steady_state_and_pre_copy():
    row = {
        "state": "ok",
        "downtime_ms": 1.0,
        "gbps": 9.0,
        "gbps_migrating": 4.0,
        "host_cycles_per_packet": math.nan,
    }
    assert measured_of(Way("x"), [row]).gbps == 4.0


def test_one_damaged_run_of_several_is_damage_and_says_what():
    rows = [{"state": "ok", "pages_compared": 9, "stale_pages_payload": count} for count in (0, 3)]
    assert measured_of(Way("x"), rows).damaged == "3 stale pages payload"
