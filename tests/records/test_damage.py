"""Damage: one definition, the worst of the repeats, and nothing that a median could hide."""

from __future__ import annotations

import pandas
import pytest

from vfbench.records import MEASURES as COLUMNS
from vfbench.records.damage import DAMAGED, MEASURES, WHOLE, damage, damage_in, damage_of, verdict_of

FINE = {"pages_compared": 8000, **dict.fromkeys(MEASURES, 0)}


@pytest.mark.parametrize("measure", MEASURES)
def test_one_of_any_kind_is_damage(measure: str) -> None:
    assert verdict_of({**FINE, measure: 1}) == DAMAGED
    assert damage_of({**FINE, measure: 1}) == {measure: 1}


def test_every_kind_is_a_measure_of_the_schema() -> None:
    assert set(MEASURES) <= {column.name for column in COLUMNS}


def test_one_damaged_run_of_nine_is_damage_and_the_worst_is_told() -> None:
    found = damage([FINE] * 8 + [{**FINE, "stale_pages_payload": 1200, "packets_corrupted": 1}])
    assert found.verdict == DAMAGED
    assert found.short == "DAMAGED 1/9"
    assert str(found) == "DAMAGED in 1 of 9 runs (at worst 1,200 stale payload pages, 1 corrupted packet)"


def test_whole_takes_a_comparison() -> None:
    never = {**FINE, "pages_compared": None}
    assert verdict_of(never) is None
    assert str(damage([never])) == "not compared"
    assert str(damage([FINE, never])) == "WHOLE in 1 of 2 runs (1 not compared)"


def test_damage_that_was_counted_needs_no_comparison() -> None:
    assert verdict_of({"pages_compared": None, "packets_corrupted": 3}) == DAMAGED


def test_a_frame_gives_the_same_as_its_rows_and_missing_is_not_damage() -> None:
    rows = [FINE, {**FINE, "packets_phantom": 2}, {**FINE, "stale_pages_other": None}]
    frame = pandas.DataFrame(rows).astype(dict.fromkeys(FINE, "Int64"))
    assert damage_in(frame) == damage(rows)
    assert damage_in(frame).damaged == 1


def test_all_whole_is_said_of_all() -> None:
    assert damage([FINE] * 3).verdict == WHOLE
    assert str(damage([FINE] * 3)) == "WHOLE in all 3 runs"
