"""A capture's times: the origin, packets without a time, and packets whose clock was not set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vfbench.captures.defects import Defect

TIMELESS = -(2**63)
"""Stands for a time that the file does not give."""
LARGEST_NS = 2**62
"""Times are believed to be within this of 1970, 146 years: the difference of any two fits 64 bits."""
MAX_BACKWARDS_NS = 100_000
"""How far behind the latest before it a packet may be: processors that record at once leave them so."""
MAX_SILENCE_NS = 366 * 86_400 * 10**9
"""No capture is silent for longer; what lies beyond was stamped by a clock that was not set."""
_MOST_NAMED = 20
_MOST_SELECTED = 500
"""editcap takes up to 512 selections."""


def since_the_first(time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times in the file's order, counted from the earliest; Defect if they are not those of one capture.

    A packet without a time has that of the packet before it; before the first known time, that. Without any, all are 0.
    """
    known = time_ns != TIMELESS
    if not known.any():
        return np.zeros(len(time_ns), dtype=np.int64)
    _refuse_outliers(time_ns, known)
    latest_known = np.maximum.accumulate(np.where(known, np.arange(len(time_ns)), -1))
    latest_known[latest_known < 0] = int(np.argmax(known))
    filled = time_ns[latest_known]
    _refuse_backwards(filled)
    return filled - filled.min()


def _refuse_backwards(time_ns: NDArray[np.int64]) -> None:
    behind_ns = np.maximum.accumulate(time_ns) - time_ns
    worst = np.flatnonzero(behind_ns > MAX_BACKWARDS_NS)
    if len(worst):
        raise Defect(
            f"packet {worst[0] + 1}: its time is {behind_ns[worst[0]]} ns before that of a packet before it, "
            f"more than {MAX_BACKWARDS_NS}",
            "`reordercap IN OUT` sorts a capture",
        )


def _refuse_outliers(time_ns: NDArray[np.int64], known: NDArray[np.bool_]) -> None:
    """The capture is the largest group of packets without a longer silence in it, the first if two are as large."""
    ordered = np.sort(time_ns[known])
    breaks = np.flatnonzero(np.diff(ordered) > MAX_SILENCE_NS)
    if not len(breaks):
        return
    bounds = [0, *(int(each) + 1 for each in breaks), len(ordered)]
    begin, end = max(pairwise(bounds), key=lambda group: group[1] - group[0])
    first_ns, last_ns = int(ordered[begin]), int(ordered[end - 1])
    odd = np.flatnonzero(known & ((time_ns < first_ns) | (time_ns > last_ns))) + 1
    at, odd_ns = int(odd[0]), int(time_ns[odd[0] - 1])
    more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
    distance = f"{abs(odd_ns - first_ns) // 10**9} s {'before' if odd_ns < first_ns else 'after'}"
    raise Defect(
        f"packet {at}: its time is {distance} the first of the other {len(time_ns) - len(odd)}{more}: "
        f"{_date(odd_ns)}, not {_date(first_ns)}",
        _without(odd, first_ns, last_ns),
    )


def _without(odd: NDArray[np.int64], first_ns: int, last_ns: int) -> str:
    """How to leave the packets with these numbers out: by number, or by time if they are many."""
    splits = np.split(odd, np.flatnonzero(np.diff(odd) > 1) + 1)
    ranges = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in splits]
    if len(ranges) <= _MOST_NAMED:
        return f"`editcap IN OUT {' '.join(ranges)}` leaves {'it' if len(odd) == 1 else 'them'} out"
    return f"`TZ=UTC editcap -A '{_date(first_ns - 10**9)}' -B '{_date(last_ns + 2 * 10**9)}' IN OUT` keeps the others"


def _date(time_ns: int) -> str:
    if abs(time_ns) >= LARGEST_NS:
        return "1823 or before" if time_ns < 0 else "2116 or after"
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 10**9):%Y-%m-%d %H:%M:%S}"
