"""The pre-copy rule over a sender that only counts."""

from __future__ import annotations

import pytest

from vfbench.migration.precopy import WINDOW_PS, NotConverged, Precopy, Sync

PAGE_BYTES = 4096
BYTE_PS = 100_000
MS_PS = 10**9


class Counting:
    """10 MB/s; each sync finds as many pages dirty as the list says next, the last for ever."""

    def __init__(self, pages: int, dirty: list[int]) -> None:
        self._dirty = dirty
        self._pages = pages
        self.pending_bytes = 0
        self.sent_bytes = 0
        self.resent_bytes = 0
        self.now_ps = 0
        self.calls: list[tuple[int, int]] = []

    @property
    def sent_pages(self) -> int:
        return self.sent_bytes // PAGE_BYTES

    def start_log(self) -> None:
        self.pending_bytes = self._pages * PAGE_BYTES

    def sync_log(self) -> Sync:
        dirty = self._dirty.pop(0) if len(self._dirty) > 1 else self._dirty[0]
        self.pending_bytes += dirty * PAGE_BYTES
        return Sync(dirty, dirty, 0, 0, 0, 0)

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        room = (until_ps - self.now_ps) // BYTE_PS
        count = min(self.pending_bytes, room if most_bytes is None else min(room, most_bytes))
        self.calls.append((self.now_ps, count))
        self.pending_bytes -= count
        self.sent_bytes += count
        self.now_ps += count * BYTE_PS
        return self.pending_bytes > 0

    def wait_until(self, until_ps: int) -> None:
        self.now_ps = max(self.now_ps, until_ps)


def test_a_guest_that_dirties_nothing_needs_one_round():
    precopy = Precopy(Counting(1000, [0]), 10 * 10**6, max_rounds=5)
    precopy.run()
    assert [each.sync.dirty_pages for each in precopy.rounds] == [0]


def test_a_round_that_no_sync_ended_is_not_counted_when_precopy_gives_up():
    precopy = Precopy(Counting(1000, [1000]), 10 * 10**6, max_rounds=5)
    with pytest.raises(NotConverged, match="after 5 rounds"):
        precopy.run()
    assert len(precopy.rounds) == 5
    assert all(each.sync is not None for each in precopy.rounds)


def test_a_source_with_a_share_per_window_sends_it_at_once_and_sleeps_until_the_window_ends():
    sender = Counting(1000, [0])
    Precopy(sender, 1, max_rounds=5, window_bytes=100 * PAGE_BYTES).run()
    starts = [at_ps for at_ps, count in sender.calls if count]
    assert starts == [i * WINDOW_PS for i in range(10)]
    assert sender.calls[0][1] == 100 * PAGE_BYTES


def test_what_is_left_is_looked_at_only_when_the_source_wakes():
    sender = Counting(1000, [50, 0])
    precopy = Precopy(sender, 30 * 10**6, max_rounds=5, window_bytes=100 * PAGE_BYTES)
    precopy.run()
    # 30 pages fit the limit. In the last window nothing is left before the share is used up: no need to sleep.
    assert [each.end_ps // MS_PS for each in precopy.rounds] == [1000, 1020]


def test_pages_that_fit_the_downtime_limit_are_left_for_the_stop():
    sender = Counting(1000, [20])
    precopy = Precopy(sender, 30 * 10**6, max_rounds=5, window_bytes=100 * PAGE_BYTES)
    precopy.run()
    assert precopy.converged
    assert sender.pending_bytes == 20 * PAGE_BYTES
