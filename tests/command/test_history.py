"""`bench history`: the same experiments over result sets, a regression marked."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from support import made_up
from support.fakes import experiment
from support.made_up import outcome, write

import cli


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, (gbps, corrupted) in enumerate(((8.0, 0), (8.1, 0), (6.0, 0), (6.0, 1))):
        monkeypatch.setattr(made_up, "NOW", made_up.NOW + timedelta(days=number))
        for seed in (1, 2, 3):
            ended = outcome(gbps + seed / 100, packets_corrupted=corrupted * (seed == 2))
            write(Path(f"results/set-{number}"), experiment(seed=seed), ended)


def history(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["history", *words])
    return code, capsys.readouterr().out


def test_what_got_worse_is_marked_where_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = history(capsys, "--json")
    (course,) = json.loads(out)
    assert [point["set"] for point in course["points"]] == ["set-0", "set-1", "set-2", "set-3"]
    assert [point["regressed"] for point in course["points"]] == [[], [], ["throughput"], ["damage"]]


def test_one_damaged_run_is_a_regression_whatever_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = history(capsys, "--fail-on-regression")
    assert code == 1
    assert "DAMAGED 1/3" in out
    assert out.rstrip().endswith("1 of 1 experiments regressed in the latest set that has them.")


def test_a_history_takes_two_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "results/set-0"]) == 2
    assert "a history takes two or more" in capsys.readouterr().err
