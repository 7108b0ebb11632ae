"""The table relative to a baseline."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Careful, Careless, Figures, experiment, outcome

from vfbench.errors import UserError
from vfbench.records import Record, ResultSet, read_records
from vfbench.report.against_baseline import compared
from vfbench.report.relative_table import print_relative, relative_rows
from vfbench.report.scenarios import scenarios


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


def costs(
    folder: Path, careless: tuple[float | None, ...], careful: tuple[float | None, ...]
) -> list[Record]:
    """Host cycles by repeat of the baseline, the careless strategy, and of the careful one."""
    for strategy, values in ((Careless(), careless), (Careful(), careful)):
        for seed, value in enumerate(values):
            ended = outcome(measures={"gbps": 4.0, "host_cycles_per_packet": value})
            made = experiment(strategy=strategy, seed=seed)
            ResultSet(folder).write(made, ended, Figures(), started=datetime.now(UTC), command="bench run")
    return read_records(folder)


@pytest.mark.parametrize(
    ("careless", "careful", "standing"),
    [
        ((0.0,), (3457.0,), "worse"),
        ((0.0,) * 3, (3457.0,) * 3, "worse"),
        ((0.0,) * 6, (3457.0,) * 6, "worse"),
        ((0.0, 0.0, 5.0), (1.0, 3.0, 4.0), "unclear"),
        ((0.0, 5.0, 5.0), (7.0, 8.0, 9.0), "worse"),
        ((3.0, 5.0, 5.0), (0.0, 0.0, 0.0), "better"),
        ((0.0,) * 3, (None,) * 3, "unclear"),
        ((5.0,) * 3, (None,) * 3, "unclear"),
    ],
)
def test_something_is_worse_than_nothing_and_nothing_measured_is_never_better(
    tmp_path: Path, careless: tuple[float | None, ...], careful: tuple[float | None, ...], standing: str
) -> None:
    rows = relative_rows(costs(tmp_path, careless, careful), "careless")
    (row,) = [
        row for row in rows if row.watched.measure == "host_cycles_per_packet" and row.label == "careful"
    ]
    assert row.standing == standing
    if not any(careless):
        assert row.to_json()["ratio"] is None


def test_the_page_says_so_too(tmp_path: Path) -> None:
    (scenario,) = scenarios(costs(tmp_path, (0.0,) * 3, (3457.0,) * 3))
    found = compared(scenario, "careless")
    column = [each.measure for each in found.columns].index("host_cycles_per_packet")
    (cell,) = [row.cells[column] for row in found.rows if not row.is_baseline]
    assert (cell.ratio, cell.standing) == ("from 0", "worse")
