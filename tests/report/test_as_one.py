"""`bench compare --strategies`: two strategies on the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfbench.errors import UserError
from vfbench.records import read_records
from vfbench.report.as_one import as_one
from vfbench.report.two_sets import side_by_side

TODAY = Path(__file__).resolve().parents[2] / "results" / "today"


def test_two_strategies_of_one_set_are_held_against_each_other_workload_by_workload() -> None:
    records = read_records(TODAY)
    found = side_by_side(*as_one(records, records, "device-dirty-log=iommu-dirty-bits"))
    works = {str(each.run["workload"]) for each in records}
    assert len(found.pairs) == 2 * len(works)
    assert not found.only_before
    resent = [c for pair in found.pairs for c in pair.changes if c.measure == "resent_bytes"]
    assert {each.standing for each in resent} == {"worse"}


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        ("hybrid", "is no pair like"),
        ("=hybrid", "is no pair like"),
        ("hybrid=hybird", "B has no run of 'hybird' - did you mean 'hybrid'"),
    ],
)
def test_what_is_no_pair_or_did_not_run_is_said(pair: str, complaint: str) -> None:
    records = read_records(TODAY)
    with pytest.raises(UserError) as error:
        as_one(records, records, pair)
    assert complaint in str(error.value)
