"""Pages that are held back: the rule beside QEMU's own loop, written out in QEMU's order and in its milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from vfbench.migration.precopy import NotConverged, Precopy, Sync

PAGE_BYTES = 4096
MS_PS = 10**9
PAGE_PS = 4_000_000
"""8.2 Gb/s, a page every 4 us."""
BUFFER_DELAY_MS = 100
MAX_WAIT_MS = 50
LONGEST_MS = 3000


@dataclass
class Guest:
    """Fresh pages turn dirty at a constant rate; `held` pages are dirty from the start and may not go."""

    pages: int
    held: int
    dirty_per_ms: int
    sync_us: int = 200
    now_ps: int = 0
    sent_pages: int = 0
    may_go: int = 0
    synced_ps: int = 0

    def start(self) -> None:
        self.may_go = self.pages

    def sync(self) -> int:
        found = self.dirty_per_ms * (self.now_ps - self.synced_ps) // MS_PS
        self.synced_ps = self.now_ps
        self.may_go += found
        self.now_ps += self.sync_us * 10**6
        return found

    def send_page(self) -> bool:
        if self.may_go == 0:
            return False
        self.may_go -= 1
        self.sent_pages += 1
        self.now_ps += PAGE_PS
        return True

    @property
    def dirty_bytes(self) -> int:
        return (self.may_go + self.held) * PAGE_BYTES


@dataclass
class Qemu:
    """migration/migration.c and migration/ram.c, but that an iteration that finds no page makes the next sync."""

    guest: Guest
    downtime_limit_ms: float
    threshold: float = 0.0
    window_start_ps: int = 0
    window_start_pages: int = 0
    found_no_page: bool = False
    syncs: list[int] = field(default_factory=list)

    def iteration_run(self) -> bool:
        """Whether to complete."""
        if self.guest.dirty_bytes < self.threshold or self.found_no_page:
            self.guest.sync()
            self.syncs.append(self.guest.now_ps)
            self.found_no_page = False
        pending = self.guest.dirty_bytes
        if pending == 0 or pending < self.threshold:
            return True
        self.ram_save_iterate()
        return False

    def ram_save_iterate(self) -> None:
        start_ps = self.guest.now_ps
        while self.guest.now_ps - start_ps < MAX_WAIT_MS * MS_PS:
            if not self.guest.send_page():
                # Spins while no window has been measured: nothing is below a threshold of nothing.
                self.found_no_page = self.threshold > 0
                return

    def update_counters(self) -> None:
        spent_ms = (self.guest.now_ps - self.window_start_ps) / MS_PS
        if spent_ms < BUFFER_DELAY_MS:
            return
        sent_bytes = (self.guest.sent_pages - self.window_start_pages) * PAGE_BYTES
        self.threshold = int(sent_bytes / spent_ms * self.downtime_limit_ms)
        self.window_start_ps, self.window_start_pages = self.guest.now_ps, self.guest.sent_pages

    def run(self, most_syncs: int) -> bool:
        self.guest.start()
        while len(self.syncs) < most_syncs:
            before_ps = self.guest.now_ps
            if self.iteration_run():
                return True
            if self.guest.now_ps == before_ps:
                self.guest.now_ps += 10**6  # a turn of the loop, a microsecond
            self.update_counters()
        return False


class Sender:
    """The same guest for the rule."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.slept_ps = 0

    now_ps = property(lambda self: self.guest.now_ps)
    sent_pages = property(lambda self: self.guest.sent_pages)
    sent_bytes = property(lambda self: self.guest.sent_pages * PAGE_BYTES)
    resent_bytes = 0
    pending_bytes = property(lambda self: self.guest.dirty_bytes)

    def start_log(self) -> None:
        self.guest.start()

    def sync_log(self) -> Sync:
        found = self.guest.sync()
        return Sync(found, found, 0, 0, self.guest.held, 0)

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        while self.guest.now_ps < until_ps:
            if not self.guest.send_page():
                return False
        return True

    def wait_until(self, until_ps: int) -> None:
        self.slept_ps += max(0, until_ps - self.guest.now_ps)
        self.guest.now_ps = max(self.guest.now_ps, until_ps)


CASES = [
    # pages, held, dirtied a ms, limit ms
    (65536, 512, 20, 30.0),
    (65536, 512, 200, 30.0),
    (65536, 512, 20, 3.0),
    (65536, 512, 100, 3.0),
    (65536, 512, 20, 1.0),
    (16384, 512, 20, 30.0),
    (16384, 512, 20, 3.0),
    (65536, 4096, 50, 10.0),
    (65536, 0, 100, 3.0),
]


@pytest.mark.parametrize(("pages", "held", "dirty_per_ms", "limit_ms"), CASES)
def test_rounds_and_bytes_are_those_of_qemus_loop(pages, held, dirty_per_ms, limit_ms):
    qemu = Qemu(Guest(pages, held, dirty_per_ms), limit_ms)
    completed = qemu.run(most_syncs=30)
    sender = Sender(Guest(pages, held, dirty_per_ms))
    precopy = Precopy(sender, round(limit_ms * 10**6), max_rounds=30)
    if completed:
        precopy.run()
    else:
        with pytest.raises(NotConverged):
            precopy.run()
    assert len(precopy.rounds) == len(qemu.syncs)
    assert sender.sent_pages == pytest.approx(qemu.guest.sent_pages, rel=0.01)
    assert sender.now_ps == pytest.approx(qemu.guest.now_ps, rel=0.01)


def test_nothing_sleeps_once_a_window_has_been_measured():
    sender = Sender(Guest(pages=65536, held=512, dirty_per_ms=20))
    with pytest.raises(NotConverged):
        Precopy(sender, 10**6, max_rounds=30).run()
    assert sender.slept_ps == 0


def test_rounds_with_pages_held_back_shrink_until_what_is_held_back_fits():
    sender = Sender(Guest(pages=65536, held=512, dirty_per_ms=100))
    precopy = Precopy(sender, 3 * 10**6, max_rounds=30)
    precopy.run()
    durations = [each.end_ps - each.start_ps for each in precopy.rounds]
    assert len(durations) > 2
    assert durations[2] < durations[1] < durations[0]
    assert precopy.bandwidth_bps > 0.9 * 8 * PAGE_BYTES * 10**12 / PAGE_PS


@pytest.mark.parametrize("most", [1, 5, 30])
def test_held_back_pages_make_no_round_more_than_asked_for(most):
    sender = Sender(Guest(pages=65536, held=4096, dirty_per_ms=20))
    precopy = Precopy(sender, 10**6, max_rounds=most)
    with pytest.raises(NotConverged, match=f"after {most} rounds"):
        precopy.run()
    assert len(precopy.rounds) == most
