"""`--time-limit`: how much wall time a run, or a command as a whole, may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vfbench.errors import RunFailed
from vfbench.time_limit import DEFAULT, OutOfTime, out_of_time, parse_time_limit, time_limit

WHOLE = "120min"
"""For a validation, whose guests are emulated and many; each step of one has a limit of its own."""


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    return parse_time_limit(text, "--time-limit")


def _option(default: str, words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--time-limit",
        "limit_s",
        default=default,
        show_default=True,
        metavar="TIME",
        callback=_seconds,
        help=words,
    )


run_limit_option = _option(
    DEFAULT, "Wall time for each run; one that takes longer is ended and counts as failed."
)
command_limit_option = _option(WHOLE, "Wall time for all of it; what takes longer is ended, and says so.")


@contextmanager
def all_of_it_within(limit_s: float) -> Iterator[None]:
    """RunFailed if the block takes more than ``limit_s`` seconds of wall time."""
    try:
        with time_limit(limit_s, lambda _fraction, _phase: None):
            yield
    except OutOfTime:
        raise RunFailed(f"{out_of_time(limit_s)}; --time-limit gives it more") from None
