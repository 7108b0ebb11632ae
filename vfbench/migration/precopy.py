"""Pre-copy as QEMU does it: when to sync, when to send, when to switch over, when to give up.

Source: QEMU, migration/migration.c (``migration_iteration_run``, ``migration_update_counters``) and
migration/ram.c (``ram_save_iterate``): the dirty log is synced when the pages left are estimated to fit into
``bandwidth x downtime_limit``; if they still do after the sync, the source switches over, otherwise it goes on.
Bandwidth is what was sent in a window of at least 100 ms, so nothing switches over before the first window unless
nothing is left at all. A source that is kept to a rate (``max-bandwidth``) sends a window's share as fast as the
line takes it, then sleeps to the window's end, and looks at what is left only when it wakes
(``migration_rate_limit``). After the stop it is kept to no rate.

Pages that a strategy holds back stay in QEMU's count of dirty pages (``migration_dirty_pages``), so they count as
pending, but ``ram_find_and_save_block`` finds none of them: ``ram_save_iterate`` returns at once, and
``migration_rate_limit`` does not sleep, for nothing was sent that a rate could limit. QEMU as it is would sync again
only below the threshold; here an iteration that finds nothing to send makes the next one sync, as an estimate of
zero does (``state_pending_estimate`` of VFIO leaves out what only the stop can carry, ``state_pending_exact`` has
it). Before the first window has passed there is no threshold to meet, and the loop turns without sending until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.auto_converge import AutoConverge

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfbench import settings

SHRINKS_TO = 4
WINDOW_PS = 100 * 10**9
"""``BUFFER_DELAY``: the least length of a bandwidth window."""
ITERATION_PS = 50 * 10**9
"""``MAX_WAIT``: ``ram_save_iterate`` returns after at most 50 ms."""


def window_share_bytes(bandwidth_bps: int) -> int:
    """What may be sent in one window (``XFER_LIMIT_RATIO``: a tenth of what may be sent in a second)."""
    return bandwidth_bps * WINDOW_PS // (8 * 10**12)


def expected_downtime_ms(dirty_bytes: int, bandwidth_bps: float) -> float:
    """What QEMU reports: bytes dirtied since the last sync over the bandwidth (``migration_update_counters``)."""
    return dirty_bytes * 8000 / bandwidth_bps


class NotConverged(Exception):
    """What is pending never came below the threshold within the rounds allowed."""


@dataclass(frozen=True)
class Sync:
    """What one sync of the dirty log found, in pages."""

    dirty_pages: int
    dirty_pages_cpu: int
    dirty_pages_dma: int
    mapped_unwritten_pages: int
    held_back_pages: int
    took_ps: int
    zero_pages: int | None = None
    """Of the pages sent since the last sync, those of zeros that went as headers; None where nobody looks for them."""


class Sender(Protocol):
    """The source's side of a migration stream, on either testbed; it sends at the line's speed."""

    @property
    def now_ps(self) -> int:
        """Its clock, in picoseconds."""

    @property
    def sent_bytes(self) -> int:
        """Bytes sent so far."""

    @property
    def resent_bytes(self) -> int:
        """Of those, bytes of pages that had been sent before."""

    @property
    def sent_pages(self) -> int:
        """Pages sent so far, the same page counted each time."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the pages known to be left, held-back ones included, and nothing for headers, as QEMU counts."""

    def start_log(self) -> None:
        """Everything is pending, and from now on stores are logged."""

    def sync_log(self) -> Sync:
        """Move what the log holds to what is pending, and clear the log."""

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        """Send pending pages up to ``until_ps``; False as soon as there is nothing that may be sent now.

        Given ``most_bytes``, return as soon as as many went; the last page is sent whole.
        """

    def wait_until(self, until_ps: int) -> None:
        """Let time pass without sending."""


@dataclass
class Round:
    """One round: from one sync of the dirty log to the next."""

    start_ps: int
    sent_pages: int = 0
    sent_bytes: int = 0
    resent_bytes: int = 0
    end_ps: int = 0
    sync: Sync | None = None
    pending_bytes: int = 0
    threshold_bytes: int = 0
    bandwidth_bps: float | None = None
    throttle_percent: int | None = None
    """How far the guest was slowed down in it; None without auto-converge."""


class Precopy:
    """One pre-copy phase; ``rounds`` holds those that a sync of the dirty log ended, however the phase ends.

    ``window_bytes`` is what the source may send in one window of 100 ms (`window_share_bytes` of QEMU's
    ``max-bandwidth``), at the line's speed and with a pause after it; None where the line is the only limit. With
    ``converge`` the guest is slowed down by ``throttle``, which takes the throttle in percent.
    """

    def __init__(
        self,
        sender: Sender,
        downtime_limit_ns: int,
        max_rounds: int,
        window_bytes: int | None = None,
        converge: AutoConverge | None = None,
        throttle: Callable[[int], None] = lambda _percent: None,
    ) -> None:
        self._sender = sender
        self._downtime_limit_ns = downtime_limit_ns
        self._max_rounds = max_rounds
        self._window_bytes = window_bytes
        self._converge, self._throttle = converge, throttle
        self._window_start_ps = 0
        self._window_sent_bytes = 0
        self._marks = (0, 0, 0)
        self.bandwidth_bps: float | None = None
        self.threshold_bytes = 0
        self.rounds: list[Round] = []
        self.converged = False
        self._nothing_may_go = False
        """Whether the last iteration left only pages that are held back; a sync may find others."""

    def run(self) -> None:
        """Send until the rest fits the downtime limit; NotConverged after ``max_rounds`` syncs."""
        self._sender.start_log()
        self._window_start_ps = self._sender.now_ps
        self._window_sent_bytes = self._sender.sent_bytes
        if self._converge is not None:
            self._converge.start(self._sender.now_ps, self._sender.sent_bytes)
        self._begin_round()
        try:
            self._send_rounds()
        finally:
            self.rounds.pop()  # no sync ended it
        self.converged = True

    def _send_rounds(self) -> None:
        while not self._may_switch_over():
            if len(self.rounds) > self._max_rounds:
                raise NotConverged(
                    f"{self._sender.pending_bytes} bytes pending after {self._max_rounds} rounds, "
                    f"{self.threshold_bytes} fit the downtime limit"
                )
            self._iterate()
            self._measure_bandwidth()
            if self._converge is not None and self._converge.wants_sync(
                self._sender.now_ps, len(self.rounds)
            ):
                self._sync()

    def shrink(self) -> None:
        """Further rounds as long as each can be expected to leave a quarter at most; what the last sync found is left.

        QEMU stops as soon as the rest fits the limit, however much less it could be. A round that leaves more than a
        quarter of what it sent is not worth it: so all of them together send again a third of the first one at most.
        What is expected is what the last round's rate of dirtying makes of the time that the line takes.
        """
        while len(self.rounds) < self._max_rounds and self._is_worth_a_round():
            self._begin_round()
            self._send_what_may_go()
            self._sync()
            self.rounds.pop()

    def _is_worth_a_round(self) -> bool:
        last = self.rounds[-1] if self.rounds else None
        if last is None or last.sync is None:
            return True
        if last.sent_pages == 0:
            return False
        # The line's speed is a page's share of a round that did nothing but send.
        fastest_ps = (last.end_ps - last.start_ps) / last.sent_pages
        pending_pages = self._sender.pending_bytes / PAGE_BYTES
        expected_pages = last.sync.dirty_pages / (last.end_ps - last.start_ps) * pending_pages * fastest_ps
        return SHRINKS_TO * expected_pages <= pending_pages

    def _send_what_may_go(self) -> None:
        more = True
        while more:
            window_end_ps = self._window_start_ps + WINDOW_PS
            until_ps = min(self._sender.now_ps + ITERATION_PS, window_end_ps)
            more = self._sender.send_until(until_ps, self._room_bytes())
            if self._room_bytes() == 0:
                self._sender.wait_until(window_end_ps)
            self._measure_bandwidth()

    def _may_switch_over(self) -> bool:
        """``migration_iteration_run``: sync once the estimate is low enough, then decide by what is truly left."""
        if self._sender.pending_bytes < self.threshold_bytes or self._nothing_may_go:
            self._sync()
        pending = self._sender.pending_bytes
        return pending == 0 or pending < self.threshold_bytes

    def _iterate(self) -> None:
        """``ram_save_iterate``, then ``migration_rate_limit``: sleep only when the window's share is used up."""
        window_end_ps = self._window_start_ps + WINDOW_PS
        until_ps = min(self._sender.now_ps + ITERATION_PS, window_end_ps)
        more = self._sender.send_until(until_ps, self._room_bytes())
        if self._room_bytes() == 0:
            self._sender.wait_until(window_end_ps)
        elif not more and self._sender.pending_bytes > 0:
            self._turn_without_sending(window_end_ps)

    def _turn_without_sending(self, window_end_ps: int) -> None:
        """Only pages that are held back are left: no time passes, unless no window has been measured yet."""
        if self.bandwidth_bps is None:
            self._sender.wait_until(window_end_ps)
        self._nothing_may_go = True

    def _room_bytes(self) -> int | None:
        """What may still be sent in this window; None where no window has a share."""
        if self._window_bytes is None:
            return None
        return max(0, self._window_bytes - self._sender.sent_bytes + self._window_sent_bytes)

    def _measure_bandwidth(self) -> None:
        now_ps = self._sender.now_ps
        if now_ps - self._window_start_ps < WINDOW_PS:
            return
        sent_bits = 8 * (self._sender.sent_bytes - self._window_sent_bytes)
        self.bandwidth_bps = sent_bits * 1e12 / (now_ps - self._window_start_ps)
        self.threshold_bytes = int(self.bandwidth_bps / 8 * self._downtime_limit_ns / 1e9)
        self._window_start_ps = now_ps
        self._window_sent_bytes = self._sender.sent_bytes

    def _begin_round(self) -> None:
        sender = self._sender
        self.rounds.append(Round(sender.now_ps))
        self._marks = (sender.sent_pages, sender.sent_bytes, sender.resent_bytes)

    def _sync(self) -> None:
        sender, current = self._sender, self.rounds[-1]
        self._nothing_may_go = False
        current.sent_pages = sender.sent_pages - self._marks[0]
        current.sent_bytes = sender.sent_bytes - self._marks[1]
        current.resent_bytes = sender.resent_bytes - self._marks[2]
        pending_bytes = sender.pending_bytes
        current.sync = sender.sync_log()
        if self._converge is not None:
            current.throttle_percent = self._converge.percent
            self._slow_down(self._converge, sender.pending_bytes - pending_bytes)
        current.end_ps = sender.now_ps
        current.pending_bytes = sender.pending_bytes
        current.threshold_bytes = self.threshold_bytes
        current.bandwidth_bps = self.bandwidth_bps
        self._begin_round()

    def _slow_down(self, converge: AutoConverge, newly_dirty_bytes: int) -> None:
        if converge.after_sync(self._sender.now_ps, newly_dirty_bytes, self._sender.sent_bytes):
            self._throttle(converge.percent)


def precopy_of(
    migration: settings.Precopy, sender: Sender, throttle: Callable[[int], None] = lambda _percent: None
) -> Precopy:
    """The pre-copy phase of an experiment, by its settings; ``throttle`` slows the guest down, if it is to be."""
    return Precopy(
        sender,
        migration.downtime_limit_ns,
        migration.max_rounds,
        window_share_bytes(migration.bandwidth_bps),
        AutoConverge(migration) if migration.auto_converge else None,
        throttle,
    )
