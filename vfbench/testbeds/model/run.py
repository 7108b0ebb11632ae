"""One run on the model: warm-up, steady state, migration, the time after it, and the ledger made to add up."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from vfbench.kernels import when_compiling
from vfbench.layout import lay_out, room_refusals
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.precopy import NotConverged
from vfbench.migration.rounds import round_rows
from vfbench.migration.script import carry_out
from vfbench.parameters import changed
from vfbench.records import Outcome
from vfbench.testbeds.model.ending import run_until_offered, settle
from vfbench.testbeds.model.machine import Machine
from vfbench.testbeds.model.measures import interval_rows, measures
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.model.timeline import Counters, Timeline
from vfbench.testbeds.offloads import frame_refusals, path_refusals
from vfbench.units import format_quantity

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.testbeds import Progress


def refusals(experiment: Experiment) -> list[str]:
    """One line for each parameter that the model can't honour."""
    refused = room_refusals(experiment)
    refused += [
        f"{each.name}: {line}" for each in experiment.strategy.mechanisms for line in each.refusals("model")
    ]
    refused += [
        f"kvm.{name}: {value!r}, but the model has neither a clock of the host nor a port"
        for name, value in changed(experiment.kvm).items()
    ]
    return (
        refused + _zero_memory_refusals(experiment) + frame_refusals(experiment) + path_refusals(experiment)
    )


def _zero_memory_refusals(experiment: Experiment) -> list[str]:
    """What holds zeros lies among the memory that nothing touches, and makes a difference where zeros are seen."""
    given_bytes = experiment.guest.zero_memory_bytes
    given = f"guest.zero-memory: {format_quantity(given_bytes, 'bytes')}"
    if given_bytes and experiment.migration.zero_pages == "filled":
        return [f"{given} cannot act without migration.zero-pages"]
    untouched_bytes = lay_out(experiment).cold_pages * PAGE_BYTES if given_bytes else 0
    if given_bytes > untouched_bytes:
        return [
            f"{given} is over {format_quantity(untouched_bytes, 'bytes')}, the memory that nothing touches"
        ]
    return []


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` from warm-up to the settled ledger. RunFailed where the ledger does not add up."""
    began = time.perf_counter()
    when_compiling(lambda: _say_that_it_compiles(progress))
    try:
        return _run(experiment, profile, progress, began)
    finally:
        # What compiles later is none of this run's business, nor of its limit of time.
        when_compiling(_say_nothing)


def _say_nothing() -> None:
    pass


def _run(experiment: Experiment, profile: Profile, progress: Progress, began: float) -> Outcome:
    machine = Machine(experiment, profile)
    with machine.faults_explained():
        return _from_warm_up_to_settled(machine, progress, began)


def _from_warm_up_to_settled(machine: Machine, progress: Progress, began: float) -> Outcome:
    experiment = machine.experiment
    machine.advance(experiment.phases.warmup_ns * 1000)

    def tick(now_ps: int) -> None:
        progress(min(0.99, now_ps / expected_ps), timeline.phase)

    expected_ps = _expected_ps(experiment)
    timeline = Timeline(machine, experiment.phases.interval_ns, tick)
    for pair in machine.pairs:
        pair.oracle.measures_latency = 1
    steady = _run_steady(machine, timeline)
    migration = ModelMigration(machine, timeline)
    state, reason = _migrate(machine, migration, timeline)
    migrated = Counters(machine)
    timeline.advance(machine.now_ps + experiment.phases.after_ns * 1000)
    after = Counters(machine)
    _note_silence(machine)
    settle(machine, timeline)
    return Outcome(
        state=state,
        reason=reason,
        measures=measures(machine, migration, timeline, (*steady, migrated, after)),
        rounds=round_rows(migration.precopy, migration.started_ps),
        intervals=interval_rows(timeline),
        wall_s=time.perf_counter() - began,
    )


def _run_steady(machine: Machine, timeline: Timeline) -> tuple[Counters, Counters]:
    """The steady state, by time or by packets; the counters at its two ends."""
    phases, begin = machine.experiment.phases, Counters(machine)
    if phases.packets == 0:
        timeline.advance(machine.now_ps + phases.steady_ns * 1000)
    else:
        run_until_offered(machine, timeline, begin.offered + phases.packets)
    return begin, Counters(machine)


def _migrate(machine: Machine, migration: ModelMigration, timeline: Timeline) -> tuple[str, str]:
    """Let the strategy migrate; returns the run's state and reason."""
    timeline.phase = "migrating"
    for pair in machine.pairs:
        pair.oracle.longest_gap_ps = 0
    try:
        carry_out(machine.experiment.strategy, migration)
    except NotConverged as failure:
        migration.cancel()
        return "not-converged", str(failure)
    timeline.phase = "after"
    return "ok", ""


def _note_silence(machine: Machine) -> None:
    """The peer also waits for what comes no more: up to the last frame that it put on the wire."""
    asked_ps = min(machine.now_ps, int(machine.source.wire_free_ps))
    for pair in machine.pairs:
        pair.oracle.longest_gap_ps = max(int(pair.oracle.longest_gap_ps), asked_ps - int(pair.oracle.seen_ps))


def _expected_ps(experiment: Experiment) -> int:
    """A guess at the run's length in virtual time, for the progress bar alone."""
    phases, migration = experiment.phases, experiment.migration
    copy_ns = 1.1 * 8e9 * experiment.guest.memory_bytes / migration.bandwidth_bps
    return max(1, round(1000 * (phases.warmup_ns + phases.steady_ns + copy_ns + phases.after_ns)))


def _say_that_it_compiles(progress: Progress) -> None:
    progress(0.0, "compiling")
    print("compiling the kernels; the next run finds them compiled", file=sys.stderr, flush=True)
