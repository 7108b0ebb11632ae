"""What holds over all scenarios of a set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from support.fakes import Careful, Careless, Steady, experiment
from support.made_up import outcome, write

from vfbench.records import Record, read_records
from vfbench.report.overall import overall
from vfbench.report.page import render
from vfbench.report.scenarios import in_rounds, scenarios


def two_sizes(folder: Path, slow: float) -> list[Record]:
    """Two scenarios; in the second, `careful` delivers `slow` Gb/s instead of 10, and `careless` damages a page."""
    for size, gbps, stale in ((64, 10.0, 0), (1518, slow, 1)):
        work = Steady(frame_bytes=size)
        write(folder, experiment(strategy=Careful(), workload=work), outcome(gbps))
        made = experiment(strategy=Careless(), workload=work)
        write(folder, made, outcome(10.0, stale_pages_payload=stale))
    return read_records(folder)


def test_each_strategy_is_summed_up_over_every_scenario(tmp_path: Path) -> None:
    careful, careless = overall(scenarios(two_sizes(tmp_path, slow=4.0)))
    assert careful == (
        "careful: whole in all 2 scenarios, within 1 % of the fastest in 1 of 2, at worst 40 % of its throughput, "
        "the least processor time in all."
    )
    assert careless.startswith("careless: damaged in 1 of 2 scenarios, within 1 % of the fastest in 2 of 2, ")


def test_what_a_strategy_costs_and_whether_it_ends_is_said_too(tmp_path: Path) -> None:
    for size in (64, 1518):
        work = Steady(frame_bytes=size)
        write(
            tmp_path,
            experiment(strategy=Careful(), workload=work),
            outcome(10.0, guest_cycles_per_packet=59.0),
        )
        stuck = dataclasses.replace(outcome(10.0), state="not-converged", reason="30 rounds")
        write(tmp_path, experiment(strategy=Careless(), workload=work), stuck)
    careful, careless = overall(scenarios(read_records(tmp_path)))
    assert "30 times the least processor time" in careful
    assert "its migration never completed in 2 of 2" in careless


def test_a_migration_that_completes_with_one_seed_and_not_with_another_is_not_said_to_never_complete(
    tmp_path: Path,
) -> None:
    ends = dataclasses.replace(outcome(10.0), state="not-converged", reason="30 rounds"), outcome(10.0)
    for size in (64, 1518):
        work = Steady(frame_bytes=size)
        for seed, ended in enumerate(ends):
            write(tmp_path, experiment(strategy=Careless(), workload=work, seed=seed), ended)
            write(tmp_path, experiment(strategy=Careful(), workload=work, seed=seed), outcome(10.0))
    (careless,) = (each for each in overall(scenarios(read_records(tmp_path))) if each.startswith("careless"))
    assert "never completed" not in careless
    assert "completed, but not every time, in 2 of 2" in careless


def test_one_scenario_needs_no_summing_up(tmp_path: Path) -> None:
    assert overall(scenarios(two_sizes(tmp_path, slow=4.0))[:1]) == []


def test_the_page_says_it_first(tmp_path: Path) -> None:
    page = render(two_sizes(tmp_path, slow=4.0), "md")
    assert page.index("careful: whole in all 2 scenarios") < page.index("### ")


def test_rounds_are_shown_of_a_scenario_that_has_some(tmp_path: Path) -> None:
    for size, rounds in ((64, 1), (1518, 9)):
        for strategy in (Careful(), Careless()):
            made = experiment(strategy=strategy, workload=Steady(frame_bytes=size))
            write(tmp_path, made, outcome(1.0, rounds=rounds))
    short, long = scenarios(read_records(tmp_path))
    assert in_rounds(short, [short, long]) is long
    assert in_rounds(long, [short, long]) is long
