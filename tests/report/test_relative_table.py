"""The table relative to a baseline."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Careful, Careless, Figures, experiment, outcome

from vfbench.errors import UserError
from vfbench.records import Record, ResultSet, read_records
from vfbench.report.relative_table import print_relative, relative_rows


def records(folder: Path, repeats: int = 6) -> list[Record]:
    """The careful strategy at twice the throughput of the careless one."""
    for seed in range(repeats):
        for strategy, gbps in ((Careless(), 4.0), (Careful(), 8.0)):
            ended = outcome(measures={"gbps": gbps + 0.01 * seed, "resent_bytes": 0})
            made = experiment(strategy=strategy, seed=seed)
            ResultSet(folder).write(made, ended, Figures(), started=datetime.now(UTC), command="bench run")
    return read_records(folder)


def test_each_measure_stands_beside_the_baselines(tmp_path: Path) -> None:
    rows = {(row.watched.measure, row.label): row for row in relative_rows(records(tmp_path), "careless")}
    assert rows["gbps", "careless"].standing == "baseline"
    assert rows["gbps", "careful"].standing == "better"
    assert rows["gbps", "careful"].to_json()["ratio"] == pytest.approx(2.0, abs=0.02)


def test_the_table_shows_medians_and_ratios_with_their_intervals(tmp_path: Path) -> None:
    shown = io.StringIO()
    print_relative(relative_rows(records(tmp_path), "careless"), "careless", shown)
    assert "Relative to careless" in shown.getvalue()
    assert "1.99" in shown.getvalue()
    assert "Intervals: bootstrap, 95%." in shown.getvalue()


def test_single_runs_have_no_intervals_and_say_so(tmp_path: Path) -> None:
    shown = io.StringIO()
    print_relative(relative_rows(records(tmp_path, repeats=1), "careless"), "careless", shown)
    assert "One repeat each: no intervals" in shown.getvalue()


def test_zero_beside_zero_is_the_same_and_has_no_ratio(tmp_path: Path) -> None:
    rows = [
        row for row in relative_rows(records(tmp_path), "careless") if row.watched.measure == "resent_bytes"
    ]
    assert [(row.standing, row.to_json().get("ratio")) for row in rows] == [
        ("baseline", None),
        ("same", None),
    ]


def test_a_baseline_that_did_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run is of a strategy 'nobody'"):
        relative_rows(records(tmp_path, repeats=1), "nobody")
