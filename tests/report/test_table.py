"""The table: a row per strategy, legible, with what the experiment was above it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Careful, Careless, Figures, experiment, outcome

from vfbench.experiment import Experiment, Guest
from vfbench.records import MEASURES, Outcome, Record, ResultSet, read_record
from vfbench.report.groups import grouped
from vfbench.report.table import SUBJECTS, number, print_tables, share, size, whole

MODES = ("strict", "deferred")


def record(results: Path, made: Experiment, ended: Outcome) -> Record:
    folder = ResultSet(results).write(made, ended, Figures(), started=datetime.now(UTC), command="bench run")
    return read_record(folder)


def printed(records: list[Record]) -> str:
    file = io.StringIO()
    print_tables(records, file)
    return file.getvalue()


def large_run() -> Outcome:
    """Every measure with as many digits as it will ever have."""
    values = {"int64": 345_678_901, "float64": 123_456.789, "bool": True}
    return outcome(measures={column.name: values[column.type] for column in MEASURES})


def test_repeats_become_medians_in_one_row(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(seed=seed), outcome(measures={"gbps": gbps}))
        for seed, gbps in [(1, 1.0), (2, 9.0), (3, 2.0)]
    ]
    (group,) = grouped(runs)
    assert (group.label, group.states, len(group.records), group.median("gbps")) == ("careful", "ok", 3, 2.0)


def test_a_failed_repeat_counts_in_the_state_and_in_no_median(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(seed=1), outcome()),
        record(tmp_path, experiment(seed=2), outcome()),
        record(tmp_path, experiment(seed=3), Outcome("failed", "the ring stalled", {"gbps": 0.0})),
    ]
    (group,) = grouped(runs)
    assert (group.states, group.median("gbps")) == ("ok 2, failed 1", 9.5)
    assert "careful, seed 3: failed: the ring stalled" in printed(runs)


def test_a_missing_measure_is_a_dash_and_no_zero(tmp_path: Path) -> None:
    row = next(
        line
        for line in printed([record(tmp_path, experiment(), outcome())]).splitlines()
        if line.strip().startswith("careful  ")
    )
    assert row.split() == ["careful", "ok", "1", "9.50", "-", "-", "-", "-", "-", "-"]


def test_the_heading_says_what_the_experiment_was(tmp_path: Path) -> None:
    runs = [record(tmp_path, experiment(seed=seed, guest=Guest(queues=2)), outcome()) for seed in (1, 2, 3)]
    text = printed(runs)
    for words in (
        "guest.memory 1GiB",
        "guest.queues 2",
        "migration.bandwidth 10Gbps",
        "workload   steady (rate 0, flows 64",
        "frame 64B",
        "testbed model",
        "profile made-up@01234567",
        "seeds 1 to 3",
        "careful (touched 1B, atomic false, mode strict)",
    ):
        assert words in text


def test_variants_of_one_strategy_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(), outcome()),
        record(tmp_path, experiment(strategy=Careful(mode="deferred")), outcome()),
        record(tmp_path, experiment(strategy=Careless()), outcome()),
    ]
    assert [group.label for group in grouped(runs)] == [
        "careful mode=strict",
        "careful mode=deferred",
        "careless",
    ]


def test_testbeds_are_never_pooled(tmp_path: Path) -> None:
    runs = [record(tmp_path, experiment(testbed=name), outcome()) for name in ("model", "kvm")]
    assert [group.label for group in grouped(runs)] == ["careful testbed=model", "careful testbed=kvm"]


def test_the_widest_figures_fit_120_columns_and_none_is_cut(tmp_path: Path) -> None:
    runs = [record(tmp_path, experiment(strategy=Careful(mode=mode)), large_run()) for mode in MODES]
    lines = printed(runs).splitlines()
    tables = lines[next(n for n, line in enumerate(lines) if line.strip() == "Speed") :]
    assert max(map(len, tables)) <= 120
    assert not any("\u2026" in line for line in lines)
    assert sum("345,678,901" in line for line in tables) == 3 * len(MODES)


def test_off_a_terminal_the_text_is_plain(tmp_path: Path) -> None:
    assert "\x1b" not in printed([record(tmp_path, experiment(), outcome())])


def test_every_measure_that_is_shown_is_one_of_the_schema() -> None:
    names = {column.name for column in MEASURES}
    assert {column.measure for subject in SUBJECTS for column in subject.columns} <= names


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(9.876), "9.88"),
        (number(0.012345), "0.0123"),
        (number(14_880_952.4), "14,880,952"),
        (number(999.9), "1,000"),
        (number(0.0000042), "0.00000420"),
        (number(0), "0"),
        (whole(3.0), "3"),
        (whole(3.5), "3.5"),
        (size(0), "0 B"),
        (size(1023), "1023 B"),
        (size(1 << 30), "1.00 GiB"),
        (size(1010 * 2**20), "1,010 MiB"),
        (size(1023.99 * 2**20), "1.00 GiB"),
        (share(1.0), "yes"),
        (share(0.0), "no"),
        (share(0.4), "40% yes"),
    ],
)
def test_a_figure_is_short_and_never_in_scientific_notation(shown: str, text: str) -> None:
    assert shown == text


def test_times_of_a_functional_run_stand_in_parentheses_and_its_counts_do_not(tmp_path: Path) -> None:
    measures = {"functional": True, "slowdown": 6900.0, "gbps": 1.0, "downtime_ms": 7.0, "rounds": 3}
    text = printed([record(tmp_path, experiment(), outcome(measures=measures))])
    assert "(1.00)" in text
    assert "(7.00)" in text
    assert "6,900" in text
    assert "(3)" not in text
    assert "Figures in parentheses do not count" in text


def test_a_run_whose_times_count_has_neither_parentheses_nor_a_slowdown(tmp_path: Path) -> None:
    tables = printed([record(tmp_path, experiment(), outcome())]).partition("Speed")[2]
    assert "(" not in tables
    assert "slowdown" not in tables


def test_of_many_variants_a_label_says_only_what_is_not_the_commonest(tmp_path: Path) -> None:
    variants = [Careful(), Careful(atomic=True), Careful(touched_bytes=2), Careful(mode="deferred")]
    runs = [record(tmp_path, experiment(strategy=each), outcome()) for each in variants]
    assert [group.label for group in grouped(runs)] == [
        "careful",
        "careful atomic=true",
        "careful touched=2B",
        "careful mode=deferred",
    ]
