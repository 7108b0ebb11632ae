"""Runs, one after the other: what is recorded when something goes wrong on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support import fakes
from support.fakes import Careful, Careless, Figures, experiment

from vfbench import runner
from vfbench.errors import Unavailable, UserError
from vfbench.records import ResultSet, read_records
from vfbench.runner import refuse_what_cannot_be_honoured, repeats_of, run_all, to_skip

BOTH = [experiment(strategy=Careful()), experiment(strategy=Careless())]


def use(monkeypatch: pytest.MonkeyPatch, testbed: SimpleNamespace) -> None:
    monkeypatch.setattr(runner, "load_testbed", lambda name: testbed)


def run(results: Path, repeat: int = 1, progress: Any = lambda *_: None) -> list[runner.FinishedRun]:
    planned = repeats_of(BOTH, repeat)
    result_set = ResultSet.create(results, ["careful", "careless"], "steady", datetime.now(UTC))
    return list(run_all(planned, cast("Any", Figures()), result_set, progress))


def test_strategies_take_turns_and_every_repeat_has_the_next_seed() -> None:
    order = [(each.strategy.name, each.seed) for each in repeats_of(BOTH, 2)]
    assert order == [("careful", 1), ("careless", 1), ("careful", 2), ("careless", 2)]


def test_every_run_is_on_disk_before_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fakes.pretend_testbed())
    on_disk: list[int] = []
    run(tmp_path, 2, lambda *_: on_disk.append(len(list(tmp_path.glob("*/*/manifest.json")))))
    assert on_disk == [0, 1, 2, 3]


def test_a_run_that_fails_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fakes.pretend_testbed(failing="careful"))
    run(tmp_path, 2)
    found = [(each.run["strategy"], each.run["state"], each.run["reason"]) for each in read_records(tmp_path)]
    failed, fine = ("careful", "failed", "the ring stalled"), ("careless", "ok", "")
    assert found == [failed, fine, failed, fine]


def test_a_strategy_that_raises_anything_only_fails_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a strategy's\nown fault")

    use(monkeypatch, SimpleNamespace(run=broken))
    assert [done.outcome.reason for done in run(tmp_path)] == [
        "ZeroDivisionError: a strategy's own fault"
    ] * 2


def test_what_the_user_must_mend_ends_it_all_and_keeps_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fakes.pretend_testbed()

    def second_is_refused(made: Any, *rest: Any) -> Any:
        if made.strategy.name == "careless":
            raise UserError("capture.pcap is empty")
        return good.run(made, *rest)

    use(monkeypatch, SimpleNamespace(run=second_is_refused))
    with pytest.raises(UserError, match=r"capture\.pcap is empty"):
        run(tmp_path)
    assert [record.run["strategy"] for record in read_records(tmp_path)] == ["careful"]


def test_what_a_testbed_cannot_honour_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    testbed = fakes.pretend_testbed(refusing="guest.queues=16 is more than it has")
    use(monkeypatch, testbed)
    with pytest.raises(UserError, match=r"testbed 'model', strategy 'careful': guest.queues=16 is more"):
        refuse_what_cannot_be_honoured(BOTH, cast("Any", Figures()))
    assert testbed.runs == []


def refusing(name: str) -> SimpleNamespace:
    """A testbed that can't have one strategy."""
    good = fakes.pretend_testbed()
    return SimpleNamespace(
        run=good.run, runs=good.runs, refusals=lambda made: ["no PML"] if made.strategy.name == name else []
    )


def test_among_several_a_strategy_that_cannot_be_had_is_a_skipped_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, refusing("careless"))
    results = ResultSet(tmp_path / "set")
    list(
        run_all(BOTH, cast("Any", Figures()), results, lambda *_: None, to_skip(BOTH, cast("Any", Figures())))
    )
    found = [(each.run["strategy"], each.run["state"], each.run["reason"]) for each in read_records(tmp_path)]
    assert found == [
        ("careful", "ok", ""),
        ("careless", "skipped", "testbed 'model', strategy 'careless': no PML"),
    ]


def test_asked_for_alone_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, refusing("careless"))
    with pytest.raises(Unavailable, match="strategy 'careless': no PML"):
        to_skip([each for each in BOTH if each.strategy.name == "careless"], cast("Any", Figures()))


def test_what_turns_out_to_be_missing_while_it_runs_is_skipped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fakes.pretend_testbed()

    def run_or_not(made: Any, *rest: Any) -> Any:
        if made.strategy.name == "careless":
            raise Unavailable("this QEMU has no such device")
        return good.run(made, *rest)

    use(monkeypatch, SimpleNamespace(run=run_or_not))
    assert [done.outcome.state for done in run(tmp_path)] == ["ok", "skipped"]
    alone = [each for each in BOTH if each.strategy.name == "careless"]
    with pytest.raises(Unavailable, match="no such device"):
        list(run_all(alone, cast("Any", Figures()), ResultSet(tmp_path / "alone"), lambda *_: None))
