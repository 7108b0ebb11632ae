"""A cell in the process that runs it: from its specification to what became of it, within its time limit."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vfbench.options import command_line
from vfbench.records import Encoded, Outcome, encode
from vfbench.runner import attempt
from vfbench.sweeps.specification import read_specification
from vfbench.testbeds import load_testbed
from vfbench.time_limit import out_of_time

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

GRACE_S = 2.0
"""A run that has heard of its time limit ends within this time; a kernel that never returns hears nothing."""


@dataclass(frozen=True)
class CellResult:
    """What became of a cell, and when.

    `record` is that as it goes to disk, encoded where the cell ran: what one process writes for many must cost it
    little. None where the cell's process is gone. `runs_on`: the process can't be used again, the run is still in it.
    """

    outcome: Outcome
    started: datetime
    record: Encoded | None = None
    process: int = 0
    runs_on: bool = False


def run_cell(document: dict[str, Any]) -> CellResult:
    """Run the cell that `document` specifies. Never raises: whatever goes wrong is an outcome with a reason."""
    started, began = datetime.now(UTC), time.monotonic()
    try:
        experiment, profile = read_specification(document)
    except Exception as error:
        return CellResult(Outcome("failed", _reason(error)), started, process=os.getpid())
    limit_s: float = document["time_limit_s"]
    ended: list[Outcome] = []

    def run() -> None:
        ended.append(_run(experiment, profile, limit_s))

    # A thread of its own, because nobody can interrupt compiled code: whoever waits can stop waiting.
    thread = threading.Thread(target=run, name="cell", daemon=True)
    thread.start()
    thread.join(limit_s + GRACE_S)
    wall_s = time.monotonic() - began
    outcome = ended[0] if ended else Outcome("timed-out", out_of_time(limit_s), wall_s=wall_s)
    record = encode(experiment, outcome, profile, started=started, command=command_line(experiment))
    return CellResult(outcome, started, record, os.getpid(), runs_on=thread.is_alive())


def _run(experiment: Experiment, profile: Profile, limit_s: float) -> Outcome:
    began = time.monotonic()
    try:
        return attempt(load_testbed(experiment.testbed), experiment, profile, lambda *_: None, limit_s)[0]
    except BaseException as error:
        # What the user must mend ends a run, and a strategy may call sys.exit; a sweep goes on with other cells.
        return Outcome("failed", _reason(error), wall_s=time.monotonic() - began)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
