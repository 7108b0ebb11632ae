"""The table: a row per strategy, legible, with what the experiment was above it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Careful, Careless, Figures, experiment, outcome

from vfbench.errors import UserError
from vfbench.experiment import Experiment, Guest
from vfbench.records import MEASURES, Outcome, Record, ResultSet, read_record
from vfbench.report.columns import BY_NAME, SUBJECTS, chosen, every_column
from vfbench.report.groups import grouped
from vfbench.report.numbers import number, percent, share, size, whole
from vfbench.report.table import print_tables, table_lines

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
    values = {"int64": 345_678_901, "float64": 123_456.789, "bool": True, "string": ""}
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
    assert row.split() == ["careful", "-", "-", "9.50", "-", "-", "-", "-"]


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


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_widest_figures_fit_and_none_is_cut(tmp_path: Path, width: int) -> None:
    modes = [Careful(mode=mode) for mode in MODES]
    runs = [
        record(tmp_path, experiment(strategy=each, seed=seed), large_run())
        for each in modes
        for seed in (1, 2)
    ]
    lines = list(table_lines(grouped(runs), width))
    assert max(map(len, lines)) <= width
    words = " ".join(lines).partition("Replayed of")[0].split()
    assert words.count("careful") >= len(SUBJECTS) * len(MODES)
    assert words.count("345,678,901") == len(MODES) * sum(
        column.text is whole and not column.of
        for subject in SUBJECTS
        for column in subject.columns
        if column.measure in {each.name for each in MEASURES}
    )


def test_a_wide_terminal_gets_one_block_and_a_narrow_one_several(tmp_path: Path) -> None:
    groups = grouped([record(tmp_path, experiment(), large_run())])
    counts = [
        sum(line.startswith("strategy ") and "verdict" not in line for line in table_lines(groups, width))
        for width in (80, 200)
    ]
    assert counts[0] > counts[1]


def test_seventeen_strategies_with_long_names_fit_80_columns(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(strategy=Careful(touched_bytes=size, atomic=atomic)), large_run())
        for size in range(1, 10)
        for atomic in (True, False)
    ]
    assert max(map(len, table_lines(grouped(runs), 80))) <= 80


def test_the_verdict_is_the_first_column_and_one_damaged_run_of_nine_is_seen(tmp_path: Path) -> None:
    fine = {"pages_compared": 100, "stale_pages_payload": 0, "packets_corrupted": 0}
    runs = [
        record(
            tmp_path,
            experiment(seed=seed),
            outcome(measures={**fine, "packets_corrupted": (seed == 4 and 7) or 0}),
        )
        for seed in range(1, 10)
    ]
    text = printed(runs)
    lines = text.splitlines()
    header = next(line for line in lines if line.startswith("strategy") and "verdict" in line)
    row = next(line for line in lines if line.startswith("careful "))
    assert header.split()[1] == "verdict"
    assert row.split()[1:3] == ["DAMAGED", "1/9"]
    damage = text.partition("Damage (the worst run)")[2].splitlines()[4]
    assert damage.split()[:1] == ["careful"]
    assert "7" in damage.split()


def test_the_spread_of_the_repeats_stands_beside_the_median(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(seed=seed), outcome(measures={"gbps": gbps}))
        for seed, gbps in [(1, 4.0), (2, 5.0), (3, 5.5)]
    ]
    assert "5.00 \u00b11.00" in printed(runs)


def test_columns_can_be_chosen_by_any_measure(tmp_path: Path) -> None:
    file = io.StringIO()
    print_tables([record(tmp_path, experiment(), outcome())], file, columns=chosen(["sent-bytes,iommu_maps"]))
    header = next(
        line for line in file.getvalue().splitlines() if line.startswith("strategy") and "verdict" in line
    )
    assert header.split() == ["strategy", "verdict", "sent", "maps"]
    with pytest.raises(UserError, match="no measure is called 'gbp' - did you mean 'gbps'"):
        chosen(["gbp"])


def test_what_a_column_means_is_told_for_every_measure() -> None:
    told = {each.measure for each in every_column()}
    assert {column.name for column in MEASURES} <= told
    assert all(each.meaning for each in every_column())


def test_losses_stand_by_their_cause(tmp_path: Path) -> None:
    lost = {
        "packets_lost": 60,
        "packets_lost_fifo": 10,
        "packets_lost_socket": 5,
        "packets_lost_blackout": 45,
    }
    text = printed([record(tmp_path, experiment(), outcome(measures=lost))])
    assert BY_NAME["lost_overload"].value(record(tmp_path / "b", experiment(), outcome(measures=lost))) == 15
    row = text.partition("Packets lost, by cause")[2].splitlines()[3]
    assert row.split() == ["careful", "-", "-", "60", "15", "45", "-"]


def test_what_was_offered_and_carried_stands_in_the_heading_and_overload_is_told(tmp_path: Path) -> None:
    steady = {
        "interval": 0,
        "phase": "steady",
        "length_ms": 10.0,
        "packets_offered": 1000,
        "packets_delivered": 250,
    }
    text = printed([record(tmp_path, experiment(), outcome(measures={"gbps": 2.5}, intervals=[steady]))])
    assert "offered    10.0 Gb/s, 100 % of the link (0.100 Mpackets/s); carried 25 % of it" in text
    assert "Overloaded, not all that was offered was carried: careful (25 %)." in text


def test_where_no_pre_copy_ran_in_rounds_the_table_says_why(tmp_path: Path) -> None:
    one, many = (
        printed([record(tmp_path / str(rounds), experiment(), outcome(measures={"rounds": rounds}))])
        for rounds in (1, 5)
    )
    assert "300ms at 10Gbps carry 358 MiB" in " ".join(one.split())
    assert "ran in rounds" not in many


def test_a_skipped_strategy_is_a_row_with_its_reason(tmp_path: Path) -> None:
    runs = [
        record(tmp_path, experiment(), outcome()),
        record(tmp_path, experiment(strategy=Careless()), Outcome("skipped", "the card has no dirty log")),
    ]
    text = printed(runs)
    assert "careless, seed 1: skipped: the card has no dirty log" in text
    assert next(line for line in text.splitlines() if line.startswith("careless ")).split()[:3] == [
        "careless",
        "-",
        "skipped",
    ]


def test_off_a_terminal_the_text_is_plain(tmp_path: Path) -> None:
    assert "\x1b" not in printed([record(tmp_path, experiment(), outcome())])


def test_every_measure_that_is_shown_is_one_of_the_schema() -> None:
    names = {column.name for column in MEASURES}
    to_come = {"tx_gbps", "packets_refused"}  # of records that have both directions
    shown = {name for subject in SUBJECTS for each in subject.columns for name in each.of or (each.measure,)}
    assert shown - {"carried"} <= names | to_come


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
        (percent(0.62), "62 %"),
        (percent(0.9999), ">99.9 %"),
        (percent(1.0), "100 %"),
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
    tables = printed([record(tmp_path, experiment(), outcome())]).partition("Speed")[2].partition("Price")[0]
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
