"""What a sweep says: its list of cells, what a dry run would do, and what became of the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.options import command_line
from vfbench.records.damage import damage

if TYPE_CHECKING:
    from vfbench.sweeps.sweep import Plan, Tally


def list_cells(plan: Plan) -> Iterator[str]:
    """A line for each cell: its state and its label."""
    for cell in plan.cells:
        yield f"{plan.states[cell.digest]:13}  {cell.label}"
    yield f"{len(plan.cells)} cells, {plan.finished} finished"


def describe_plan(plan: Plan, workers: int) -> Iterator[str]:
    """The number of cells, by grid too, and the estimated time."""
    grids = list(dict.fromkeys(grid for cell in plan.cells for grid in cell.grids))
    for grid in grids:
        cells, to_run = (sum(grid in cell.grids for cell in group) for group in (plan.cells, plan.to_run))
        yield f"{grid}: {cells} cells, {to_run} to run"
    yield f"in all {len(plan.cells)} cells, each run once: {plan.finished} finished, {len(plan.to_run)} to run"
    if plan.to_run:
        estimate = plan.estimate()
        seconds = duration(estimate.wall_s(workers))
        yield f"estimated time: {seconds} on {count(workers, 'worker')} ({estimate.basis()})"


def summarise(tally: Tally, folder: Path) -> Iterator[str]:
    """How many cells ended in each state, and how to repeat those that did not end well."""
    counts = ", ".join(f"{number} {state}" for state, number in tally.states().items())
    yield f"{count(len(tally.done), 'cell')} run: {counts}; {tally.finished_before} were finished before"
    for done in tally.bad():
        yield f"{done.outcome.state}: {done.cell.label}: {done.outcome.reason}"
        yield f"  {command_line(done.cell.experiment)}"
    yield from _damage(tally)
    yield f"Records: {folder}"


def _damage(tally: Tally) -> Iterator[str]:
    """A line for each strategy that was damaged, or one for all."""
    by_strategy: dict[str, list[Mapping[str, Any]]] = {}
    for done in tally.done:
        by_strategy.setdefault(done.cell.experiment.strategy.name, []).append(done.outcome.measures)
    found = {name: damage(rows) for name, rows in by_strategy.items()}
    damaged = [f"{name}: {each}" for name, each in found.items() if each.damaged]
    yield from damaged
    if tally.done and not damaged:
        yield f"No run is damaged: {damage(row for rows in by_strategy.values() for row in rows)}"


def count(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds, from two minutes on minutes and seconds, from two hours on hours and minutes."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"
