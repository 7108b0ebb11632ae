"""The answer as the last lines of `run` and `show`, damage in the exit code, and results that can be found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import fakes
from support.fakes import Careful, Careless, experiment
from support.made_up import outcome, two_strategies, write

import cli
from vfbench import runner
from vfbench.records import Outcome

Bench = Callable[..., SimpleNamespace]
RUN = ("run", "--workload", "steady")


def pretend(ended: Callable[[Any], Outcome]) -> SimpleNamespace:
    return SimpleNamespace(run=lambda made, *_: ended(made), refusals=lambda _: [])


def one_of_nine_damaged(made: Any) -> Outcome:
    damaged = made.strategy.name == "careless" and made.seed == 4
    return outcome(8.0 + (made.strategy.name == "careless"), packets_corrupted=int(damaged))


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "_strategies", lambda: fakes.STRATEGIES)
    monkeypatch.setattr(cli, "_workloads", lambda: fakes.WORKLOADS)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "load_testbed", lambda name: pretend(one_of_nine_damaged))


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*words: str) -> SimpleNamespace:
        code = cli.main(list(words))
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return call


def answer(text: str) -> list[str]:
    """The last lines, behind the last empty one."""
    return text.rstrip("\n").rpartition("\n\n")[2].splitlines()


@pytest.mark.parametrize("words", [(), ("--brief",), ("--columns", "gbps")])
def test_run_and_show_end_with_the_answer_in_three_to_six_lines(bench: Bench, words: tuple[str, ...]) -> None:
    for done in (bench(*RUN, "--repeat", "9", *words), bench("show", "latest", *words)):
        lines = [line for line in answer(done.out) if not line.startswith("Records: ")]
        assert 3 <= len(lines) <= 6
        assert lines[0] == "WHOLE: careful (9 runs each)."
        assert lines[1] == "DAMAGED: careless in 1 of 9 runs (at worst 1 corrupted packet)."
        assert all(len(line) <= 80 for line in done.out.splitlines() if "Records: " not in line)


def test_quiet_is_the_answer_alone(bench: Bench) -> None:
    done = bench(*RUN, "--repeat", "9", "--quiet")
    assert done.out.splitlines()[0] == "WHOLE: careful (9 runs each)."
    assert "run 1 of" not in done.err


def test_damage_is_an_error_only_if_asked_for(bench: Bench) -> None:
    assert bench(*RUN, "--repeat", "3", "--fail-on-damage").code == 0
    assert bench(*RUN, "--repeat", "9").code == 0
    assert bench(*RUN, "--repeat", "9", "--fail-on-damage").code == 3
    assert bench("show", "latest", "--fail-on-damage", "-q").code == 3
    assert bench("report", "latest", "-o", "page.html", "--fail-on-damage").code == 3
    assert bench("compare", "previous", "latest", "--fail-on-damage").code == 3


def test_json_leads_with_the_verdict_by_variant(bench: Bench) -> None:
    document = json.loads(bench(*RUN, "--repeat", "9", "--json").out)
    assert [each["verdict"] for each in document["integrity"]] == ["WHOLE", "DAMAGED"]
    assert document["integrity"][1]["damaged_runs"] == 1
    assert document["integrity"][1]["worst"] == {"packets_corrupted": 1}
    assert [run["integrity"] for run in document["runs"]].count("DAMAGED") == 1
    assert document["answer"][0] == "WHOLE: careful (9 runs each)."


def test_csv_has_a_row_for_each_run_whose_verdict_leads(bench: Bench) -> None:
    rows = list(csv.DictReader(io.StringIO(bench(*RUN, "--repeat", "9", "--csv").out)))
    assert len(rows) == 18
    assert next(iter(rows[0])) == "integrity"
    assert [row["integrity"] for row in rows].count("DAMAGED") == 1
    few = list(csv.DictReader(io.StringIO(bench("show", "latest", "--csv", "--columns", "gbps").out)))
    assert list(few[0])[-1] == "gbps"


def test_a_damaged_strategy_is_never_better(bench: Bench) -> None:
    out = bench(*RUN, "--repeat", "9", "--baseline", "careful").out
    relative = out.partition("Relative to careful")[2]
    assert " damaged" in relative
    assert "better" not in relative


def test_a_comparison_leads_with_damage_and_the_gate_stops_it(bench: Bench) -> None:
    for name, corrupted in (("a", 0), ("b", 1)):
        for seed in range(1, 10):
            write(Path(name), experiment(seed=seed), outcome(8.0, packets_corrupted=corrupted * (seed == 2)))
    done = bench("compare", "a", "b", "--fail-over", "5%")
    assert done.code == 1
    assert "A WHOLE in all 9 runs, B DAMAGED in 1 of 9 runs (at worst 1 corrupted packet)  FAILS" in done.out


def test_results_are_listed_and_have_names(bench: Bench) -> None:
    two_strategies(Path("results/first"), seeds=1)
    write(Path("results/second"), experiment(strategy=Careless()), outcome(8.0))
    listed = bench("list", "results").out
    assert listed.splitlines()[0].split()[:2] == ["result", "set"]
    assert "first" in listed
    assert "DAMAGED 1/2" in listed
    assert "WHOLE: careless" in bench("show", "second", "-q").out
    assert "WHOLE: careless" in bench("show", "sec", "-q").out
    assert "no result at 'third'" in bench("show", "third").err


def test_a_folder_of_many_scenarios_is_told_not_printed(bench: Bench) -> None:
    for size in range(64, 74):
        made = experiment(strategy=Careful(), workload=fakes.Steady(frame_bytes=size))
        write(Path(f"results/{size}"), made, outcome(8.0))
    out = bench("show", "results").out
    assert len(out.splitlines()) < 40
    assert "10 scenarios." in out
    assert len(bench("show", "results", "--full").out.splitlines()) > 40


def test_list_without_a_word_says_what_there_is(bench: Bench) -> None:
    done = bench("list")
    assert done.code == 0
    assert "measures" in done.out


def test_one_strategy_is_listed_in_full(bench: Bench) -> None:
    out = bench("list", "strategies", "careful").out
    assert out.startswith("careful: Marks every page.")
    assert "careless" not in out
    assert bench("list", "strategies", "carefull").code == 2


def test_choices_that_exclude_each_other_are_refused_before_the_run(bench: Bench) -> None:
    assert bench(*RUN, "--json", "--csv").err == "bench: --json and --csv are both given: choose one\n"
    assert bench(*RUN, "--columns", "gbp").code == 2
    assert not Path("results").exists()
