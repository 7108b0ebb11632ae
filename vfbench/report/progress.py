"""The progress of `bench run`, `bench sweep` and `bench ndr` on stderr: a bar on a terminal, lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.runner import RunProgress
    from vfbench.sweeps.sweep import DoneCell, Plan

REDRAW_S = 0.05
MOST_LINES = 20
"""Where there is no terminal: a log is not to be filled."""


@contextmanager
def progress_bar(runs: int, *, quiet: bool = False) -> Iterator[RunProgress]:
    """Shows how much of `runs` runs is done; gives the function to call, however often."""
    if quiet:
        yield lambda *_: None
        return
    if not sys.stderr.isatty():
        yield _run_lines(runs)
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=runs)
        shown_at = 0.0

        def show(finished: int, experiment: Experiment, fraction: float, phase: str) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at < REDRAW_S:
                return
            shown_at = now
            which = f"{experiment.strategy.name}, seed {experiment.seed}: {phase} ({finished + 1} of {runs})"
            bar.update(task, completed=finished + fraction, description=which)

        yield show


def _run_lines(runs: int) -> RunProgress:
    """A line for each run as it begins, at most `MOST_LINES` of many."""
    begun = -1
    every = max(1, runs // MOST_LINES)

    def show(finished: int, experiment: Experiment, fraction: float, phase: str) -> None:
        nonlocal begun
        if finished == begun:
            return
        begun = finished
        if finished % every == 0:
            which = f"{experiment.strategy.name}, seed {experiment.seed}"
            click.echo(f"run {finished + 1} of {runs}: {which}", err=True)

    return show


@contextmanager
def sweep_progress_bar(plan: Plan) -> Iterator[Callable[[DoneCell], None]]:
    """Shows how many cells of `plan` have run and the time left; gives the function to call with each.

    A cell counts for as much as it was estimated to take, so that long cells don't spoil the time left.
    """
    if not sys.stderr.isatty():
        yield _cell_lines(len(plan.to_run))
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    seconds = {cell.digest: each for cell, each in zip(plan.to_run, plan.estimate().seconds, strict=True)}
    columns = (
        BarColumn(),
        TextColumn("{task.description}, time passed and left:", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"0 of {len(plan.to_run)} cells", total=sum(seconds.values()))
        run = 0

        def show(done: DoneCell) -> None:
            nonlocal run
            run += 1
            words = f"{run} of {len(plan.to_run)} cells"
            bar.update(task, advance=seconds[done.cell.digest], description=words)

        yield show


def _cell_lines(cells: int) -> Callable[[DoneCell], None]:
    """A line every twentieth of the cells, and at the last."""
    return _count_lines(cells, "cells", lambda done: f": {done.cell.label}: {done.outcome.state}")


def _count_lines(count: int, noun: str, says: Callable[..., str] = lambda: "") -> Callable[..., None]:
    done = 0
    every = max(1, count // MOST_LINES)

    def show(*what: Any) -> None:
        nonlocal done
        done += 1
        if done % every == 0 or done == count:
            click.echo(f"{done} of {count} {noun}{says(*what)}", err=True)

    return show


@contextmanager
def search_progress_bar(searches: int) -> Iterator[Callable[[], None]]:
    """Shows how many of `searches` searches are done; gives the function to call after each."""
    with count_progress(searches, "searches") as done:
        yield done


@contextmanager
def count_progress(count: int, noun: str) -> Iterator[Callable[[], None]]:
    """Shows how many of `count` are done; gives the function to call after each."""
    if not sys.stderr.isatty():
        yield _count_lines(count, noun)
        return

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(noun, total=count)
        yield lambda: bar.update(task, advance=1)
