"""How much more two worker processes of a sweep do than one: the same cells, one measurement after the other.

The cells are run by one process and by two, in turns, a few times; start-up and the loading of kernels are not
counted, the writing of records is. The ratio of the medians is shown with the lowest and the highest ratio of
neighbouring turns. Beside it stands the processor time that the process which hands out cells and writes records
takes for each: two busy workers share their cores with it. What else runs on the machine falls on all, but two
processes want two idle cores. So the load is shown, and the machine's own limit: the same cells in one and in two
processes without Dask and without records.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from distributed import Client

from strategies import ALL_STRATEGIES
from vfbench.profiles import load_profile
from vfbench.sweeps.cells import Cell, cells_of
from vfbench.sweeps.grid import read_grids
from vfbench.sweeps.local import local_cluster
from vfbench.sweeps.results import FINISHED_STATES, SweepResults
from vfbench.sweeps.specification import specification
from vfbench.sweeps.sweep import DoneCell, make_plan, on_cluster, on_this_machine, run_plan
from vfbench.sweeps.task import run_cell
from workloads import ALL_WORKLOADS

SWEEP = Path(__file__).resolve().parent.parent / "sweeps" / "argument.toml"
TURNS = 3
CELLS = 48
PROFILE = load_profile("xeon-82599")


def cells() -> list[Cell]:
    """Cells of the shipped sweep, taken evenly from the whole of it."""
    grids = read_grids(SWEEP)
    every = cells_of(grids, {s.name: s for s in ALL_STRATEGIES}, {w.name: w for w in ALL_WORKLOADS})
    return every[:: len(every) // CELLS][:CELLS]


def measure(client: Client, planned: list[Cell]) -> float:
    """Seconds for all cells, records written."""

    def note(done: DoneCell) -> None:
        if done.outcome.state not in FINISHED_STATES:
            sys.exit(f"a cell is {done.outcome.state}: {done.outcome.reason}")

    with tempfile.TemporaryDirectory() as folder:
        results = SweepResults(Path(folder))
        plan = make_plan(planned, results, force=False)
        began = time.perf_counter()
        run_plan(plan, results, on_cluster(lambda: nullcontext(client)), on_this_machine(1), note)
        return time.perf_counter() - began


def run_some(documents: list[dict]) -> float:
    """CPU-bound work without Dask: seconds for the cells."""
    run_cell(documents[0])
    began = time.perf_counter()
    for document in documents:
        run_cell(document)
    return time.perf_counter() - began


def machines_limit(planned: list[Cell]) -> float:
    """What two processes that know nothing of each other do, as a multiple of what one does."""
    documents = [specification(cell, PROFILE) for cell in planned[: CELLS // 2]]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        alone = pool.map(run_some, [documents], chunksize=1)[0]
        together = max(pool.map(run_some, [documents, documents], chunksize=1))
    return 2 * alone / together


def main() -> None:
    planned = cells()
    print(f"{len(planned)} cells, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"two processes without Dask do {machines_limit(planned):.2f} times the work of one")
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with local_cluster(1) as one, local_cluster(2) as two:
        for client, workers in ((one, 1), (two, 2)):
            measure(client, planned[: 4 * workers])
        own_s = -time.process_time()
        for _ in range(TURNS):
            for client, workers in ((one, 1), (two, 2)):
                seconds[workers].append(measure(client, planned))
        own_s += time.process_time()
    runs = TURNS * 2 * len(planned)
    print(f"handing out and recording: {1000 * own_s / runs:.1f} ms of processor time a cell")
    for workers, each in seconds.items():
        per_cell = statistics.median(each) / len(planned)
        print(f"{workers} worker(s): {statistics.median(each):.2f} s, {per_cell:.3f} s a cell")
    ratios = [first / second for first, second in zip(seconds[1], seconds[2], strict=True)]
    ratio = statistics.median(seconds[1]) / statistics.median(seconds[2])
    print(f"two do {ratio:.2f} times the work of one ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
