"""Running experiments: repeats, one record after each run, and what becomes of a run that fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfbench.errors import RunFailed, UserError
from vfbench.experiment import Experiment
from vfbench.options import command_line
from vfbench.records import Outcome, ResultSet
from vfbench.testbeds import Testbed, load_testbed

if TYPE_CHECKING:
    from vfbench.profiles import Profile

RunProgress = Callable[[int, Experiment, float, str], None]
"""Called with the number of runs finished, the experiment under way, its fraction done, and its phase."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that is on disk; `error` is what it failed with, for `--debug`."""

    experiment: Experiment
    outcome: Outcome
    folder: Path
    error: Exception | None = None


def repeats_of(experiments: Sequence[Experiment], repeat: int) -> list[Experiment]:
    """Every experiment `repeat` times, each time with the next seed.

    The strategies take turns, so what drifts on the machine during the runs falls on all of them alike.
    """
    return [
        dataclasses.replace(experiment, seed=experiment.seed + number)
        for number in range(repeat)
        for experiment in experiments
    ]


def refuse_what_cannot_be_honoured(experiments: Sequence[Experiment]) -> None:
    """UserError with the first parameter that a testbed can't honour, before anything runs."""
    for experiment in experiments:
        for refusal in load_testbed(experiment.testbed).refusals(experiment):
            raise UserError(
                f"testbed {experiment.testbed!r}, strategy {experiment.strategy.name!r}: {refusal}"
            )


def run_all(
    experiments: Sequence[Experiment], profile: Profile, results: ResultSet, progress: RunProgress
) -> Iterator[FinishedRun]:
    """Run one after the other; each is on disk before it is yielded and before the next begins.

    A run that fails is recorded as such and the rest goes on. UserError (what the user must mend, or a disk
    that is full) and KeyboardInterrupt end it all; what has been yielded stays.
    """
    for number, experiment in enumerate(experiments):
        testbed = load_testbed(experiment.testbed)
        started = datetime.now(UTC)

        def report(
            fraction: float, phase: str, number: int = number, experiment: Experiment = experiment
        ) -> None:
            progress(number, experiment, fraction, phase)

        outcome, error = attempt(testbed, experiment, profile, report)
        command = command_line(experiment)
        folder = results.write(experiment, outcome, profile, started=started, command=command)
        yield FinishedRun(experiment, outcome, folder, error)


def attempt(
    testbed: Testbed, experiment: Experiment, profile: Profile, report: Callable[[float, str], None]
) -> tuple[Outcome, Exception | None]:
    """One run and, if it failed, what it failed with; only UserError is raised."""
    began = time.monotonic()
    try:
        return testbed.run(experiment, profile, report), None
    except UserError:
        raise
    except RunFailed as failure:
        error: Exception = failure
        reason = str(failure)
    except Exception as failure:
        # A strategy is anybody's code: whatever it raises, the other runs are to go on.
        error = failure
        reason = f"{type(failure).__name__}: {failure}"
    reason = " ".join(reason.split()) or type(error).__name__
    return Outcome(state="failed", reason=reason, wall_s=time.monotonic() - began), error
