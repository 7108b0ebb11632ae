"""A cell in the process that runs it: from its specification to what became of it, within its time limit."""

from __future__ import annotations

import functools
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vfbench.records import Outcome, environment
from vfbench.runner import attempt
from vfbench.sweeps.specification import read_specification
from vfbench.testbeds import load_testbed

GRACE_S = 2.0
"""A run that has heard of its time limit ends within this time; a kernel that never returns hears nothing."""


class OutOfTime(BaseException):
    """The cell's time is over. No Exception: a strategy that catches those must not catch this."""


@dataclass(frozen=True)
class CellResult:
    """What became of a cell, where and when; `runs_on`: the process can't be used again, the run is still in it."""

    outcome: Outcome
    started: datetime
    process: int = 0
    environment: dict[str, Any] = field(default_factory=dict)
    runs_on: bool = False


def run_cell(document: dict[str, Any]) -> CellResult:
    """Run the cell that `document` specifies. Never raises: whatever goes wrong is an outcome with a reason."""
    started, began = datetime.now(UTC), time.monotonic()
    limit_s: float = document["time_limit_s"]
    ended: list[Outcome] = []

    def report(_fraction: float, _phase: str) -> None:
        if time.monotonic() - began > limit_s:
            raise OutOfTime

    def run() -> None:
        ended.append(_run(document, report))

    # A thread of its own, because nobody can interrupt compiled code: whoever waits can stop waiting.
    thread = threading.Thread(target=run, name="cell", daemon=True)
    thread.start()
    thread.join(limit_s + GRACE_S)
    wall_s = time.monotonic() - began
    outcome = ended[0] if ended else Outcome("timed-out", f"still running after {limit_s:g} s", wall_s=wall_s)
    return CellResult(outcome, started, os.getpid(), _environment(), runs_on=thread.is_alive())


def _run(document: dict[str, Any], report: Any) -> Outcome:
    began = time.monotonic()
    try:
        experiment, profile = read_specification(document)
        return attempt(load_testbed(experiment.testbed), experiment, profile, report)[0]
    except OutOfTime:
        reason = f"still running after {document['time_limit_s']:g} s"
        return Outcome("timed-out", reason, wall_s=time.monotonic() - began)
    except BaseException as error:
        # What the user must mend ends a run, and a strategy may call sys.exit; a sweep goes on with other cells.
        reason = " ".join(str(error).split()) or type(error).__name__
        return Outcome("failed", reason, wall_s=time.monotonic() - began)


@functools.cache
def _environment() -> dict[str, Any]:
    return environment()
