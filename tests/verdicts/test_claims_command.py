"""`bench claims` from the command line: what it prints, and bad input in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Careful, Figures, experiment, outcome

import cli
from vfbench.experiment import Experiment
from vfbench.records import ResultSet


def recorded(folder: Path) -> Path:
    """One run, by a strategy that tracks nothing."""
    made: Experiment = experiment(strategy=Careful())
    written = ResultSet(folder / "set").write(
        made, outcome(), Figures(), started=datetime.now(UTC), command="bench run"
    )
    return written / "manifest.json"


def test_every_claim_is_answered_and_says_how_to_get_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path)
    assert cli.main(["claims", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("NOT ENOUGH DATA") == 12
    assert "To get it: bench sweep sweeps/argument.toml --filter 'c12/*'" in shown


def test_json_holds_claims_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path)
    cli.main(["claims", str(tmp_path), "--json", "--claim", "c3"])
    document = json.loads(capsys.readouterr().out)
    assert list(document["claims"]) == ["C3"]
    assert [each["outcome"] for each in document["verdicts"]] == ["not-enough-data"]


@pytest.mark.parametrize("claim", ["C13", "", "nonsense"])
def test_an_unknown_claim_is_one_line_and_code_2(
    claim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path)
    assert cli.main(["claims", str(tmp_path), "--claim", claim]) == 2
    assert capsys.readouterr().err.startswith(f"bench: no claim is called {claim.upper()!r}")


def test_an_empty_result_set_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["claims", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_records_of_a_newer_schema_are_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = recorded(tmp_path)
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99', 1))
    assert cli.main(["claims", str(tmp_path)]) == 2
    assert "has schema 99" in capsys.readouterr().err


def test_a_baseline_that_did_not_run_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path)
    assert cli.main(["show", str(tmp_path), "--baseline", "nobody"]) == 2
    assert "no run is of a strategy 'nobody'" in capsys.readouterr().err


def test_a_baseline_that_is_not_run_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--strategy", "untracked", "--baseline", "virtio-net", "--results", str(tmp_path)]
    assert cli.main(words) == 2
    assert list(tmp_path.iterdir()) == []
