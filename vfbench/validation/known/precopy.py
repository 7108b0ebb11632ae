"""Pre-copy at a constant dirty rate: every round sends what the one before it left, so rounds are a geometric series.

With N pages, t to send one and r pages dirtied per second, never the same twice within a round, round n sends
N rho^n pages, rho = r t; all rounds together take N t / (1 - rho), and the first that finds less than one page to
send is the last. With rho over 1 there is no last one.

With H of the N pages held back the series is that of N - H pages. QEMU's ``ram_save_iterate`` returns at once when it
finds nothing to send, so no time is added: all rounds together take (N - H) t / (1 - rho). They end in a stop if H
pages and the last round's fit the downtime limit, and never if not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from vfbench.migration.precopy import NotConverged, Precopy, Sync
from vfbench.validation.tables import Row

PAGES: Final = 1 << 20
PAGE_BYTES: Final = 4096
BYTE_PS: Final = 800
"""10 Gb/s."""
SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.9)
ABOVE: Final = (1.0, 1.5)
ONE_PAGE_NS: Final = 3277
"""A downtime limit that a page fits, and nothing more."""
HELD_PAGES: Final = 512
"""A receive ring of the 82599."""
HELD_SHARES: Final = (0.25, 0.5)
HELD_ROUNDS: Final = 30
_SECOND_PS: Final = 10**12


class Fluid:
    """A `Sender` whose guest dirties fresh memory, `share` bytes of it for each that is sent."""

    def __init__(self, share: float, held_bytes: int = 0) -> None:
        self._share = share
        self._held_bytes = held_bytes
        self._synced_ps = 0
        self.pending_bytes = 0
        self.sent_bytes = 0

    @property
    def now_ps(self) -> int:
        return self.sent_bytes * BYTE_PS

    @property
    def sent_pages(self) -> int:
        return self.sent_bytes // PAGE_BYTES

    @property
    def resent_bytes(self) -> int:
        return max(0, self.sent_bytes - PAGES * PAGE_BYTES)

    def start_log(self) -> None:
        self.pending_bytes = PAGES * PAGE_BYTES

    def sync_log(self) -> Sync:
        fresh = round(self._share * (self.now_ps - self._synced_ps) / BYTE_PS)
        dirty = min(PAGES * PAGE_BYTES, fresh)
        self._synced_ps = self.now_ps
        self.pending_bytes += dirty
        return Sync(dirty // PAGE_BYTES, dirty // PAGE_BYTES, 0, 0, 0, 0)

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        """All that is left; the line, not a rate, is this sender's limit."""
        room = max(1, (until_ps - self.now_ps) // BYTE_PS)
        may_go = self.pending_bytes - self._held_bytes
        count = min(may_go, room if most_bytes is None else min(room, most_bytes))
        self.pending_bytes -= count
        self.sent_bytes += count
        return count < may_go

    def wait_until(self, until_ps: int) -> None:
        """Never asked for: no window has a share, and the first has passed before only what is held back is left."""
        raise NotImplementedError


def carried_out(
    share: float, limit_ns: int = ONE_PAGE_NS, max_rounds: int = 1000, held_bytes: int = 0
) -> Precopy:
    """The rule over such a guest; `converged` says how it ended."""
    precopy = Precopy(Fluid(share, held_bytes), limit_ns, max_rounds)
    try:
        precopy.run()
    except NotConverged:
        assert not precopy.converged  # noqa: S101 # the rule contradicts itself
    return precopy


def rounds_expected(share: float) -> int:
    """How many rounds send something: the first is the whole memory."""
    return 1 if share == 0 else 1 + math.floor(math.log(1 / PAGES) / math.log(share))


def series_rows() -> Iterator[Row]:
    """Rounds and their length, below the bandwidth."""
    for share in SHARES:
        case = f"dirty rate {share:g} of the bandwidth"
        precopy = carried_out(share)
        last_ps = precopy.rounds[-1].end_ps
        yield Row(case, "converges", "", precopy.converged, True, "same", source="rho < 1")
        yield Row(
            case,
            "rounds",
            "",
            len(precopy.rounds),
            rounds_expected(share),
            "absolute",
            1,
            source="1 + floor(log(1 / N) / log rho)",
        )
        closed_s = PAGES * PAGE_BYTES * BYTE_PS / (1 - share) / _SECOND_PS
        yield Row(
            case,
            "time of all rounds",
            "s",
            last_ps / _SECOND_PS,
            closed_s,
            "relative",
            0.001,
            source="N t / (1 - rho)",
        )


def held_back_rows() -> Iterator[Row]:
    """Below the bandwidth and with pages held back: whether what is held back fits the limit is all that counts."""
    held_bytes = HELD_PAGES * PAGE_BYTES
    held_ns = held_bytes * BYTE_PS // 1000
    for share in HELD_SHARES:
        case = f"dirty rate {share:g} of the bandwidth, {HELD_PAGES} pages held back"
        for fits, limit_ns in ((True, round(1.05 * held_ns)), (False, round(0.95 * held_ns))):
            precopy = carried_out(share, limit_ns, HELD_ROUNDS, held_bytes)
            told = "over" if fits else "under"
            yield Row(
                f"{case}, limit 5 % {told} their time",
                f"converges in {HELD_ROUNDS} rounds",
                "",
                precopy.converged,
                fits,
                "same",
                source="H t < limit",
            )
            if fits:
                left_bytes = precopy.rounds[-1].pending_bytes - held_bytes
                closed_bytes = (PAGES * PAGE_BYTES - held_bytes - left_bytes) / (1 - share)
                yield Row(
                    case,
                    "time of all rounds",
                    "s",
                    precopy.rounds[-1].end_ps / _SECOND_PS,
                    closed_bytes * BYTE_PS / _SECOND_PS,
                    "relative",
                    0.001,
                    source="(N - H - left) t / (1 - rho)",
                )


def divergence_rows() -> Iterator[Row]:
    """At the bandwidth and above it, pre-copy does not end."""
    for share in ABOVE:
        case = f"dirty rate {share:g} of the bandwidth"
        precopy = carried_out(share, max_rounds=100)
        yield Row(case, "converges in 100 rounds", "", precopy.converged, False, "same", source="rho >= 1")
