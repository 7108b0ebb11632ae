"""One run on a real VM.

Warm-up, steady state, migration into another process, and the ledger made to add up.
"""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vfbench.errors import RunFailed
from vfbench.machine.wire import BUFFER_BYTES, NEVER_PS, WIRE_OVERHEAD_BYTES
from vfbench.migration.precopy import NotConverged
from vfbench.migration.rounds import round_rows
from vfbench.migration.script import carry_out
from vfbench.records import Outcome
from vfbench.testbeds.kvm.doctor import is_emulated, ns_per_instruction_of
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.guest import busy_ticks, prepare_guest
from vfbench.testbeds.kvm.host import measures
from vfbench.testbeds.kvm.host.bench_records import HELD_UP_FRAMES, NORMAL_SPEED, Bench
from vfbench.testbeds.kvm.host.endpoint import Endpoint
from vfbench.testbeds.kvm.host.timeline import Counters, Timeline
from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.destination_process import DestinationProcess
from vfbench.testbeds.kvm.migrate.dirty_pages import RATE_INTERVALS, dirty_rate
from vfbench.testbeds.kvm.migrate.migration import KvmMigration
from vfbench.testbeds.outcome import integrity, moving, throughput
from vfbench.workload import ignore_replies

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.testbeds import Progress

BRING_UP_LIMIT_S = 20.0
SETTLE_LIMIT_PS = 20 * 10**12
SETTLE_STEP_PS = 300 * 10**9
PING_EVERY_S = 0.25
# How long the guest's pace is measured.
PACE_WINDOW_PS = 600 * 10**9
CATCH_UP_LIMIT_S = 4.0
CAUGHT_UP_FRAMES = 64
SPARE = 1.25
"""How much slower than the guest's own pace the wire then is, so that the guest mostly keeps up."""


class Run:
    """One run; `outcome` is what it comes to."""

    def __init__(self, experiment: Experiment, profile: Profile, progress: Progress) -> None:
        self._experiment = experiment
        self._profile = profile
        self._progress = progress
        self._resources = ExitStack()
        self._migration: KvmMigration | None = None
        self.destination: DestinationProcess | None = None
        self.functional = False
        self.guest_ticks = 0

    def outcome(self) -> Outcome:
        """Run from warm-up to the settled ledger."""
        began = time.monotonic()
        with self._resources:
            self._build()
            try:
                return self._from_warm_up_to_settled(began)
            except stream.StreamBroken as failure:
                assert self.destination is not None
                raise self.destination.explain(failure) from failure

    def _from_warm_up_to_settled(self, began: float) -> Outcome:
        self._warm_up()
        steady = self._steady_state()
        self._dirty_rate = dirty_rate(
            self._endpoint, self._timeline, self._experiment.phases.interval_ns * 1000, self._rate_intervals
        )
        state, reason = self._migrate()
        migrated = self._timeline.counters()
        self._timeline.sleep_until(self._timeline.now_ps + self._experiment.phases.after_ns * 1000)
        self._settle()
        return self._result(state, reason, (*steady, migrated), time.monotonic() - began)

    def _build(self) -> None:
        experiment = self._experiment
        self._bench = Bench(experiment, self._profile)
        self._resources.callback(self._bench.close)
        self._endpoint = self._resources.enter_context(Endpoint(experiment, self._bench.records))
        self._pair, self._wire = self._bench.records.pair, self._bench.records.wire
        emulated = is_emulated(ns_per_instruction_of(self._endpoint.vm))
        self.functional = emulated or experiment.kvm.clock == "lockstep"
        prepare_guest(self._endpoint)
        # Only now: it finds compiled what both sides need.
        self.destination = self._resources.enter_context(DestinationProcess(experiment, self._bench))
        self._timeline = Timeline(self._bench.records, experiment.phases.interval_ns, self._look)

    def _look(self) -> None:
        """Everybody is well, or the run has failed."""
        if self._migration is None or not self._migration.at_destination:
            self._endpoint.check()
        assert self.destination is not None
        self.destination.check()
        if self.destination.stream.quiet_s > PING_EVERY_S:
            self.destination.stream.ask(stream.PING)
        self._progress(self._fraction(), self._timeline.phase)

    def _fraction(self) -> float:
        phases = {"warm-up": 0.05, "steady": 0.1, "migrating": 0.5, "blackout": 0.9, "after": 0.92}
        begin = phases[self._timeline.phase]
        if self._timeline.phase == "steady" and self._experiment.phases.packets:
            return begin + 0.4 * min(1.0, int(self._pair.oracle.rx_offered) / self._experiment.phases.packets)
        return begin

    def _warm_up(self) -> None:
        """Bring the driver up; where the guest is emulated, find out what pace it can keep."""
        if self.functional:
            self._bench.hold_up_the_wire()
        # The destination is ready before the guest starts: what it compiles must not disturb the measurement.
        assert self.destination is not None
        _ = self.destination.stream
        self._wire.last_ns = time.monotonic_ns()
        self._endpoint.start_host_thread(drives_wire=True)
        self._endpoint.start_vcpu()
        self._bring_up()
        self._timeline.sleep_until(self._timeline.now_ps + self._experiment.phases.warmup_ns * 1000)
        if self.functional and not self._wire.lockstep:
            self._slow_the_wire_down()

    def _bring_up(self) -> None:
        """In lockstep the clock stands until the driver is up."""
        if self._wire.lockstep:
            self._endpoint.command(guest_abi.REPORT)
        else:
            self._timeline.wait_for(self._is_up, BRING_UP_LIMIT_S, "bringing the guest's driver up")

    def _is_up(self) -> bool:
        return int(self._pair.oracle.rx_handed_over) > 0

    def _slow_the_wire_down(self) -> None:
        """Where the guest can't keep up, stretch the frames' distance to a little more than it can take."""
        self._timeline.sleep_until(self._timeline.now_ps + PACE_WINDOW_PS // 2)
        begin, taken = self._timeline.now_ps, int(self._pair.oracle.rx_handed_over)
        self._timeline.sleep_until(begin + PACE_WINDOW_PS)
        if self._waiting_frames() < HELD_UP_FRAMES:
            return
        taken = int(self._pair.oracle.rx_handed_over) - taken
        pace_ps = (self._timeline.now_ps - begin) / max(1, taken)
        self._wire.slowdown_1024 = max(
            NORMAL_SPEED, int(NORMAL_SPEED * SPARE * pace_ps / self._distance_ps())
        )
        until = time.monotonic() + CATCH_UP_LIMIT_S
        while self._behind() > CAUGHT_UP_FRAMES and time.monotonic() < until:
            self._timeline.sleep_until(self._timeline.now_ps + 10**10)

    def _behind(self) -> int:
        """Frames admitted that have not been handed over yet."""
        now = self._timeline.counters()
        return now.offered - now.lost - int(self._pair.oracle.rx_handed_over)

    def _distance_ps(self) -> float:
        """Mean distance of the frames put on the wire so far, by the wire's clock."""
        last = self._wire.incoming[max(0, int(self._wire.incoming_count) - 1)]
        return max(1.0, float(last["arrival_ps"]) / max(1, int(self._wire.sequence)))

    def _waiting_frames(self) -> int:
        return int(self._pair.nic.fifo_tail - self._pair.nic.fifo_head)

    def _steady_state(self) -> tuple[Counters, Counters]:
        """The steady state, by time or by packets; the counters at its two ends."""
        phases = self._experiment.phases
        self._timeline.begin("steady")
        self._pair.oracle.measures_latency = int(not self._wire.lockstep)
        begin = self._timeline.counters()
        ticks = busy_ticks(self._endpoint)
        if phases.packets == 0:
            self._timeline.sleep_until(self._timeline.now_ps + self._steady_ps)
        while int(self._pair.oracle.rx_offered) - begin.offered < phases.packets:
            if self._is_dry():
                break
            self._timeline.sleep_until(self._timeline.now_ps + 10**9)
        end = self._timeline.counters()
        self.guest_ticks = busy_ticks(self._endpoint) - ticks
        self._pair.oracle.measures_latency = 0
        return begin, end

    def _is_dry(self) -> bool:
        """Whether the peer has no more to offer: no frame is due ever, on the wire or of an answer on its way."""
        pair, wire = self._pair, self._wire
        if int(self._bench.records.source.next_ps) < NEVER_PS or wire.incoming_head < wire.incoming_count:
            return False
        waits = type(self._experiment.workload).peer_received is not ignore_replies
        return not waits or (
            self._open_packets() == 0 and int(pair.oracle.tx_offered) == int(pair.oracle.tx_delivered)
        )

    @property
    def _rate_intervals(self) -> int:
        """Over how many intervals the dirty rate is measured: in lockstep, over no more than half the steady state."""
        phases = self._experiment.phases
        if not self._wire.lockstep:
            return RATE_INTERVALS
        return max(1, min(RATE_INTERVALS, phases.steady_ns // (2 * phases.interval_ns)))

    @property
    def _steady_ps(self) -> int:
        """The steady state but for what the dirty rate takes of it.

        In lockstep no throughput is lost by its log, and so the migration begins when the model's does.
        """
        phases = self._experiment.phases
        if not self._wire.lockstep:
            return phases.steady_ns * 1000
        return 1000 * max(phases.steady_ns // 2, phases.steady_ns - self._rate_intervals * phases.interval_ns)

    def _migrate(self) -> tuple[str, str]:
        """Let the strategy migrate; returns the run's state and reason."""
        assert self.destination is not None
        self._timeline.phase = "migrating"
        self._pair.oracle.longest_gap_ps = 0
        migration = KvmMigration(self._endpoint, self._bench, self.destination, self._timeline)
        self._migration = migration
        try:
            carry_out(self._experiment.strategy, migration)
        except NotConverged as failure:
            migration.cancel()
            return "not-converged", str(failure)
        self._timeline.phase = "after"
        return "ok", ""

    def _settle(self) -> None:
        """The peer falls silent; what is on its way arrives, and what never will is counted as lost."""
        pair = self._pair
        self._bench.records.source.frames_left = 0
        hold_ps = self._experiment.workload.hold_ns * int(self._wire.slowdown_1024)
        step_ps = SETTLE_STEP_PS + 2 * hold_ps + self._longest_frame_ps()
        until_ps = self._timeline.now_ps + max(SETTLE_LIMIT_PS, 4 * step_ps)
        open_before = -1
        while self._timeline.now_ps < until_ps and (
            self._unread() or 0 < self._open_packets() != open_before
        ):
            open_before = self._open_packets()
            self._timeline.sleep_until(self._timeline.now_ps + step_ps)
        self._timeline.finish()
        self._stop_everything()
        pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head
        pair.nic.fifo_head = pair.nic.fifo_tail
        pair.oracle.lost_ring += int(pair.oracle.slot["pending"].sum())
        pair.oracle.slot["pending"] = 0
        if self._open_packets() != 0:
            raise RunFailed(
                f"the ledger does not add up: {self._open_packets()} packets are neither here nor lost"
            )

    def _longest_frame_ps(self) -> int:
        """What a frame may take on the wire, as slow as that is here."""
        wire_bytes = BUFFER_BYTES + WIRE_OVERHEAD_BYTES
        return (
            wire_bytes
            * int(self._bench.records.source.ps_per_byte)
            * int(self._wire.slowdown_1024)
            // NORMAL_SPEED
        )

    def _stop_everything(self) -> None:
        """The guest, wherever it runs, and its device come to rest."""
        assert self.destination is not None
        if self._migration is not None and self._migration.at_destination:
            self.destination.quit()
        else:
            self._endpoint.pause_vcpu()
            self._endpoint.stop_host_thread()

    def _unread(self) -> int:
        """Packets that the application was handed and has not read yet."""
        pair = self._pair
        read = (
            pair.oracle.rx_delivered
            + pair.oracle.rx_corrupted
            + pair.oracle.rx_duplicated
            + pair.oracle.rx_phantom
        )
        return int(pair.oracle.rx_handed_over - read)

    def _open_packets(self) -> int:
        """Packets offered that are not yet delivered, corrupted or lost."""
        now = self._timeline.counters()
        return now.offered - now.delivered - now.corrupted - now.lost

    def _result(self, state: str, reason: str, counters: tuple[Counters, ...], wall_s: float) -> Outcome:
        assert self._migration is not None
        begin, end, migrated = counters
        times_slower = measures.slowdown(begin, end)
        return Outcome(
            state=state,
            reason=reason,
            measures={
                **throughput(begin, end, migrated),
                **measures.cycles(begin, end, None if self.functional else self.guest_ticks),
                **measures.latency(begin, end, times_slower),
                **self._dirty_rate,
                **moving(self._migration, measures.longest_gap_ps(self._bench)),
                **integrity(self._bench.records.pair, self._migration),
                "input_frames": self._experiment.workload.input_frames(self._bench.records.source),
                "functional": self.functional,
                "slowdown": times_slower,
            },
            rounds=round_rows(self._migration.precopy, self._migration.started_ps),
            intervals=self._timeline.rows,
            wall_s=wall_s,
        )


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` on /dev/kvm. UserError where there is none, RunFailed for a run that can't go on."""
    try:
        return Run(experiment, profile, progress).outcome()
    finally:
        # A run's parts know one another, and the two memories that they map would wait for the next collection.
        gc.collect()
