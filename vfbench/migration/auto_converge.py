"""QEMU's auto-converge: slow the guest down until it dirties memory more slowly than it is sent.

``migration_bitmap_sync`` closes a period of over a second at a sync. If more was dirtied in it than half of what was
sent (``throttle-trigger-threshold``), and that for the second time, ``mig_throttle_guest_down`` raises the throttle: to
20 % at first (``cpu-throttle-initial``), by 10 % more each time (``cpu-throttle-increment``), up to 99 %
(``max-cpu-throttle``). With ``cpu-throttle-tailslow`` a step is no larger than the ratio asks for. The log is synced
every 5 s besides, after the first round, so that a long one does not keep it waiting (QEMU 9.2 on,
``cpu_throttle_dirty_sync_timer``).

A throttled vCPU runs for 10 ms and sleeps for p / (1 - p) times as long (``cpu_throttle_thread``). A device does not
sleep: its DMA goes on.

Sources: QEMU 11.1, migration/ram.c and migration/cpu-throttle.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vfbench import settings

PERIOD_PS: Final = 10**12
"""A period is longer than this."""
SYNC_PS: Final = 5 * 10**12
"""``CPU_THROTTLE_DIRTY_SYNC_TIMESLICE_MS``."""
SLICE_PS: Final = 10 * 10**9
"""``CPU_THROTTLE_TIMESLICE_NS``: how long a throttled vCPU runs between two sleeps."""
HIGH_PERIODS: Final = 2


def asleep_ps(percent: int) -> int:
    """How long a vCPU sleeps after each slice, in picoseconds; ``percent`` is 1 to 99."""
    return SLICE_PS * percent // (100 - percent)


class AutoConverge:
    """The rule of one migration; `percent` is the throttle, 0 before the first step."""

    def __init__(self, migration: settings.Precopy) -> None:
        self._initial = _percent(migration.cpu_throttle_initial_ratio)
        self._increment = _percent(migration.cpu_throttle_increment_ratio)
        self._most = _percent(migration.cpu_throttle_most_ratio)
        self._trigger = _percent(migration.throttle_trigger_ratio)
        self._tailslow = migration.cpu_throttle_tailslow
        self._period_began_ps = 0
        self._sent_bytes = 0
        self._dirty_bytes = 0
        self._high_periods = 0
        self._tick_ps = 0
        self._syncs_at_tick = 0
        self.percent = 0

    def start(self, now_ps: int, sent_bytes: int) -> None:
        """The log begins: the first period, and the first time until the timer's tick."""
        self._tick_ps = now_ps + SYNC_PS
        self._begin_period(now_ps, sent_bytes)

    def wants_sync(self, now_ps: int, syncs: int) -> bool:
        """Whether the timer asks for a sync now: none has come since its last tick, nor is this the first round.

        ``syncs`` are those of the log so far, the one with which it began included.
        """
        if now_ps < self._tick_ps:
            return False
        wanted = 1 < syncs == self._syncs_at_tick
        self._tick_ps = now_ps + SYNC_PS
        self._syncs_at_tick = syncs + wanted
        return wanted

    def _begin_period(self, now_ps: int, sent_bytes: int) -> None:
        self._period_began_ps, self._sent_bytes = now_ps, sent_bytes

    def after_sync(self, now_ps: int, dirty_bytes: int, sent_bytes: int) -> bool:
        """A sync found so many bytes newly dirty, and so many were sent by now; whether the throttle was raised."""
        self._dirty_bytes += dirty_bytes
        if now_ps <= self._period_began_ps + PERIOD_PS:
            return False
        threshold_bytes = (sent_bytes - self._sent_bytes) * self._trigger // 100
        raised = self._is_too_fast(threshold_bytes)
        if raised:
            self.percent = self._next_percent(threshold_bytes)
        self._dirty_bytes = 0
        self._begin_period(now_ps, sent_bytes)
        return raised

    def _is_too_fast(self, threshold_bytes: int) -> bool:
        if self._dirty_bytes <= threshold_bytes:
            return False
        self._high_periods += 1
        if self._high_periods < HIGH_PERIODS:
            return False
        self._high_periods = 0
        return True

    def _next_percent(self, threshold_bytes: int) -> int:
        if not self.percent:
            return self._initial
        step = self._increment
        if self._tailslow:
            runs = 100 - self.percent
            enough = int(runs * (threshold_bytes / self._dirty_bytes))
            step = min(runs - enough, step)
        return min(self.percent + step, self._most)


def _percent(ratio: float) -> int:
    """QEMU's parameters are whole percents."""
    return round(100 * ratio)
