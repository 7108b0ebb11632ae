"""A sweep from its cells to records: what is finished is left alone, the rest runs, each is on disk as it ends."""

from __future__ import annotations

import functools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vfbench.options import command_line
from vfbench.profiles import load_profile
from vfbench.records import STATES, Encoded, Outcome, encode
from vfbench.runner import refusals
from vfbench.sweeps.cells import Cell
from vfbench.sweeps.estimate import Estimate, estimate
from vfbench.sweeps.results import SweepResults
from vfbench.sweeps.specification import specification
from vfbench.sweeps.task import CellResult
from vfbench.testbeds import load_testbed

if TYPE_CHECKING:
    from vfbench.profiles import Profile

Specifications = Sequence[dict[str, Any]]
Execute = Callable[[Specifications], Iterator[tuple[int, CellResult]]]
"""Runs cells, and gives each result as it comes with the number of its specification."""
SHARES_NO_MACHINE = ("kvm",)
"""Testbeds whose clock is the wall's: their cells run one at a time, with no other cell beside them."""

WRITERS = 2
MOST_OPEN_RECORDS = 64


@dataclass
class Plan:
    """The cells of a sweep, those to run of them, and the seconds that finished ones took."""

    profiles: Mapping[str, Profile]
    cells: list[Cell] = field(default_factory=list)
    to_run: list[Cell] = field(default_factory=list)
    known: list[tuple[Cell, float]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    other_sources: int = 0
    """Finished cells that were run with other sources than those here."""

    @property
    def finished(self) -> int:
        """Cells that need not run."""
        return len(self.cells) - len(self.to_run)

    def estimate(self) -> Estimate:
        """How long the cells to run will take."""
        return estimate(self.to_run, self.known)


@dataclass(frozen=True)
class DoneCell:
    """A cell that ran, or was skipped, and is on disk."""

    cell: Cell
    outcome: Outcome


@dataclass
class Tally:
    """What became of the cells of one call."""

    finished_before: int = 0
    done: list[DoneCell] = field(default_factory=list)

    def states(self) -> Counter[str]:
        """How many ended in each state, in the order of `STATES`."""
        counts = Counter(each.outcome.state for each in self.done)
        return Counter({state: counts[state] for state in STATES})

    def bad(self) -> list[DoneCell]:
        """The cells to look at: failed, timed out or skipped."""
        return [each for each in self.done if each.outcome.state not in ("ok", "not-converged")]


def make_plan(cells: Sequence[Cell], results: SweepResults, *, force: bool) -> Plan:
    """Look up what is finished; UserError for an unknown profile or testbed, before anything runs."""
    profiles = {name: load_profile(name) for name in dict.fromkeys(cell.experiment.profile for cell in cells)}
    for testbed in dict.fromkeys(cell.experiment.testbed for cell in cells):
        load_testbed(testbed)
    plan = Plan(profiles=profiles)
    for cell in cells:
        manifest = results.manifest(cell)
        plan.cells.append(cell)
        plan.states[cell.digest] = "to run" if manifest is None else str(manifest["state"])
        finished = results.is_finished(cell, manifest, profiles[cell.experiment.profile])
        if manifest is not None and finished:
            plan.known.append((cell, float(manifest["wall_s"])))
        if manifest is None or force or not finished:
            results.check_replaceable(cell, manifest)
            plan.to_run.append(cell)
        else:
            plan.other_sources += manifest["environment"].get("source_hash") != _source_hash()
    return plan


def run_plan(
    plan: Plan,
    results: SweepResults,
    execute: Execute,
    execute_alone: Execute,
    note: Callable[[DoneCell], None],
) -> None:
    """Run what the plan says; `note` gets each cell as soon as it is on disk, and not always in this thread.

    `execute` runs cells that may share the machine, `execute_alone` those that may not, after all others.
    UserError for results that can't be written. What is on disk stays, however this ends.
    """
    with results.writing(), Recorder(plan, results, note) as recorder:
        able = []
        for cell in plan.to_run:
            refused = refusals(cell.experiment, plan.profiles[cell.experiment.profile])
            if refused:
                outcome = Outcome("skipped", "; ".join(refused))
                recorder.record(cell, CellResult(outcome, datetime.now(UTC)))
            else:
                able.append(cell)
        alone = [cell for cell in able if cell.experiment.testbed in SHARES_NO_MACHINE]
        shared = [cell for cell in able if cell.experiment.testbed not in SHARES_NO_MACHINE]
        for group, run in ((shared, execute), (alone, execute_alone)):
            if group:
                documents = [specification(cell, plan.profiles[cell.experiment.profile]) for cell in group]
                for number, result in run(documents):
                    recorder.record(group[number], result)
                recorder.wait()


class Recorder:
    """Writes records while the next cells are handed out: a disk that is slow to sync keeps no worker waiting.

    At the end of a `with` block all that was recorded is on disk; UserError if something can't be written.
    """

    def __init__(self, plan: Plan, results: SweepResults, note: Callable[[DoneCell], None]) -> None:
        self._plan, self._results, self._note = plan, results, note
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="recorder")
        self._open: deque[Future[None]] = deque()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._threads.shutdown(wait=True)
        if kind is None:
            self.wait()

    def record(self, cell: Cell, result: CellResult) -> None:
        """Begin to write; UserError if an earlier record could not be written."""
        self._open.append(self._threads.submit(self._write, cell, result))
        while self._open and (self._open[0].done() or len(self._open) > MOST_OPEN_RECORDS):
            self._open.popleft().result()

    def wait(self) -> None:
        """Until all is on disk."""
        while self._open:
            self._open.popleft().result()

    def _write(self, cell: Cell, result: CellResult) -> None:
        self._results.put(result.record or self._encoded_here(cell, result))
        self._note(DoneCell(cell, result.outcome))

    def _encoded_here(self, cell: Cell, result: CellResult) -> Encoded:
        experiment = cell.experiment
        profile = self._plan.profiles[experiment.profile]
        command = command_line(experiment)
        return encode(experiment, result.outcome, profile, started=result.started, command=command)


def on_cluster(opened: Callable[[], AbstractContextManager[Any]]) -> Execute:
    """Execution on the Dask cluster that `opened` gives a client of; it is closed when the cells are done."""

    def execute(documents: Specifications) -> Iterator[tuple[int, CellResult]]:
        # Only now: Dask takes most of a second to import, and a plan needs none of it.
        from vfbench.sweeps.cluster import run_on

        with opened() as client:
            yield from run_on(client, documents)

    return execute


def on_this_machine(workers: int) -> Execute:
    """On so many processes here, no more than there are cells."""

    def execute(documents: Specifications) -> Iterator[tuple[int, CellResult]]:
        from vfbench.sweeps.local import local_cluster

        return on_cluster(lambda: local_cluster(min(workers, len(documents))))(documents)

    return execute


def on_scheduler(address: str) -> Execute:
    """On the Dask cluster whose scheduler has this address."""

    def execute(documents: Specifications) -> Iterator[tuple[int, CellResult]]:
        from vfbench.sweeps.cluster import existing_cluster

        return on_cluster(lambda: existing_cluster(address))(documents)

    return execute


def default_workers() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


@functools.cache
def _source_hash() -> str:
    from vfbench.kernels import ALL_SOURCES, source_hash

    return source_hash(ALL_SOURCES)
