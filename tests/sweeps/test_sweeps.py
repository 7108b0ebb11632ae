"""Sweeps: what runs, what is skipped, what is on disk however it ends. Cells run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import fakes

import cli
from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.profiles import load_profile
from vfbench.records import RECORD_FILES, Outcome, environment, read_records, read_runs, write
from vfbench.sweeps import sweep, task
from vfbench.sweeps.cells import Cell, cells_of
from vfbench.sweeps.grid import read_grids
from vfbench.sweeps.results import SweepResults
from vfbench.sweeps.specification import read_specification, specification
from vfbench.sweeps.sweep import DoneCell, make_plan, run_plan
from vfbench.sweeps.task import CellResult, run_cell

GRID = """
[[grid]]
name = "g"
strategies = ["all"]
workloads = ["steady"]
repeats = 2
"""
EVERY = ["careful 1", "careless 1", "careful 2", "careless 2"]
Bench = Callable[..., SimpleNamespace]


def use(monkeypatch: pytest.MonkeyPatch, testbed: SimpleNamespace) -> SimpleNamespace:
    monkeypatch.setattr(task, "load_testbed", lambda name: testbed)
    monkeypatch.setattr(sweep, "load_testbed", lambda name: testbed)
    monkeypatch.setattr("vfbench.runner.load_testbed", lambda name: testbed)
    return testbed


@pytest.fixture(autouse=True)
def testbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    Path("g.toml").write_text(GRID)
    return use(monkeypatch, fakes.pretend_testbed())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """`bench sweep` with cells that run here, one after the other."""
    monkeypatch.setattr(cli, "_strategies", lambda: fakes.STRATEGIES)
    monkeypatch.setattr(cli, "_workloads", lambda: fakes.WORKLOADS)
    monkeypatch.setattr(sweep, "on_this_machine", lambda workers: here)

    def call(*words: str) -> SimpleNamespace:
        code = cli.main(["sweep", "g.toml", *words])
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return call


def here(documents: Any) -> Iterator[tuple[int, CellResult]]:
    for number, document in enumerate(documents):
        yield number, run_cell(json.loads(json.dumps(document)))


def cells() -> list[Cell]:
    return cells_of(read_grids(Path("g.toml")), fakes.STRATEGIES, fakes.WORKLOADS)


def run(execute: Any = here, force: bool = False) -> list[DoneCell]:
    results = SweepResults(Path("results/g"))
    done: list[DoneCell] = []
    run_plan(make_plan(cells(), results, force=force), results, execute, execute, done.append)
    return done


def ran(testbed: SimpleNamespace) -> list[str]:
    return [f"{each.strategy.name} {each.seed}" for each in testbed.runs]


def states() -> dict[str, int]:
    return dict(read_runs("results/g")["state"].value_counts())


def test_a_cell_survives_its_specification() -> None:
    cell, profile = cells()[0], load_profile("xeon-82599")
    document = json.loads(json.dumps(specification(cell, profile)))
    assert read_specification(document) == (cell.experiment, profile)


def test_a_sweep_runs_each_cell_once_and_a_second_one_none(bench: Bench, testbed: SimpleNamespace) -> None:
    assert "4 cells run: 4 ok" in bench().out
    assert "0 cells run" in (second := bench()).out
    assert "4 were finished before" in second.out
    assert (second.code, ran(testbed), states()) == (0, EVERY, {"ok": 4})


def test_force_runs_finished_cells_again_and_replaces_their_records(
    bench: Bench, testbed: SimpleNamespace
) -> None:
    bench()
    before = {record.path: record.manifest["started"] for record in read_records("results/g")}
    bench("--force")
    after = {record.path: record.manifest["started"] for record in read_records("results/g")}
    assert ran(testbed) == EVERY * 2
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_record_that_cannot_be_replaced_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("vfbench.files._write_all", lambda *_: (_ for _ in ()).throw(OSError(28)))
    with pytest.raises(UserError, match="can't write the record"):
        run(force=True)
    assert states() == {"ok": 4}


def test_one_bad_cell_does_not_end_the_rest_and_can_be_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fakes.pretend_testbed(failing="careful"))
    done = bench()
    assert done.code == 1
    assert "2 ok, 0 not-converged, 2 failed, 0 timed-out, 0 skipped" in done.out
    assert "failed: g/careful_steady-s1: the ring stalled" in done.out
    assert "  bench run --strategy careful --workload steady --seed 1\n" in done.out


def test_cells_that_failed_run_again_the_next_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fakes.pretend_testbed(failing="careful"))
    bench()
    mended = use(monkeypatch, fakes.pretend_testbed())
    assert bench().code == 0
    assert (ran(mended), states()) == (["careful 1", "careful 2"], {"ok": 4})


def test_what_a_testbed_cannot_honour_is_skipped_with_its_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fakes.pretend_testbed(refusing="guest.queues: 4 is more than it has"))
    done = bench()
    assert (done.code, states()) == (0, {"skipped": 4})
    assert (
        "skipped: g/careful_steady-s1: testbed 'model', strategy 'careful': guest.queues: 4 is more"
        in done.out
    )


def test_what_raises_anything_at_all_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object) -> None:
        raise SystemExit("enough")

    use(monkeypatch, SimpleNamespace(run=leave, refusals=lambda _: []))
    assert [each.outcome.reason for each in run()] == ["enough"] * 4


@pytest.mark.parametrize("hears", [True, False])
def test_a_cell_that_takes_too_long_has_timed_out(monkeypatch: pytest.MonkeyPatch, hears: bool) -> None:
    import time

    def endless(_experiment: object, _profile: object, progress: Any) -> None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            time.sleep(0.01)
            if hears:
                progress(0.5, "steady")

    monkeypatch.setattr(task, "GRACE_S", 0.1)
    Path("g.toml").write_text(GRID.replace("repeats = 2", 'time-limit = "100ms"').replace("all", "careful"))
    use(monkeypatch, SimpleNamespace(run=endless, refusals=lambda _: []))
    (cell,) = cells()
    result = run_cell(specification(cell, load_profile("xeon-82599")))
    assert (result.outcome.state, result.outcome.reason) == ("timed-out", "still running after 0.1 s")
    assert result.runs_on is not hears


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, testbed: SimpleNamespace
) -> None:
    def interrupted(documents: Any) -> Iterator[tuple[int, CellResult]]:
        yield from list(here(documents))[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "on_this_machine", lambda workers: interrupted)
    done = bench()
    assert done.code == 130
    assert "interrupted with 1 cells to run" in done.err
    assert states() == {"ok": 3}
    monkeypatch.setattr(sweep, "on_this_machine", lambda workers: here)
    assert "1 cell run: 1 ok" in bench().out


def of_another(place: Path, other: Path) -> None:
    """The folder now holds the record of another cell."""
    for name in RECORD_FILES:
        (place / name).write_bytes((other / name).read_bytes())


def edited(place: Path, other: Path) -> None:
    """Its manifest now says that something else was run."""
    document = json.loads((place / "manifest.json").read_text())
    document["experiment"]["guest"]["memory_bytes"] *= 2
    (place / "manifest.json").write_text(json.dumps(document))


def truncated(name: str) -> Callable[[Path, Path], None]:
    def cut(place: Path, other: Path) -> None:
        table = place / name
        table.write_bytes(table.read_bytes()[:-20])

    return cut


SPOILT = {
    "another record": of_another,
    "an edited manifest": edited,
    "truncated runs": truncated("runs.parquet"),
    "truncated rounds": truncated("rounds.parquet"),
    "truncated intervals": truncated("intervals.parquet"),
    "no intervals": lambda place, other: (place / "intervals.parquet").unlink(),
    "another's rounds": lambda place, other: (place / "rounds.parquet").write_bytes(b""),
    "another's runs": lambda place, other: (place / "runs.parquet").write_bytes(
        (other / "runs.parquet").read_bytes()
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_cell_is_finished_only_by_a_sound_record_of_what_it_asks_for(
    bench: Bench, testbed: SimpleNamespace, how: str
) -> None:
    bench()
    place, other = (record.path for record in read_records("results/g")[:2])
    SPOILT[how](place, other)
    assert "1 cell run: 1 ok" in bench().out
    assert len(testbed.runs) == 5
    assert len({record.run["experiment"] for record in read_records("results/g")}) == 4
    assert "0 cells run" in bench().out


def test_the_only_record_of_another_experiment_is_not_replaced(
    bench: Bench, testbed: SimpleNamespace
) -> None:
    bench()
    place, other = (record.path for record in read_records("results/g")[:2])
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    other.rename(place)
    done = bench()
    assert (done.code, "holds the only record of another experiment" in done.err) == (2, True)
    assert len(testbed.runs) == 4


def test_other_costs_make_a_cell_unfinished(bench: Bench, testbed: SimpleNamespace) -> None:
    shipped = Path(load_profile.__globals__["_FOLDER"]) / "xeon-82599.toml"
    Path("mine.toml").write_text(shipped.read_text())
    assert "4 cells run" in bench("--profile", "mine.toml").out
    assert "0 cells run" in bench("--profile", "mine.toml").out
    Path("mine.toml").write_text(shipped.read_text().replace('summary = "', 'summary = "Mine. '))
    assert "4 cells run" in bench("--profile", "mine.toml").out
    assert len(testbed.runs) == 8


def test_what_a_killed_sweep_left_half_written_is_no_result_and_goes_away(bench: Bench) -> None:
    half = Path("results/g/.careful_steady-s1-abc.1234")
    half.mkdir(parents=True)
    (half / "manifest.json").write_text("{")
    assert "4 cells run: 4 ok" in bench().out
    assert not half.exists()


def test_two_sweeps_do_not_write_to_one_folder(bench: Bench, testbed: SimpleNamespace) -> None:
    with SweepResults(Path("results/g")).writing():
        done = bench()
    assert (done.code, testbed.runs) == (2, [])
    assert "another sweep is writing to results/g" in done.err


def test_kvm_cells_run_alone_and_last(testbed: SimpleNamespace) -> None:
    order: list[tuple[str, str]] = []

    def noted(who: str) -> Any:
        def execute(documents: Any) -> Iterator[tuple[int, CellResult]]:
            for number, document in enumerate(documents):
                order.append((who, document["experiment"]["testbed"]))
                yield number, CellResult(fakes.outcome(), datetime.now(UTC))

        return execute

    kvm = GRID.replace('"g"', '"k"') + 'testbed = "kvm"\n'
    Path("g.toml").write_text(kvm + GRID)
    results = SweepResults(Path("results/g"))
    plan = make_plan(cells(), results, force=False)
    run_plan(plan, results, noted("together"), noted("alone"), lambda _: None)
    assert order == [("together", "model")] * 4 + [("alone", "kvm")] * 4


def test_a_record_names_the_machine_that_the_cell_ran_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(documents: Any) -> Iterator[tuple[int, CellResult]]:
        with monkeypatch.context() as there:
            there.setattr(write, "_environment", lambda: {**environment(), "cpu": "elsewhere"})
            yield from list(here(documents))

    run(elsewhere)
    assert {record.manifest["environment"]["cpu"] for record in read_records("results")} == {"elsewhere"}


def test_a_cell_that_left_no_record_of_its_own_has_one() -> None:
    def dies(documents: Any) -> Iterator[tuple[int, CellResult]]:
        for number, _ in enumerate(documents):
            yield number, CellResult(Outcome("failed", "its process died"), datetime.now(UTC))

    run(dies)
    assert {record.run["reason"] for record in read_records("results")} == {"its process died"}


def test_list_and_dry_run_write_nothing(bench: Bench, testbed: SimpleNamespace) -> None:
    assert "to run         g/careful_steady-s1\n" in bench("--list").out
    dry = bench("--dry-run", "--workers", "2").out
    assert "in all 4 cells, each run once: 0 finished, 4 to run\n" in dry
    assert "by rule: 1 s of wall time per second of virtual time" in dry
    assert testbed.runs == []
    assert not Path("results").exists()


def test_the_estimate_rests_on_finished_cells_of_like_kind(bench: Bench) -> None:
    bench("--filter", "*s1")
    dry = bench("--dry-run", "--workers", "1").out
    assert "2 finished, 2 to run" in dry
    # The two that are left take 0.25 s each, as the finished ones did, after the processes have started.
    assert "estimated time: 6 s on 1 worker (from 2 finished cells)" in dry


def test_a_list_shows_each_cells_state(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fakes.pretend_testbed(failing="careful"))
    bench("--filter", "*s1")
    lines = bench("--list").out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["failed", "ok", "to"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--filter", "nothing*"), "none of the 4 cells matches nothing*"),
        (("--workers", "2", "--scheduler", "tcp://a:1"), "--workers and --scheduler are both given"),
        (("--workers", "0"), "0 is not in the range"),
        (("--profile", "no-such-one"), "no profile 'no-such-one'"),
        (("--time-limit", "soon"), "--time-limit: 'soon' is no time"),
        (("--results", "g.toml"), "g.toml"),
    ],
)
def test_bad_options_end_in_one_line_and_code_2(bench: Bench, words: tuple[str, ...], complaint: str) -> None:
    done = bench(*words)
    assert done.code == 2
    assert complaint in done.err
    assert done.err.count("\n") == 1


def test_a_testbed_that_there_is_not_is_refused_before_anything_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    Path("g.toml").write_text(GRID + 'testbed = "modell"')
    with pytest.raises(UserError, match="no testbed is called 'modell' - did you mean 'model'"):
        make_plan(cells(), SweepResults(Path("results/g")), force=False)


NINE = GRID.replace('["all"]', '["careful"]').replace("repeats = 2", "repeats = 9")


def test_one_damaged_run_of_nine_is_in_the_summary_and_in_the_exit_code_that_was_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome_of(experiment: Experiment, profile: object, progress: object) -> Outcome:
        found = {"pages_compared": 100, "stale_pages_payload": 12 if experiment.seed == 4 else 0}
        return Outcome("ok", measures=found)

    Path("g.toml").write_text(NINE)
    pretended = fakes.pretend_testbed()
    pretended.run = outcome_of
    use(monkeypatch, pretended)
    first = bench("--fail-on-damage")
    assert "careful: DAMAGED in 1 of 9 runs (at worst 12 stale payload pages)" in first.out
    assert first.code == 3
    assert bench("--fail-on-damage").code == 3  # also when all were finished before
    assert bench().code == 0
    assert cli.main(["claims", "results/g", "--fail-on-damage"]) == 3
    assert cli.main(["claims", "results/g"]) == 0
