"""The source's side of the stream: which pages are pending, and sending them at the line's speed.

Pages are the experiment's own, above the testbed's 2 MiB; what is sent is what a page holds at that instant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.precopy import Sync
from vfbench.testbeds.kvm.migrate.dirty_pages import OWN_PAGES, Pages, harvest, start_log
from vfbench.testbeds.kvm.migrate.stream import MOST_PAGES

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.host.endpoint import Endpoint
    from vfbench.testbeds.kvm.host.timeline import Timeline
    from vfbench.testbeds.kvm.migrate.stream import Stream

STREAM_PAGE_BYTES = PAGE_BYTES + 8
LONGEST_BATCH_PS = 5 * 10**9


class KvmSender:
    """`vfbench.migration.precopy.Sender` over a real dirty log and a real connection, on the wall clock.

    The connection is kept to the speed of the experiment's line; where it is slower itself, that is the line's.
    """

    def __init__(self, endpoint: Endpoint, stream: Callable[[], Stream], timeline: Timeline) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._timeline = timeline
        self._page_ps = STREAM_PAGE_BYTES * 8e12 / endpoint.experiment.migration.line_rate_bps
        self._memory = endpoint.vm.memory.bytes.reshape(-1, PAGE_BYTES)
        self._pending = np.zeros(len(self._memory), np.bool_)
        self._sent_before = np.zeros(len(self._memory), np.bool_)
        self._queue: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._cursor = 0
        self._unwritten_seen = 0
        self.skips_mapped = False
        self.mapped_unwritten_pages = 0
        """Pages that were or are mapped for the device to write, and that it did not write."""
        self.sent_pages = 0
        self.resent_pages = 0
        self.zero_pages = None
        """Every page goes in full."""

    @property
    def now_ps(self) -> int:
        return self._timeline.now_ps

    @property
    def sent_bytes(self) -> int:
        return self.sent_pages * STREAM_PAGE_BYTES

    @property
    def resent_bytes(self) -> int:
        return self.resent_pages * STREAM_PAGE_BYTES

    @property
    def pending_bytes(self) -> int:
        return int(np.count_nonzero(self._pending)) * PAGE_BYTES

    @property
    def held_back_pages(self) -> int:
        """Pages known to be mapped for the device, where the strategy wants them to wait."""
        return int(np.count_nonzero(self._endpoint.mapped)) if self.skips_mapped else 0

    def start_log(self) -> None:
        start_log(self._endpoint)
        self._pending[OWN_PAGES:] = True

    def stop_log(self) -> None:
        """The migration is over, one way or the other."""
        self._endpoint.vm.set_dirty_logging(False)

    def sync_log(self) -> Sync:
        return self._sync(last=False)

    def _sync(self, *, last: bool) -> Sync:
        """KVM's log, and beside it what vhost logged and what the strategy's own dirty sources found."""
        began_ps = self.now_ps
        found = harvest(self._endpoint)
        dirty = self._with_sources(found.by_cpu | found.by_host, last)
        dirty[:OWN_PAGES] = False
        self._pending |= dirty
        self._queue = np.empty(0, np.int64)
        unwritten = int(self._endpoint.host.unwritten_unmaps) - self._unwritten_seen
        self._unwritten_seen += unwritten
        self.mapped_unwritten_pages += unwritten
        return Sync(
            int(np.count_nonzero(dirty)),
            int(np.count_nonzero(found.by_cpu)),
            int(np.count_nonzero(dirty & found.by_device)),
            unwritten,
            self.held_back_pages,
            self.now_ps - began_ps,
        )

    def final_sync(self) -> None:
        self._sync(last=True)
        mapped = self._endpoint.mapped.astype(np.bool_)
        self.mapped_unwritten_pages += int(np.count_nonzero(mapped & (self._endpoint.mapped_written == 0)))
        self._pending[:OWN_PAGES] = False
        self.skips_mapped = False

    def _with_sources(self, dirty: Pages, last: bool) -> Pages:
        found = self._endpoint.sources.sync(last)
        if found.everything:
            return np.ones_like(dirty)
        return dirty if found.dirty is None else dirty | found.dirty

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        last = sys.maxsize if most_bytes is None else self.sent_pages - (-most_bytes // STREAM_PAGE_BYTES)
        line_free_ps = float(self.now_ps)
        while self.now_ps < until_ps and self.sent_pages < last:
            pages = self._next_pages(min(last - self.sent_pages, self._batch_pages(until_ps)))
            if len(pages) == 0:
                return False
            self._send(pages)
            # By the line's own time: what a late wake-up lost is made up for before `until_ps`.
            line_free_ps += len(pages) * self._page_ps
            self._timeline.sleep_until(int(line_free_ps))
        return True

    def send_all(self) -> None:
        """Whatever is pending, with no limit but the line."""
        while self.send_until(self.now_ps + 10**12):
            pass

    def wait_until(self, until_ps: int) -> None:
        self._timeline.sleep_until(until_ps)

    def _batch_pages(self, until_ps: int) -> int:
        """How many pages go at once: as many as the line takes before anybody looks at the clock."""
        room_ps = min(until_ps - self.now_ps, LONGEST_BATCH_PS)
        return max(1, min(MOST_PAGES, int(room_ps / self._page_ps)))

    def _next_pages(self, most: int) -> npt.NDArray[np.int64]:
        """The next pages that may go now, in address order from the last one sent, round the end; none held back."""
        while True:
            if len(self._queue) == 0:
                sendable = np.flatnonzero(self._sendable(np.arange(len(self._pending))))
                self._queue = np.roll(sendable, -int(np.searchsorted(sendable, self._cursor)))
                if len(self._queue) == 0:
                    return self._queue
            pages, self._queue = self._queue[:most], self._queue[most:]
            pages = pages[self._sendable(pages)]
            if len(pages):
                return pages

    def _sendable(self, pages: npt.NDArray[np.int64]) -> Pages:
        pending: Pages = self._pending[pages]
        return pending & (self._endpoint.mapped[pages] == 0) if self.skips_mapped else pending

    def _send(self, pages: npt.NDArray[np.int64]) -> None:
        self._pending[pages] = False
        self._stream().send_pages(self._memory, pages)
        self.sent_pages += len(pages)
        self.resent_pages += int(np.count_nonzero(self._sent_before[pages]))
        self._sent_before[pages] = True
        self._cursor = int(pages[-1]) + 1
