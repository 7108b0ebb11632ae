"""The grid: dirty rates below and above the bandwidth, short and long downtime limits, three kinds of guest."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from vfbench.units import format_quantity
from vfbench.validation.qemu.account import Case
from vfbench.validation.qemu.guest import PIT_HZ, Pattern, Program

FILLED_PAGES: Final = 12288
TICK_DIVISOR: Final = 4773
"""250 ticks a second."""
LIMIT_ROUNDS: Final = 4
"""A migration is cancelled after the time that the filled pages would take as many times."""
AUTO_CONVERGE_MS: Final = 18_000
"""Four steps of the throttle: every second of the periods that follow one another raises it."""
DOWNTIME_LIMITS_MS: Final = (30, 300)
_PAGE_IN_STREAM_BYTES: Final = 4104

_GUESTS: Final[tuple[tuple[Pattern, int, int, tuple[float, ...]], ...]] = (
    # pattern, working set in pages, bandwidth in MiB/s, dirty rates as shares of the bandwidth
    ("sequential", 8192, 32, (0, 0.25, 0.5, 0.75, 1.5)),
    ("random", 4096, 64, (0.5, 1.5)),
    ("random", 512, 32, (0.5, 2)),
)


def cases() -> list[Case]:
    """Every case, in the order of the table."""
    return grid() + channels()


def grid() -> list[Case]:
    """One stream, over dirty rates, bandwidths, downtime limits and guests."""
    return [
        _case(pattern, working_set, mib_per_s << 20, share, downtime_limit_ms)
        for pattern, working_set, mib_per_s, shares in _GUESTS
        for share in shares
        for downtime_limit_ms in DOWNTIME_LIMITS_MS
    ]


def channels() -> list[Case]:
    """multifd, pages of zeros found by the one or the other or sent in full, and auto-converge.

    Of the idle guest's 64 MiB a quarter are zeros. The fast guest's rounds of 2 s are a period of auto-converge each.
    """
    idle = _case("sequential", 8192, 32 << 20, 0, 300)
    busy = _case("sequential", 8192, 32 << 20, 0.5, 300)
    fast = _case("sequential", 8192, 16 << 20, 3, 30)
    return [
        _with(busy, "multifd, 4 channels", channels=4, zero_pages="multifd"),
        _with(busy, "multifd, 1 channel", channels=1, zero_pages="multifd"),
        _with(
            idle, "multifd, 4 channels, zeros found by the migration thread", channels=4, zero_pages="legacy"
        ),
        _with(idle, "multifd, 4 channels, zeros found by them", channels=4, zero_pages="multifd"),
        _with(idle, "zeros sent in full", zero_pages="none"),
        _with(fast, "auto-converge", auto_converge=True, limit_ms=AUTO_CONVERGE_MS),
        _with(busy, "auto-converge, not needed", auto_converge=True),
    ]


def _with(case: Case, what: str, **changes: Any) -> Case:
    least = (9, 0) if changes.get("zero_pages") else (4, 0)
    return dataclasses.replace(case, name=f"{what}: {case.name}", least_release=least, **changes)


def program(pattern: Pattern, working_set_pages: int, dirty_rate: float) -> Program:
    """The guest whose rate comes nearest to `dirty_rate` pages per second."""
    per_tick = round(dirty_rate * TICK_DIVISOR / PIT_HZ)
    return Program(pattern, working_set_pages, per_tick, TICK_DIVISOR, FILLED_PAGES)


def _case(
    pattern: Pattern, working_set: int, bandwidth_bytes_per_s: int, share: float, downtime_limit_ms: int
) -> Case:
    bandwidth = format_quantity(8 * bandwidth_bytes_per_s, "bps")
    name = (
        f"{pattern}, {working_set} pages at {share:g} of {bandwidth}, downtime limit {downtime_limit_ms} ms"
    )
    guest = program(pattern, working_set, share * bandwidth_bytes_per_s / _PAGE_IN_STREAM_BYTES)
    limit_ms = round(LIMIT_ROUNDS * FILLED_PAGES * _PAGE_IN_STREAM_BYTES * 1000 / bandwidth_bytes_per_s)
    return Case(name, guest, bandwidth_bytes_per_s, downtime_limit_ms, limit_ms)
