"""Running experiments: repeats, one record after each run, and what becomes of a run that fails."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vfbench import stopping
from vfbench.composition import complaints
from vfbench.errors import RunFailed, Unavailable, UserError
from vfbench.experiment import DEFAULT_TESTBED, Experiment
from vfbench.mistakes import asked, check_traits, class_place, in_file_of
from vfbench.needs import needs_of
from vfbench.options import Options, command_line, experiments, set_explicitly
from vfbench.records import TRAITS, Outcome, ResultSet
from vfbench.strategy import Strategy, recorded_traits
from vfbench.testbeds import Testbed, load_testbed
from vfbench.time_limit import DEFAULT_S, OutOfTime, Report, out_of_time, time_limit

if TYPE_CHECKING:
    from vfbench.profiles import Profile
    from vfbench.workload import Workload

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


def refusals(experiment: Experiment, profile: Profile) -> list[str]:
    """Why an experiment can't be had, a line each: its composition, its testbed, or the machine of the profile."""
    _check_author(experiment.strategy)
    wrong = [
        f"strategy {experiment.strategy.name!r}: {line}"
        for line in complaints(experiment.strategy.mechanisms)
    ]
    if wrong:
        return wrong
    testbed = f"testbed {experiment.testbed!r}, strategy {experiment.strategy.name!r}"
    found = [f"{testbed}: {line}" for line in load_testbed(experiment.testbed).refusals(experiment)]
    if experiment.testbed == DEFAULT_TESTBED:
        # A real machine has what it has, whatever a profile says.
        machine = f"strategy {experiment.strategy.name!r}"
        found += [f"{machine}: {line}" for line in profile.refusals(needs_of(experiment))]
    return found


def _check_author(strategy: Strategy) -> None:
    """UserError with file and line for what its author must mend, before anything runs."""
    asked(strategy, "mechanisms", lambda: strategy.mechanisms)
    if type(strategy).migrate is Strategy.migrate:
        place = class_place(type(strategy))
        raise UserError(
            f"{place}: strategy {strategy.name!r} has no migrate(): write the script of its migration"
        )
    traits = asked(strategy, "traits", lambda: recorded_traits(strategy))
    check_traits(strategy, traits, {column.name: column.type for column in TRAITS})


def asked_for(
    options: Options, strategies: Mapping[str, type[Strategy]], workloads: Mapping[str, type[Workload]]
) -> list[Experiment]:
    """One experiment per strategy, with what the testbed sets by itself where ``options`` say nothing of it."""
    found = experiments(options, strategies, workloads)
    adapted = getattr(load_testbed(options.testbed), "adapted", None)
    if adapted is None:
        return found
    return [adapted(each, set_explicitly(options, type(each.strategy))) for each in found]


def refuse_what_cannot_be_honoured(experiments: Sequence[Experiment], profile: Profile) -> None:
    """Unavailable with the first thing that can't be had, before anything runs."""
    for experiment in experiments:
        for refusal in refusals(experiment, profile):
            raise Unavailable(refusal)


def to_skip(experiments: Sequence[Experiment], profile: Profile) -> dict[str, str]:
    """By digest, why an experiment can't be had on its testbed and machine.

    Asked before anything runs. UserError if none can be had: then nobody is helped by a table of skipped rows.
    """
    found = {each.digest: "; ".join(refusals(each, profile)) for each in experiments}
    skipped = {digest: reason for digest, reason in found.items() if reason}
    if skipped and len(skipped) == len(found):
        raise Unavailable(next(iter(skipped.values())).split("; ")[0])
    return skipped


def run_all(
    experiments: Sequence[Experiment],
    profile: Profile,
    results: ResultSet,
    progress: RunProgress,
    skip: Mapping[str, str] | None = None,
    limit_s: float = DEFAULT_S,
) -> Iterator[FinishedRun]:
    """Run one after the other; each is on disk before it is yielded and before the next begins.

    `skip` has by digest what is recorded as skipped, and why (:func:`to_skip`). A run that takes more than `limit_s`
    of wall time is ended and recorded as timed-out. A run that fails is recorded as such and the rest goes on; so is a
    strategy that turns out not to be available, if others run beside it. UserError (what the user must mend, or a
    disk that is full) and KeyboardInterrupt end it all; what has been yielded stays.
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
            outcome, error = attempt(testbed, experiment, profile, report, limit_s)
        if isinstance(error, Unavailable) and not several:
            raise error
        command = command_line(experiment)
        folder = results.write(experiment, outcome, profile, started=started, command=command)
        yield FinishedRun(experiment, outcome, folder, error)


def outcome_of(experiment: Experiment, profile: Profile, limit_s: float = DEFAULT_S) -> Outcome:
    """One run that is not recorded, for what was measured in it; RunFailed if it failed, or took too long."""
    testbed = load_testbed(experiment.testbed)
    outcome, error = attempt(testbed, experiment, profile, lambda _fraction, _phase: None, limit_s)
    if isinstance(error, Unavailable):
        raise error
    if outcome.state in ("failed", "timed-out"):
        raise RunFailed(outcome.reason) from error
    return outcome


def attempt(
    testbed: Testbed, experiment: Experiment, profile: Profile, report: Report, limit_s: float = DEFAULT_S
) -> tuple[Outcome, Exception | None]:
    """One run and, if it failed or was skipped, with what; of errors only UserError is raised."""
    began = time.monotonic()
    try:
        with time_limit(limit_s, report) as report_in_time:
            return testbed.run(experiment, profile, report_in_time), None
    except OutOfTime:
        # A limit that rings while a signal waits for the compiler's next step must not be all that is heard.
        stopping.check()
        return Outcome("timed-out", out_of_time(limit_s), wall_s=time.monotonic() - began), None
    except Unavailable as unavailable:
        return Outcome("skipped", " ".join(str(unavailable).split())), unavailable
    except UserError:
        raise
    except RunFailed as failure:
        error: Exception = failure
        reason = str(failure)
    except Exception as failure:
        # What a callback of the compiler makes of a signal is not a failure of the run.
        stopping.check()
        # A strategy is anybody's code: whatever it raises, the other runs are to go on.
        error = failure
        reason = f"{type(failure).__name__}: {failure}"
    # A run that failed for a reason says it; where it is the script that is wrong, its line helps.
    place = in_file_of(error, type(experiment.strategy), "migrate" if isinstance(error, RunFailed) else "")
    reason = f"{place}: {reason}" if place else reason
    reason = " ".join(reason.split()) or type(error).__name__
    return Outcome(state="failed", reason=reason, wall_s=time.monotonic() - began), error
