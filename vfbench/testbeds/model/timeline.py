"""What happened when: the run cut into intervals, and the counters behind every measure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vfbench.latency import latency_percentiles_us
from vfbench.machine.memory.guest_memory import CPU_WROTE, DEVICE_WROTE
from vfbench.testbeds.counting import PortCounters, interval_row
from vfbench.testbeds.model.machine import Machine
from vfbench.testbeds.model.throttle import Throttle
from vfbench.testbeds.phases import Phased

CPU_EVENTS = ("maps", "unmaps", "exits", "invalidations", "interrupts", "kicks")
"""Counters of a processor's record that are told of by themselves."""


NOT_WRITTEN = 0xFF ^ (CPU_WROTE | DEVICE_WROTE)


class Counters(PortCounters):
    """The machine's counters at one instant: the ports', time and events of its processors."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.pairs, machine.now_ps)
        cpus = machine.cpus
        self.guest_ps = int((cpus.clock_ps - cpus.idle_ps).sum())
        self.host_ps = int(cpus.host_ps.sum())
        self.cpu_events = {name: int(cpus[name].sum()) for name in CPU_EVENTS}


class Timeline(Phased):
    """Lets the machine run in steps that end where intervals end, and keeps a row for each interval.

    An interval ends when its time is up or the phase changes, so none lies in two phases.

    Also keeps which pages were written, by whom, since the last interval and since the last sync: the marks in
    memory are harvested into both whenever either ends, so neither spoils the other.
    """

    def __init__(self, machine: Machine, interval_ns: int, tick: Callable[[int], None]) -> None:
        self._machine = machine
        self._interval_ps = interval_ns * 1000
        self._tick = tick
        self.throttle = Throttle(machine)
        """Of the vCPUs, which fall asleep and wake at times of its own."""
        self._zero_ps = machine.now_ps
        self._next_ps = self._zero_ps + self._interval_ps
        self._last = Counters(machine)
        self._written_in_interval = np.zeros_like(machine.memory.marks)
        self.written_since_sync = np.zeros_like(machine.memory.marks)
        super().__init__("steady")
        # What the warm-up wrote belongs to no interval.
        machine.memory.marks &= NOT_WRITTEN

    def advance(self, until_ps: int, step: Callable[[int], bool] | None = None) -> bool:
        """Let the machine run up to ``until_ps``, by ``step`` if given; False as soon as a step returns False."""
        while self._machine.now_ps < until_ps:
            target_ps = min(until_ps, self._next_ps, self.throttle.next_ps)
            if step is None:
                self._machine.advance(target_ps)
            elif not step(target_ps):
                return False
            if self._machine.now_ps >= self._next_ps:
                self._close_interval()
            if self._machine.now_ps >= self.throttle.next_ps:
                self.throttle.turn()
        return True

    def harvest(self) -> None:
        """Move the marks of what was written out of memory."""
        marks = self._machine.memory.marks
        written = marks & (CPU_WROTE | DEVICE_WROTE)
        self._written_in_interval |= written
        self.written_since_sync |= written
        marks &= NOT_WRITTEN

    def finish(self) -> None:
        """Close the interval that is under way."""
        if self._machine.now_ps > self._last.time_ps:
            self._close_interval()

    def _close_interval(self) -> None:
        self.harvest()
        now, before = Counters(self._machine), self._last
        ghz = self._machine.profile.value("cpu_frequency")
        p50, p99 = latency_percentiles_us(now.latency - before.latency, (50, 99))
        written = self._written_in_interval
        self.rows.append(
            {
                **interval_row(len(self.rows), self.phase, self._zero_ps, before, now),
                "guest_cycles": round((now.guest_ps - before.guest_ps) * ghz / 1000),
                "host_cycles": round((now.host_ps - before.host_ps) * ghz / 1000),
                "latency_p50_us": p50,
                "latency_p99_us": p99,
                "dirty_pages": int(np.count_nonzero(written)),
                "dirty_pages_cpu": int(np.count_nonzero(written & CPU_WROTE)),
                "dirty_pages_dma": int(np.count_nonzero(written & DEVICE_WROTE)),
            }
        )
        written[:] = 0
        self._last = now
        self._next_ps = now.time_ps + self._interval_ps
        self._tick(now.time_ps)
