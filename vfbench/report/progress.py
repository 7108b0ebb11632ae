"""The progress bar of `bench run`: on a terminal, on stderr, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.runner import RunProgress

REDRAW_S = 0.05


@contextmanager
def progress_bar(runs: int) -> Iterator[RunProgress]:
    """Shows how much of `runs` runs is done; gives the function to call, however often."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
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
