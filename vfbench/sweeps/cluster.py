"""Cells on Dask distributed: on a cluster of the sweep's own (`local`), or on one that the user already has.

Each worker has at most one cell at a time and the next is handed over as soon as one is back, so if a process
dies, Dask runs just its cell again, elsewhere; what is back is back. A cell that kills its process again and again
is given up by Dask (`distributed.scheduler.allowed-failures`) and has failed.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from vfbench.errors import UserError
from vfbench.records import Outcome, environment
from vfbench.sweeps.task import CellResult, run_cell

CONNECT_S = 10
SLOTS_HOLD_S = 2.0
Specification = dict[str, Any]


@contextmanager
def existing_cluster(scheduler: str) -> Iterator[Client]:
    """The user's cluster; UserError if it can't be reached, has no workers, or they run other sources."""
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); start one with `dask scheduler`"
        ) from error
    with client:
        _check_workers(client, scheduler)
        yield client


def run_on(client: Client, specifications: Sequence[Specification]) -> Iterator[tuple[int, CellResult]]:
    """The results as they come, each with the number of its specification."""
    waiting = deque(range(len(specifications)))
    running: dict[Any, int] = {}

    def submit_next() -> Future:
        number = waiting.popleft()
        future = client.submit(
            run_cell, specifications[number], key=f"cell-{id(running)}-{number}", pure=False
        )
        running[future.key] = number
        return future

    completed = as_completed()
    slots = Slots(client)
    _warm(client, specifications)
    for _ in range(min(slots.count(), len(waiting))):
        completed.add(submit_next())
    for future in completed:
        result = _result(future)
        if result.runs_on:
            _restart_process(client, result.process)
        # Hand out more before the caller writes this one to disk, and as many as there are workers by now.
        while waiting and len(running) - 1 < slots.count():
            completed.add(submit_next())
        yield running.pop(future.key), result


class Slots:
    """Cells that may run at a time: as many as the cluster has threads, asked anew every so often."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked_s = -math.inf
        self._count = 1

    def count(self) -> int:
        """At least one, for workers that come back."""
        if time.monotonic() - self._asked_s > SLOTS_HOLD_S:
            self._count = max(1, sum(self._client.nthreads().values()))
            self._asked_s = time.monotonic()
        return self._count


def _result(future: Future) -> CellResult:
    try:
        return future.result()
    except KilledWorker as error:
        times = "" if error.allowed_failures is None else f", {error.allowed_failures + 1} times"
        outcome = Outcome("failed", f"its process died while it ran{times}")
    except CancelledError as error:
        raise UserError("the Dask scheduler went away; run the sweep again to go on") from error
    except Exception as error:
        outcome = Outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
    return CellResult(outcome, datetime.now(UTC))


def _restart_process(client: Client, process: int) -> None:
    """End a process in which a run goes on that nobody waits for any more; its nanny starts another."""
    pids = client.run(_process)
    addresses = [address for address, pid in pids.items() if pid == process]
    with contextlib.suppress(Exception):
        client.restart_workers(addresses)


def _process() -> int:
    return os.getpid()


def _check_workers(client: Client, scheduler: str) -> None:
    if not client.nthreads():
        raise UserError(
            f"the cluster at {scheduler} has no workers; start some with `dask worker {scheduler}`"
        )
    try:
        found = client.run(environment)
    except Exception as error:
        raise UserError(f"a worker of {scheduler} can't load vfbench ({error}); install it there") from error
    wanted = environment()["source_hash"]
    for address, each in found.items():
        if each["source_hash"] != wanted:
            raise UserError(
                f"worker {address} has other sources of vfbench than here; install the same there"
            )


def _warm(client: Client, specifications: Sequence[Specification]) -> None:
    """Where kernels are not compiled yet one process of each machine does it first, and the others load them."""
    if not specifications:
        return
    cold: dict[str, str] = {}
    for address, compiled in client.run(_kernels_compiled).items():
        if not compiled:
            cold.setdefault(address.rpartition(":")[0], address)
    futures = [
        client.submit(run_cell, specifications[0], workers=[address], pure=False, key=f"warm-{address}")
        for address in cold.values()
    ]
    for future in futures:
        _result(future)


def _kernels_compiled() -> bool:
    from vfbench.kernels import is_kept
    from vfbench.machine.sides import MODEL
    from vfbench.testbeds.model.engine import advance

    return is_kept(advance, MODEL)
