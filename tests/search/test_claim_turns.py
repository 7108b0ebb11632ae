"""`bench claims --sensitivity`: a few works of each verdict, one cost at a time, stored and taken up again."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fakes import STRATEGIES, WORKLOADS, Careful, Steady

from vfbench import runner
from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.mechanism import Trait
from vfbench.profiles import Profile, load_profile
from vfbench.records import (
    Outcome,
    Record,
    ResultSet,
    intervals_frame,
    read_records,
    rounds_frame,
    runs_frame,
)
from vfbench.report.verdicts import turns_in_words
from vfbench.runner import run_all
from vfbench.search import varied as varied_module
from vfbench.search.claim_turns import Store, missing_experiments, plans_of, run_plan, with_turns
from vfbench.search.sensitivity import variations_of
from vfbench.search.varied import GROUP, varied_outcomes
from vfbench.settings import Guest
from vfbench.verdicts import Verdict, chosen_claims, evaluate


@dataclasses.dataclass(frozen=True)
class Marking(Careful):
    """Marks by guest stores."""

    @property
    def traits(self) -> dict[str, Trait]:
        return {"dma_visible_by": "guest-store"}


RAN: list[str] = []
KNOWN: Any = ({**STRATEGIES, "careful": Marking}, WORKLOADS)
C12 = chosen_claims(["C12"])


def gap_of_page_header(experiment: Experiment, profile: Profile, progress: Any) -> Outcome:
    """The longest gap is ten ms for each byte of `page_header` (8, at most 64)."""
    RAN.append(experiment.digest)
    return Outcome(state="ok", measures={"service_gap_ms": 10 * profile.value("page_header")}, wall_s=0.5)


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    testbed = SimpleNamespace(run=gap_of_page_header, refusals=lambda _: [])
    for module in (runner, varied_module):
        monkeypatch.setattr(module, "load_testbed", lambda name: testbed)


def recorded(results: Path, works: int = 5) -> list[Record]:
    made = [
        Experiment(Marking(), Steady(), guest=Guest(memory_bytes=(each + 1) << 28)) for each in range(works)
    ]
    result_set = ResultSet.create(results, ["any"], "steady", datetime.now(UTC))
    list(run_all(made, load_profile("xeon-82599"), result_set, lambda *_: None))
    RAN.clear()
    return read_records(results)


def varied(results: Path, records: list[Record], costs: str = "page_header") -> Store:
    store = Store.beside(results)
    for profile, plan in plans_of(records, *KNOWN, C12, (costs,)):
        run_plan(store, profile, plan, lambda: None, 1, (costs,))
    return store


def shown(records: list[Record], store: Store) -> Verdict:
    frames = (runs_frame(records), rounds_frame(records), intervals_frame(records))
    (verdict,) = with_turns(evaluate(*frames, C12), store)
    return verdict


def test_the_end_of_a_range_that_turns_a_verdict_stands_beside_it(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set")
    verdict = shown(records, varied(tmp_path / "set", records))
    assert verdict.outcome == "holds"
    assert verdict.turned_by == ("page_header at 64 bytes (high): fails",)
    assert "Turned by page_header at 64 bytes (high): fails (1 ends tried" in turns_in_words(verdict)
    assert verdict.to_json()["turned_by"] == ["page_header at 64 bytes (high): fails"]


def test_a_cost_that_changes_nothing_turns_nothing_and_that_is_said(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set")
    verdict = shown(records, varied(tmp_path / "set", records, "exit_kernel"))
    assert (verdict.varied, verdict.turned_by) == (2, ())
    assert "Turned by no cost within its plausible range (2 ends" in turns_in_words(verdict)


def test_only_some_of_the_works_run_again(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set", works=5)
    varied(tmp_path / "set", records)
    assert len(set(RAN)) == 2
    assert len(RAN) == 2 * 2


def test_what_is_stored_is_not_run_again(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set")
    varied(tmp_path / "set", records)
    RAN.clear()
    varied(tmp_path / "set", records)
    assert RAN == []
    store = Store.beside(tmp_path / "set")
    ((profile, plan),) = plans_of(records, *KNOWN, C12, ("page_header",))
    assert missing_experiments(store, profile, plan) == 0
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".parts")] == []


def test_an_interrupted_run_keeps_the_experiments_that_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = recorded(tmp_path / "set")

    def interrupted(experiment: Experiment, profile: Profile, progress: Any) -> Outcome:
        if len(RAN) == 3:
            raise KeyboardInterrupt
        return gap_of_page_header(experiment, profile, progress)

    with monkeypatch.context() as patch:
        patch.setattr(
            varied_module, "load_testbed", lambda _: SimpleNamespace(run=interrupted, refusals=lambda _: [])
        )
        with pytest.raises(KeyboardInterrupt):
            varied(tmp_path / "set", records)
    RAN.clear()
    varied(tmp_path / "set", records)
    assert len(RAN) == 2


def test_a_part_that_is_something_else_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = recorded(tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr("vfbench.search.parts.Parts.remove", lambda _: None)
        varied(tmp_path / "set", records)
    (tmp_path / "set.sensitivity.json").unlink()
    first, _ = sorted((tmp_path / "set.sensitivity.parts").iterdir())
    first.write_text('{"outcomes": {"as stated": {"state": "splendid"}}}', encoding="utf-8")
    RAN.clear()
    assert shown(records, varied(tmp_path / "set", records)).turned_by
    assert len(RAN) == 2


def test_ends_that_change_nothing_of_a_run_are_tried_together() -> None:
    """Of ten costs the run meets one: two groups of each end, and the group of that one by itself."""
    profile = load_profile("xeon-82599")
    costs = tuple(variations_of(profile, ("exit_*", "touch_*", "page_header", "skb_copy_fixed", "rx_packet")))
    ends = {end: [each.cost for each in costs if each.end == end] for end in ("low", "high")}
    tried: list[str] = []

    def run(experiment: Experiment, figures: Profile) -> Outcome:
        tried.append("")
        return gap_of_page_header(experiment, figures, None)

    experiment = Experiment(Marking(), Steady())
    found = varied_outcomes(experiment, profile, costs, run)
    assert list(found) == ["as stated", "page_header at 64 bytes (high)"]
    groups = [ends[end][i : i + GROUP] for end in ends for i in range(0, len(ends[end]), GROUP)]
    met = sum(len(group) for group in groups if "page_header" in group and group is not groups[0])
    assert len(tried) == 1 + len(groups) + met
    assert len(tried) < 1 + len(costs)


def test_each_verdict_is_varied_on_the_first_profile_that_settles_it(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set")
    other = [
        dataclasses.replace(each, run={**each.run, "profile": "z", "profile_digest": "z" * 64})
        for each in records
    ]
    plans = list(plans_of([*records, *other], *KNOWN, C12, ("page_header",)))
    assert [profile.partition("@")[0] for profile, _ in plans] == ["xeon-82599"]


def test_what_was_stored_of_other_runs_counts_for_nothing(tmp_path: Path) -> None:
    records = recorded(tmp_path / "set")
    store = varied(tmp_path / "set", records)
    document = json.loads(store.path.read_text(encoding="utf-8"))
    for known in document["plans"].values():
        known["key"] = "of-other-code"
    store.path.write_text(json.dumps(document), encoding="utf-8")
    RAN.clear()
    varied(tmp_path / "set", records)
    assert len(RAN) == 4


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 99,
        '{"schema": 1, "plans": 5}',
        '{"schema": 1, "plans": {"p": {"key": 1}}}',
        '{"schema": 1, "plans": {"p": {"key": "", "experiments": 1, "ends": 0, "judged": {"c": {"C1": 5}}}}}',
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "set.sensitivity.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="is not what `bench claims --sensitivity` stored"):
        Store.beside(tmp_path / "set")


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.sensitivity.json").write_text('{"schema": 2, "plans": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="has schema 2"):
        Store.beside(tmp_path / "set")
