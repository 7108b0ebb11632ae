"""The run's clock and its intervals: every wait of a run passes through here, so that nothing goes unseen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vfbench.errors import RunFailed
from vfbench.testbeds.counting import PortCounters, interval_row
from vfbench.testbeds.phases import Phased

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.host.host_records import BenchRecords

LONGEST_SLEEP_S = 0.005
SHORTEST_SLEEP_S = 0.0001


class Counters(PortCounters):
    """The port's counters at one instant, and both clocks'."""

    def __init__(self, bench: BenchRecords, time_ps: int) -> None:
        super().__init__(bench.pair, time_ps)
        self.wire_ps = int(bench.wire.time_ps)
        self.wall_ns = int(bench.wire.last_ns)  # when the wire's clock was last moved


class Timeline(Phased):
    """Picoseconds since the run began: the wall clock's, without the time for which it was held.

    In lockstep they are the wire's, which go no further than somebody sleeps here; nobody wakes up before nothing
    more can happen at the instant that was slept to.
    """

    def __init__(self, bench: BenchRecords, interval_ns: int, tick: Callable[[], None]) -> None:
        self._bench = bench
        self._lockstep = bool(bench.wire.lockstep)
        self._interval_ps = interval_ns * 1000
        self._tick = tick
        self._held_ps: int | None = None
        self._held_total_ps = 0
        self._began_ns = time.monotonic_ns()
        super().__init__("warm-up")
        self._zero_ps = 0
        self._last: Counters | None = None

    @property
    def now_ps(self) -> int:
        if self._lockstep:
            return int(self._bench.wire.time_ps)
        if self._held_ps is not None:
            return self._held_ps
        return (time.monotonic_ns() - self._began_ns) * 1000 - self._held_total_ps

    def counters(self) -> Counters:
        """The port's counters now."""
        return Counters(self._bench, self.now_ps)

    def begin(self, phase: str) -> None:
        """The warm-up is over: intervals from here on."""
        self.phase = phase
        self._last = self.counters()
        self._zero_ps = self._last.time_ps

    def hold(self) -> None:
        """Stop all clocks: the bench does something that no real migration would."""
        self._bench.wire.frozen = 1
        self._held_ps = self.now_ps

    def release(self) -> None:
        """Let them go on."""
        assert self._held_ps is not None
        held_ps, self._held_ps = self._held_ps, None
        self._held_total_ps += self.now_ps - held_ps
        self._bench.wire.last_ns = time.monotonic_ns()
        self._bench.wire.frozen = 0

    def sleep_until(self, until_ps: int) -> None:
        """Let time pass."""
        if self._lockstep:
            self._run_clock_to(until_ps)
            return
        while True:
            self.look()
            left_s = (until_ps - self.now_ps) / 1e12
            if left_s <= 0:
                return
            time.sleep(min(max(left_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))

    def wait_for(self, condition: Callable[[], bool], limit_s: float, what: str) -> None:
        """Let time pass until something has happened; RunFailed if it takes too long."""
        until = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > until:
                raise RunFailed(f"{what} took more than {limit_s:g} s")
            self.look()
            time.sleep(0.001)

    def _run_clock_to(self, until_ps: int) -> None:
        """In lockstep: interval by interval, so that each ends when it should and nothing moves while it is read."""
        wire = self._bench.wire
        while self.now_ps < until_ps:
            end_ps = until_ps if self._last is None else self._last.time_ps + self._interval_ps
            wire.limit_ps = min(until_ps, end_ps)
            while wire.settled_ps < wire.limit_ps:
                self._tick()
                time.sleep(SHORTEST_SLEEP_S)
            self.look()

    def look(self) -> None:
        """Close the interval under way if it is due; see that everybody is well."""
        self._tick()
        if self._last is not None and self.now_ps >= self._last.time_ps + self._interval_ps:
            self._close_interval()

    def finish(self) -> None:
        """Close the interval that is under way."""
        if self._last is not None and self.now_ps > self._last.time_ps:
            self._close_interval()

    def _close_interval(self) -> None:
        before, now = self._last, self.counters()
        assert before is not None
        self.rows.append(interval_row(len(self.rows), self.phase, self._zero_ps, before, now))
        self._last = now
