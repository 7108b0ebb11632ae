"""One run on a real Linux: boot, traffic, migration, and the verdict of the guest's own program."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vfbench.errors import RunFailed, UserError
from vfbench.migration.precopy import NotConverged
from vfbench.migration.script import carry_out
from vfbench.records import Outcome
from vfbench.testbeds.qemu import guests, measures
from vfbench.testbeds.qemu.boot.folder import run_folder
from vfbench.testbeds.qemu.boot.guest import Guest
from vfbench.testbeds.qemu.memory import refuse_without_memory
from vfbench.testbeds.qemu.migration import QemuMigration, StoppedTooEarly
from vfbench.testbeds.qemu.parts.accelerator import chosen
from vfbench.testbeds.qemu.parts.find import find_parts
from vfbench.testbeds.qemu.server.client import ServerProcess
from vfbench.testbeds.qemu.server.peer import offered_per_s
from vfbench.testbeds.qemu.server.place import Tracking
from vfbench.testbeds.qemu.server.process import Order
from vfbench.testbeds.qemu.verdict import ask_verdict
from vfbench.testbeds.qemu.watch import Watch

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.testbeds import Progress
    from vfbench.testbeds.counting import Row

PACE = {"tcg": 600, "kvm": 20_000}
"""Packets a second that a guest takes without trouble."""
PRIMARY_S = 40.0
MOST_TRIES = 3
"""Of a run whose guest QEMU stopped before its device, which only a very busy host brings about."""
AFTER_PAUSE_S = 0.5
SETTLE_S, SETTLE_LIMIT_S = 0.3, 5.0
LEAST_PHASE_S = {"warm-up": 0.5, "steady": 2.0, "after": 2.0}
"""A guest that takes some hundred packets a second needs so long for what takes milliseconds at line rate."""
LOOK_S = 0.05
VF_DEVICE = "vfio-user-pci"
FRACTIONS = {"boot": 0.05, "warm-up": 0.3, "steady": 0.35, "migrating": 0.5, "blackout": 0.75, "after": 0.8}


class Run:
    """One run; ``outcome`` is what it comes to."""

    def __init__(self, experiment: Experiment, profile: Profile, progress: Progress) -> None:
        self._experiment, self._profile, self._progress = experiment, profile, progress
        self._way = guests.wanted(experiment)
        self._migration: QemuMigration | None = None
        self._gap_ms: float | None = None
        self._pause_gap_ms: float | None = None
        self._marks: list[dict[str, int]] = []
        self._intervals: list[Row] = []

    def outcome(self) -> Outcome:
        """From the boot to the verdict."""
        began = time.monotonic()
        with ExitStack() as resources:
            self._build(resources)
            return self._watched(began)

    def _watched(self, began: float) -> Outcome:
        """All of it; a run that fails because a process died says so."""
        processes = {f"the {each.setup.name} QEMU": each.process for each in self._guests}
        guests_only = tuple(processes.values())
        processes["the VF's server"] = self._server.process
        watch = Watch(processes, guests_only)
        try:
            with watch:
                return self._from_boot_to_verdict(began)
        except RunFailed as failure:
            if watch.died is None:
                raise
            raise RunFailed(f"{watch.died} while the run was in its phase {self._now!r}") from failure

    def _from_boot_to_verdict(self, began: float) -> Outcome:
        self._phase("boot")
        self._bring_up()
        self._sleep("warm-up", self._experiment.phases.warmup_ns)
        begin = self._mark("warm-up")
        self._sleep("steady", self._experiment.phases.steady_ns)
        end = self._mark("steady")
        state, reason = self._migrate()
        self._mark("migrating")
        self._sleep("after", self._experiment.phases.after_ns)
        self._mark("after")
        self._pause_without_migrating()
        return self._result(state, reason, (begin, end), began)

    # -- the parts of a run

    def _build(self, resources: ExitStack) -> None:
        experiment = self._experiment
        self._parts = find_parts(experiment.qemu)
        if self._way.primary != "virtio-net" and VF_DEVICE not in self._parts.qemu.devices:
            raise UserError(
                f"QEMU {self._parts.qemu.release} has no {VF_DEVICE}, which came with 10.1 and works from 11.1 on; "
                "fetch one with `make linux-guest`, or name one with qemu.binary"
            )
        self._accelerator = chosen(experiment.qemu.accelerator, self._parts.qemu)
        refuse_without_memory(experiment.qemu.memory_bytes, guests=2)
        self._slowdown = slowdown_of(experiment, self._accelerator.name)
        self._folder = resources.enter_context(run_folder())
        guests.write_initramfs(self._parts, self._folder, self._way, experiment)
        setups = [
            guests.setup_of(experiment, self._parts, self._way, self._accelerator, self._folder, place)
            for place in (guests.SOURCE, guests.TARGET)
        ]
        for setup in setups:
            setup.folder.mkdir(mode=0o700)
        device_id = guests.DEVICE_IDS[experiment.qemu.device_id]
        tracking = Tracking(device=self._way.device_log == "dma", unmaps=self._way.device_log == "unmap")
        primary = self._way.primary
        order = Order(experiment, self._profile, self._folder, device_id, self._slowdown, tracking, primary)
        self._server = resources.enter_context(ServerProcess(order))
        self._guests = tuple(resources.enter_context(Guest(setup)) for setup in setups)
        self._source, self._target = self._guests

    def _bring_up(self) -> None:
        self._server.call("start", place="source")
        self._source.wait_until_booted()
        guests.bring_up(self._source, self._way)
        if self._way.primary == "vf-with-standby":
            self._wait_for_vf()
        hold_us = round(self._experiment.workload.hold_ns * self._slowdown / 1000)
        guests.start_programs(self._source, self._experiment, hold_us)
        self._server.call("start_peer", place="source")

    def _wait_for_vf(self) -> None:
        """QEMU plugs the primary once the guest's virtio driver asks for it, and its failover driver then takes it."""
        until = time.monotonic() + PRIMARY_S
        while not self._server.call("uses_vf", place="source"):
            if time.monotonic() > until:
                raise RunFailed(f"the guest's failover driver had no VF within {PRIMARY_S:.0f} s")
            self._look("boot", LOOK_S)

    def _migrate(self) -> tuple[str, str]:
        self._phase("migrating")
        self._migration = QemuMigration(
            self._experiment, self._way, (self._source, self._target), self._server, self._phase
        )
        self._server.call("watch_gap")
        try:
            carry_out(self._experiment.strategy, self._migration)
        except NotConverged as failure:
            return "not-converged", str(failure)
        return "ok", ""

    def _result(self, state: str, reason: str, steady: tuple[Any, Any], began: float) -> Outcome:
        assert self._migration is not None
        where = self._target if self._migration.resumed_s else self._source
        self._settle(where)
        verdict = ask_verdict(where, self._counts()["rx_offered"])
        counts = self._counts()
        landed, _, _ = self._server.call("ledger")
        for event in self._server.call("events"):
            sys.stderr.write(f"bench: {event}\n")
        return Outcome(
            state=state,
            reason=reason,
            measures={
                **measures.steady(*steady),
                **measures.moving(self._migration),
                **measures.integrity(counts, landed, verdict),
                **measures.memories(self._migration.comparison, self._migration.ring_pages),
                "service_gap_ms": self._gap_ms,
                "pause_gap_ms": self._pause_gap_ms,
                "functional": self._accelerator.timing == "functional",
                "slowdown": round(self._slowdown, 3),
            },
            rounds=self._migration.rounds.rows(),
            intervals=self._intervals,
            wall_s=time.monotonic() - began,
        )

    def _pause_without_migrating(self) -> None:
        """The gap that a mere pause makes, of the length of the downtime: beside it stands what the migration adds."""
        assert self._migration is not None
        if not self._migration.resumed_s:
            return
        self._gap_ms = self._server.call("longest_gap_ms")
        self._server.call("watch_gap")
        self._target.pulse.rest()
        self._target.qmp("stop")
        time.sleep(self._migration.resumed_s - self._migration.stopped_s)
        self._target.qmp("cont")
        self._target.pulse.begin()
        self._look("after", AFTER_PAUSE_S)
        self._pause_gap_ms = self._server.call("longest_gap_ms")

    def _settle(self, where: Guest) -> None:
        """The peer falls silent; the guest takes what is on its way, and what it does not take stays in the device."""
        name = where.setup.name
        self._server.call("stop_peer")
        until = time.monotonic() + SETTLE_LIMIT_S
        while self._server.call("waiting") and time.monotonic() < until:
            self._look("after", SETTLE_S)
        self._look("after", SETTLE_S)
        self._server.call("stop", place=name)

    # -- while time passes

    def _mark(self, phase: str) -> dict[str, int]:
        """A phase has ended: its counters, and its row in the timeline."""
        counts = self._counts()
        counts["written_pages"] = self._server.call("take_written")
        if phase != "warm-up":
            self._intervals.append(measures.interval(len(self._intervals), phase, self._marks, counts))
        self._marks.append(counts)
        return counts

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._server.call("counts")
        return counts

    def _sleep(self, phase: str, length_ns: int) -> None:
        until = time.monotonic() + max(length_ns / 1e9, LEAST_PHASE_S[phase])
        while time.monotonic() < until:
            self._look(phase, LOOK_S)

    def _look(self, phase: str, for_s: float) -> None:
        self._phase(phase)
        time.sleep(for_s)

    def _phase(self, phase: str) -> None:
        """Everybody is well, or the run has failed."""
        self._now = phase
        self._server.check()
        for guest in self._guests:
            if guest.ended():
                raise RunFailed(f"the {guest.setup.name} QEMU is gone")
            guest.pulse.check()
        self._progress(FRACTIONS[phase], phase)


def slowdown_of(experiment: Experiment, accelerator: str) -> float:
    """How much slower the workload's clock goes than the wall clock, so that the guest can take its packets."""
    pace = experiment.qemu.pace_per_s or PACE[accelerator]
    return max(1.0, offered_per_s(experiment) / pace)


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` on two QEMUs. UserError where parts are missing, RunFailed for a run that can't go on."""
    for _ in range(MOST_TRIES - 1):
        try:
            return Run(experiment, profile, progress).outcome()
        except RunFailed as failure:
            if not isinstance(failure.__cause__ or failure, StoppedTooEarly):
                raise
            sys.stderr.write("bench: QEMU stopped the guest before its device; the run begins anew\n")
    return Run(experiment, profile, progress).outcome()
