"""Sensitivity: which costs turn a verdict, on a testbed whose outcome is one cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fakes import STRATEGIES, WORKLOADS, Careful, Careless, Steady

from vfbench import runner
from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.mechanism import Trait
from vfbench.profiles import Profile, load_profile
from vfbench.records import Outcome, Record, ResultSet, read_records
from vfbench.runner import run_all
from vfbench.search.ranking import turned_pairs
from vfbench.search.sensitivity import Plan, Turn, plan, sensitivity
from vfbench.verdicts import chosen_claims


@dataclasses.dataclass(frozen=True)
class Marking(Careful):
    """Marks by guest stores."""

    @property
    def traits(self) -> dict[str, Trait]:
        return {"dma_visible_by": "guest-store"}


def gap_of_page_header(experiment: Experiment, profile: Profile, progress: Any) -> Outcome:
    """The longest gap is ten ms for each byte of `page_header` (8, at most 64), or 300 ms for the other strategy."""
    gap = 10 * profile.value("page_header") if experiment.strategy.name == "careful" else 300.0
    return Outcome(state="ok", measures={"service_gap_ms": gap, "gbps": 9.0}, wall_s=0.5)


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    testbed = SimpleNamespace(run=gap_of_page_header, refusals=lambda _: [])
    monkeypatch.setattr(runner, "load_testbed", lambda name: testbed)


def recorded(results: Path, planned: list[Experiment]) -> list[Record]:
    result_set = ResultSet.create(results, ["any"], "steady", datetime.now(UTC))
    list(run_all(planned, load_profile("xeon-82599"), result_set, lambda *_: None))
    return read_records(results)


def planned(results: Path, claims: tuple[str, ...] = (), costs: tuple[str, ...] = ()) -> Plan:
    made = [Experiment(Marking(), Steady(), seed=seed) for seed in (1, 2)]
    made.append(Experiment(Careless(), Steady()))
    known: Mapping[str, Any] = {**STRATEGIES, "careful": Marking}
    return plan(recorded(results, made), known, WORKLOADS, chosen_claims(claims), costs, bool(claims))


def turns(results: Path, *costs: str) -> list[Turn]:
    return sensitivity(planned(results, costs=costs), lambda *_: None)


def test_a_cost_that_turns_a_verdict_is_named_with_the_end_at_which_it_does(tmp_path: Path) -> None:
    found = [turn for turn in turns(tmp_path, "page_header") if turn.kind == "outcome"]
    assert [(turn.subject, turn.variation.end, turn.before, turn.after) for turn in found] == [
        ("C12", "high", "holds", "fails")
    ]


def test_a_cost_that_turns_the_order_of_two_strategies_is_named(tmp_path: Path) -> None:
    found = [turn for turn in turns(tmp_path, "page_header") if turn.kind == "order"]
    assert [(turn.subject, turn.before, turn.after) for turn in found] == [
        ("longest gap", "careful against careless", "reversed under 1 of 1 works")
    ]


def test_a_cost_that_changes_nothing_turns_nothing(tmp_path: Path) -> None:
    assert turns(tmp_path, "exit_*") == []


def test_every_experiment_runs_once_with_its_lowest_seed(tmp_path: Path) -> None:
    assert [(each.strategy.name, each.seed) for each in planned(tmp_path).experiments] == [
        ("careful", 1),
        ("careless", 1),
    ]


def test_a_claim_keeps_to_the_runs_that_its_verdict_rests_on(tmp_path: Path) -> None:
    assert [each.strategy.name for each in planned(tmp_path, ("C12",)).experiments] == ["careful"]


def test_a_figure_is_varied_only_where_its_range_leaves_it(tmp_path: Path) -> None:
    """page_header is stated at its low end."""
    assert [each.end for each in planned(tmp_path, costs=("page_header",)).variations] == ["high"]


def test_costs_that_do_not_exist_are_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cost of profile 'xeon-82599' matches nothing"):
        planned(tmp_path, costs=("nothing*",))


def test_a_claim_that_the_runs_do_not_settle_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"settle none of these claims.*C6: No run of"):
        planned(tmp_path, ("C6",))


def test_an_order_is_reversed_only_between_values_that_are_apart() -> None:
    key = ("work", "Gb/s")
    level = list(turned_pairs({key: {"a": 1.0, "b": 1.005}}, {key: {"a": 1.0, "b": 0.5}}))
    reversed_ = list(turned_pairs({key: {"a": 1.0, "b": 2.0}}, {key: {"a": 1.0, "b": 0.5}}))
    assert level == []
    assert reversed_ == [("Gb/s", "a against b", "reversed under 1 of 1 works")]
