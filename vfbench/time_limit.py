"""A limit of wall time for whatever may not end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from vfbench.errors import UserError
from vfbench.units import parse_whole

DEFAULT = "10min"
DEFAULT_S = 600.0
LATE_S = 1.0
"""A run that reports its progress ends in good order; only one that doesn't is interrupted, so much later."""

Report = Callable[[float, str], None]


class OutOfTime(BaseException):
    """The time is over. No Exception: a strategy that catches those must not catch this."""


def out_of_time(limit_s: float) -> str:
    """Why a run ended that is out of time."""
    return f"still running after {limit_s:g} s"


def parse_time_limit(text: str, where: str) -> float:
    """Seconds of wall time that a run may take; UserError unless it is a time above 0."""
    try:
        limit_ns = parse_whole(text, "ns")
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if limit_ns == 0:
        raise UserError(f"{where}: {text!r} leaves no time to run; give more than 0")
    return limit_ns / 1e9


@contextmanager
def time_limit(limit_s: float, report: Report) -> Iterator[Report]:
    """What to report progress to instead of `report` within the block: OutOfTime once the limit is over.

    In the main thread Python code that reports nothing is interrupted as well, by SIGALRM.
    """
    until_s = time.monotonic() + limit_s

    def report_in_time(fraction: float, phase: str) -> None:
        if time.monotonic() > until_s:
            raise OutOfTime
        report(fraction, phase)

    with _alarm(limit_s + LATE_S):
        yield report_in_time


@contextmanager
def _alarm(after_s: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(after_s, 1e8))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
