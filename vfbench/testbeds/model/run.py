"""One run on the model: warm-up, steady state, migration, the time after it, and the ledger made to add up."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from vfbench.errors import RunFailed, UserError
from vfbench.kernels import when_compiling
from vfbench.migration.precopy import NotConverged
from vfbench.migration.rounds import round_rows
from vfbench.migration.script import carry_out
from vfbench.parameters import changed
from vfbench.records import Outcome
from vfbench.testbeds.model.machine import Machine
from vfbench.testbeds.model.measures import interval_rows, measures
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.model.timeline import Counters, Timeline

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.testbeds import Progress

PACKET_STEP_PS = 20 * 10**6
SETTLE_STEP_PS = 10**9
LONGEST_SETTLE_PS = 10**12


def refusals(experiment: Experiment) -> list[str]:
    """One line for each parameter that the model can't honour."""
    refused = []
    packet_pages = experiment.guest.packet_memory_bytes // 4096 // experiment.guest.queues
    wanted = experiment.driver.rx_ring + experiment.driver.tx_ring
    if packet_pages < 2 * wanted:
        refused.append(
            f"guest.packet-memory: {experiment.guest.packet_memory_bytes} bytes are {packet_pages} pages a queue, "
            f"and rings of {experiment.driver.rx_ring} and {experiment.driver.tx_ring} want {2 * wanted}"
        )
    refused += [
        f"kvm.{name}: {value!r}, but the model has neither a clock of the host nor a port"
        for name, value in changed(experiment.kvm).items()
    ]
    return refused


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` from warm-up to the settled ledger. RunFailed where the ledger does not add up."""
    began = time.perf_counter()
    when_compiling(lambda: _say_that_it_compiles(progress))
    machine = Machine(experiment, profile)
    if machine.layout.cold_pages < 0:
        raise UserError(
            f"guest.memory: {experiment.guest.memory_bytes} bytes do not hold packet memory, working set and "
            f"structures of {machine.layout.backed_bytes} bytes"
        )
    machine.advance(experiment.phases.warmup_ns * 1000)

    def tick(now_ps: int) -> None:
        progress(min(0.99, now_ps / expected_ps), timeline.phase)

    expected_ps = _expected_ps(experiment)
    timeline = Timeline(machine, experiment.phases.interval_ns, tick)
    for port in machine.ports:
        port.measures_latency = 1
    steady = _run_steady(machine, timeline)
    migration = ModelMigration(machine, timeline)
    state, reason = _migrate(machine, migration, timeline)
    migrated = Counters(machine)
    timeline.advance(machine.now_ps + experiment.phases.after_ns * 1000)
    after = Counters(machine)
    _note_silence(machine)
    _settle(machine, timeline)
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
        while int(machine.ports.rx_offered.sum()) - begin.offered < phases.packets:
            timeline.advance(machine.now_ps + PACKET_STEP_PS)
    return begin, Counters(machine)


def _migrate(machine: Machine, migration: ModelMigration, timeline: Timeline) -> tuple[str, str]:
    """Let the strategy migrate; returns the run's state and reason."""
    timeline.phase = "migrating"
    for port in machine.ports:
        port.longest_gap_ps = 0
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
    for port in machine.ports:
        port.longest_gap_ps = max(int(port.longest_gap_ps), asked_ps - int(port.seen_ps))


def _settle(machine: Machine, timeline: Timeline) -> None:
    """The peer falls silent; what is on its way arrives, and what never will is counted as lost."""
    machine.source.frames_left = 0
    limit_ps = machine.now_ps + LONGEST_SETTLE_PS + 2 * machine.experiment.workload.hold_ns * 1000
    while _open_packets(machine) > 0 and machine.now_ps < limit_ps and _is_moving(machine, timeline):
        pass
    timeline.finish()
    for port in machine.ports:
        port.lost_reset += port.fifo_tail - port.fifo_head
        port.fifo_head = port.fifo_tail
        port.lost_ring += int(port.slot["pending"].sum())
        port.slot["pending"] = 0
    if _open_packets(machine) != 0:
        raise RunFailed(
            f"the ledger does not add up: {_open_packets(machine)} packets are neither here nor lost"
        )


def _is_moving(machine: Machine, timeline: Timeline) -> bool:
    """Advance until nothing changes for longer than the application keeps a packet, and no driver polls."""
    before = _open_packets(machine)
    timeline.advance(machine.now_ps + SETTLE_STEP_PS + machine.experiment.workload.hold_ns * 1000)
    return bool(machine.ports.polling.any()) or _open_packets(machine) != before


def _open_packets(machine: Machine) -> int:
    """Packets offered that are not yet delivered, corrupted or lost."""
    now = Counters(machine)
    return now.offered - now.delivered - now.corrupted - now.lost


def _expected_ps(experiment: Experiment) -> int:
    """A guess at the run's length in virtual time, for the progress bar alone."""
    phases, migration = experiment.phases, experiment.migration
    copy_ns = 1.1 * 8e9 * experiment.guest.memory_bytes / migration.bandwidth_bps
    return max(1, round(1000 * (phases.warmup_ns + phases.steady_ns + copy_ns + phases.after_ns)))


def _say_that_it_compiles(progress: Progress) -> None:
    progress(0.0, "compiling")
    print("compiling the kernels; the next run finds them compiled", file=sys.stderr, flush=True)
