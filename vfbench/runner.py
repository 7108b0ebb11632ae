"""Running experiments: repeats, one record after each run, and what becomes of a run that fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfbench.errors import RunFailed, Unavailable, UserError
from vfbench.experiment import Experiment
from vfbench.mechanism import complaints
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
        for complaint in complaints(experiment.strategy.mechanisms):
            raise UserError(f"strategy {experiment.strategy.name!r}: {complaint}")
        for refusal in load_testbed(experiment.testbed).refusals(experiment):
            raise _refused(experiment, refusal)


def to_skip(experiments: Sequence[Experiment]) -> dict[str, str]:
    """By digest, why an experiment can't be had on its testbed.

    Asked before anything runs. UserError if none can be had: then nobody is helped by a table of skipped rows.
    """
    found: dict[str, str] = {}
    first: UserError | None = None
    for experiment in experiments:
        refusals = load_testbed(experiment.testbed).refusals(experiment)
        if refusals:
            found[experiment.digest] = "; ".join(refusals)
            first = first or _refused(experiment, refusals[0])
    if first is not None and len(found) == len({experiment.digest for experiment in experiments}):
        raise first
    return found


def _refused(experiment: Experiment, refusal: str) -> UserError:
    return Unavailable(f"testbed {experiment.testbed!r}, strategy {experiment.strategy.name!r}: {refusal}")


def run_all(
    experiments: Sequence[Experiment],
    profile: Profile,
    results: ResultSet,
    progress: RunProgress,
    skip: Mapping[str, str] | None = None,
) -> Iterator[FinishedRun]:
    """Run one after the other; each is on disk before it is yielded and before the next begins.

    `skip` has by digest what is recorded as skipped, and why (:func:`to_skip`). A run that fails is recorded as such
    and the rest goes on; so is a strategy that turns out not to be available, if others run beside it. UserError
    (what the user must mend, or a disk that is full) and KeyboardInterrupt end it all; what has been yielded stays.
    """
    several = len({experiment.strategy.name for experiment in experiments}) > 1
    for number, experiment in enumerate(experiments):
        testbed = load_testbed(experiment.testbed)
        started = datetime.now(UTC)

        def report(
            fraction: float, phase: str, number: int = number, experiment: Experiment = experiment
        ) -> None:
            progress(number, experiment, fraction, phase)

        if skip and experiment.digest in skip:
            outcome, error = Outcome("skipped", skip[experiment.digest]), None
        else:
            outcome, error = attempt(testbed, experiment, profile, report)
        if isinstance(error, Unavailable) and not several:
            raise error
        command = command_line(experiment)
        folder = results.write(experiment, outcome, profile, started=started, command=command)
        yield FinishedRun(experiment, outcome, folder, error)


def attempt(
    testbed: Testbed, experiment: Experiment, profile: Profile, report: Callable[[float, str], None]
) -> tuple[Outcome, Exception | None]:
    """One run and, if it failed or was skipped, with what; of errors only UserError is raised."""
    began = time.monotonic()
    try:
        return testbed.run(experiment, profile, report), None
    except Unavailable as unavailable:
        return Outcome("skipped", " ".join(str(unavailable).split())), unavailable
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
