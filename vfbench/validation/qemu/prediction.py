"""What the model says of a case: the pre-copy rule of every run here, over a guest of constant dirty rate.

The rule is `vfbench.migration.precopy.Precopy` itself. Beside it stand only the guest, whose stores are those that
its boot sector makes, and what QEMU puts on the wire for a page (QEMU, migration/ram.c): eight bytes and the page,
or, for a page of zeros, eight bytes and one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.migration.auto_converge import AutoConverge
from vfbench.migration.channels import CHANNEL_BYTES_A_PAGE, ZERO_PAGE_BYTES
from vfbench.migration.precopy import NotConverged, Precopy, Sync, window_share_bytes
from vfbench.validation.qemu.account import HEADER_BYTES, Account, Case, Host, Stores
from vfbench.validation.qemu.guest import FILLED_FROM, OWN_PAGE

FIRST_PAGE: Final = FILLED_FROM >> PAGE_SHIFT
SYNCS_BESIDES: Final = 1
"""QEMU counts the sync when it begins, and the one after the stop; the rule counts neither."""
_PS_PER_S: Final = 10**12


class ConstantGuest:
    """A `Sender` over a guest whose dirty rate doesn't change, on a line that is free at all times."""

    def __init__(self, case: Case, stores: Stores, host: Host, cancelled_ms: float) -> None:
        self._case = case
        self._stores = stores
        self._cancelled_ps = round(cancelled_ms * 10**9)
        self._line_ps = _PS_PER_S / host.line_bytes_per_s
        self._stopped_ps = _PS_PER_S / host.stopped_bytes_per_s
        self._late_ps = round(host.window_late_ms * 10**9)
        self._buffer_pages = 1 if case.channels else host.buffer_pages
        self._page_bytes = _page_bytes(case, host)
        self._pending = np.zeros(host.pages, dtype=np.bool_)
        self._sent_before = np.zeros(host.pages, dtype=np.bool_)
        self._logged = stores.before
        self._cursor = 0
        self.now_ps = 0
        self.sent_bytes = 0
        self.resent_bytes = 0
        self.sent_pages = 0

    @property
    def pending_bytes(self) -> int:
        return int(np.count_nonzero(self._pending)) * PAGE_BYTES

    def start_log(self) -> None:
        self._pending[:] = True

    def sync_log(self) -> Sync:
        dirty = np.zeros_like(self._pending)
        made = self._stores.before + int(self._stores.per_s * self.now_ps / _PS_PER_S)
        if made > self._logged:
            dirty[FIRST_PAGE + self._case.program.pages(self._logged, made - self._logged)] = True
        dirty[OWN_PAGE] = True
        self._logged = made
        self._pending |= dirty
        count = int(np.count_nonzero(dirty))
        return Sync(count, count, 0, 0, 0, 0)

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        self._check_time()
        room_bytes = (until_ps - self.now_ps) / self._line_ps
        if most_bytes is not None:
            room_bytes = min(room_bytes, most_bytes)
        pages = self._next_pages()
        ends = np.cumsum(self._page_bytes[pages])
        # A page that begins within the room is sent whole.
        count = int(np.searchsorted(ends, room_bytes)) + 1
        count = min(len(pages), -(-count // self._buffer_pages) * self._buffer_pages)
        self._send(pages[:count])
        return count < len(pages)

    def wait_until(self, until_ps: int) -> None:
        self.now_ps = max(self.now_ps, until_ps + self._late_ps)
        self._check_time()

    def send_rest(self) -> None:
        """After the stop: what the last sync finds goes without a limit."""
        self.sync_log()
        self._line_ps = self._stopped_ps
        self._send(self._next_pages())

    def _next_pages(self) -> npt.NDArray[np.int64]:
        """What is pending, in address order from where sending stopped, round the end."""
        pending = np.flatnonzero(self._pending)
        return np.roll(pending, -int(np.searchsorted(pending, self._cursor)))

    def _send(self, pages: npt.NDArray[np.int64]) -> None:
        if len(pages) == 0:
            return
        sizes = self._page_bytes[pages]
        self._pending[pages] = False
        self.resent_bytes += int(sizes[self._sent_before[pages]].sum())
        self._sent_before[pages] = True
        self.sent_pages += len(pages)
        self.sent_bytes += int(sizes.sum())
        self.now_ps += round(int(sizes.sum()) * self._line_ps)
        self._cursor = int(pages[-1]) + 1

    def _check_time(self) -> None:
        if self.now_ps >= self._cancelled_ps:
            raise NotConverged(f"not within {self._cancelled_ps / 1e9:g} ms")


def predict(case: Case, stores: Stores, host: Host, cancelled_ms: float) -> Account:
    """The account of a case as the model gives it; cancelled at that time unless it has converged by then."""
    guest = ConstantGuest(case, stores, host, cancelled_ms)
    window_bytes = window_share_bytes(8 * case.bandwidth_bytes_per_s)
    if case.channels:
        window_bytes += round(host.channels_ahead_bytes.get(case.channels, 0))
    converge = AutoConverge(case.settings) if case.auto_converge else None
    precopy = Precopy(
        guest,
        case.downtime_limit_ms * 10**6,
        max_rounds=10**6,
        window_bytes=window_bytes,
        converge=converge,
    )
    try:
        precopy.run()
    except NotConverged:
        syncs, throttle = SYNCS_BESIDES + len(precopy.rounds), _throttle_percent(converge)
        return Account(False, syncs, guest.sent_bytes, guest.now_ps / 1e9, None, throttle)
    stopped_ps = guest.now_ps
    guest.send_rest()
    return Account(
        converged=True,
        syncs=SYNCS_BESIDES + len(precopy.rounds) + 1,
        sent_bytes=guest.sent_bytes,
        total_ms=guest.now_ps / 1e9,
        downtime_ms=(guest.now_ps - stopped_ps) / 1e9,
        throttle_percent=_throttle_percent(converge),
    )


def _throttle_percent(converge: AutoConverge | None) -> int | None:
    return None if converge is None else converge.percent


def _page_bytes(case: Case, host: Host) -> npt.NDArray[np.int64]:
    """What each page takes in the stream.

    The filled pages stand where the program put them; the few others that hold something (the BIOS's) are taken
    to be the first and the last of the RAM, which changes no sum.
    """
    full = PAGE_BYTES + (round(CHANNEL_BYTES_A_PAGE) if case.channels else HEADER_BYTES)
    sizes = np.full(host.pages, _zero_page_bytes(case, full), dtype=np.int64)
    filled = case.program.filled_pages
    sizes[FIRST_PAGE : FIRST_PAGE + filled] = full
    sizes[OWN_PAGE] = full
    others = max(0, host.nonzero_pages - filled - 1)
    free = np.flatnonzero(sizes != full)
    sizes[free[len(free) - min(others, len(free)) :]] = full
    return sizes


def _zero_page_bytes(case: Case, full_bytes: int) -> int:
    """Sent in full, as an offset of a packet (and its share of the header), or as a header and a byte of the stream."""
    if case.zero_pages == "none":
        return full_bytes
    by_channel = case.channels and case.zero_pages in ("", "multifd")
    return round(CHANNEL_BYTES_A_PAGE) if by_channel else ZERO_PAGE_BYTES
