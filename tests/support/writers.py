"""Whatever writes results, as something that may be killed: how it begins, what it does, and what may be there after.

Each works in a folder of its own, with made-up runs: it is the writing that is looked at, and it is the commands' own.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from support import fakes
from support.made_up import experiment, outcome, write

import cli
from vfbench import runner
from vfbench.records import read_records
from vfbench.sweeps import sweep, task
from vfbench.sweeps.cells import cells_of
from vfbench.sweeps.grid import read_grids
from vfbench.sweeps.results import SweepResults
from vfbench.sweeps.sweep import make_plan, run_plan
from vfbench.sweeps.task import CellResult, run_cell

GRID = """
[[grid]]
name = "g"
strategies = ["all"]
workloads = ["steady"]
repeats = 2
"""
OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Writer:
    """`prepare` makes the folder as it is before, `work` is done in it, `look` says what is there or raises.

    `outcomes` are what may be there, in the order in which they may come.
    """

    prepare: Callable[[], object]
    work: Callable[[], object]
    look: Callable[[], object]
    outcomes: tuple[object, ...]


def quietly(*words: str) -> int:
    """The command, and its exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return cli.main(list(words))


def pretend() -> None:
    """From now on this process measures nothing: runs end at once, with made-up figures."""
    testbed = fakes.pretend_testbed()
    for module in (task, sweep, runner):
        module.load_testbed = lambda name: testbed  # type: ignore[attr-defined]
    sweep.WRITERS = 1  # one thread writes, so that the n-th event is the same each time
    cli._strategies = lambda: fakes.STRATEGIES  # type: ignore[assignment]
    cli._workloads = lambda: fakes.WORKLOADS  # type: ignore[assignment]


def here(documents: Any) -> Iterator[tuple[int, CellResult]]:
    for number, document in enumerate(documents):
        yield number, run_cell(document)


def run_sweep(*, force: bool) -> None:
    """Its plan, its records and its recorder, without the cluster: cells run in this process."""
    results = SweepResults(Path("results/g"))
    cells = cells_of(read_grids(Path("g.toml")), fakes.STRATEGIES, fakes.WORKLOADS)
    run_plan(make_plan(cells, results, force=force), results, here, here, lambda _: None)


def begin(*, swept: bool = False, packed: bool = False, page: bool = False) -> None:
    """The folder that we are in, with what is said and nothing else."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    Path("g.toml").write_text(GRID)
    if swept:
        run_sweep(force=False)
    write(Path("set"), experiment(), outcome(1.0))
    if packed and quietly("pack", "set", "-o", "packed"):
        raise AssertionError("the pack could not be made")
    if page:
        Path("page.md").write_text(OLD)
    write(Path("set"), experiment(seed=2), outcome(1.0))
    if page:
        Path("whole.md").write_text(whole_page())


@lru_cache
def whole_page() -> str:
    """The page of the set that is here; it is the same each time."""
    if quietly("report", "set", "-o", "whole.md"):
        raise AssertionError("the page could not be made")
    return Path("whole.md").read_text()


def sound_runs() -> int:
    """How many finished runs there are in results; raises if one of them can't be read in full."""
    found = [path for path in Path("results").rglob("manifest.json") if not _hidden(path)]
    return len(read_records("results")) if found else 0


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def packed_runs() -> int:
    return len(read_records("packed"))


def page() -> str:
    text, whole = Path("page.md").read_text(), Path("whole.md").read_text()
    if text not in (OLD, whole):
        raise AssertionError(f"{len(text)} characters of a page of {len(whole)}")
    return OLD if text == OLD else NEW


RUN = ("run", "--strategy", "careful", "--workload", "steady", "--repeat", "2")
WRITERS = {
    "run": Writer(begin, lambda: quietly(*RUN), sound_runs, (0, 1, 2)),
    "sweep": Writer(begin, lambda: run_sweep(force=False), sound_runs, (0, 1, 2, 3, 4)),
    "sweep --force": Writer(lambda: begin(swept=True), lambda: run_sweep(force=True), sound_runs, (4,)),
    "pack --force": Writer(
        lambda: begin(packed=True),
        lambda: quietly("pack", "set", "-o", "packed", "--force"),
        packed_runs,
        (1, 2),
    ),
    "report --force": Writer(
        lambda: begin(page=True),
        lambda: quietly("report", "set", "-o", "page.md", "--force"),
        page,
        (OLD, NEW),
    ),
}
LEFTOVERS_GO = {"sweep", "sweep --force", "pack --force", "report --force"}
"""Those whose next call cleans up after a killed one; a run has a folder of its own each time."""


def leftovers() -> list[str]:
    """Hidden files and folders of ours that are still there."""
    return [str(path) for path in Path().rglob(".vfbench-*")]


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
