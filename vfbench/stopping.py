"""One way to stop: Ctrl-C, SIGTERM and SIGHUP raise `Stopped` in the main thread, and whatever was begun is ended.

A signal that was ignored when the process began stays ignored, as a shell asks for with `command &` and nohup. While
the stack is unwound another signal changes nothing, so that nothing is left behind; one that was swallowed, as an
exception is in a callback of C code, is raised again at the next `check`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked: list[int] = []


class Stopped(KeyboardInterrupt):
    """The process was asked to stop; no Exception, for nobody who catches those must catch this."""


@contextmanager
def handled(*, to_the_end: bool) -> Iterator[None]:
    """While entered the signals stop what runs; `to_the_end`: the process ends afterwards, and they do no more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    before = {each: signal.getsignal(each) for each in SIGNALS}
    mine = [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    for each in mine:
        signal.signal(each, _stop)
    try:
        yield
    finally:
        for each in mine:
            signal.signal(each, signal.SIG_IGN if to_the_end and _asked else before[each] or signal.SIG_DFL)
        if not to_the_end and _stop not in before.values():
            # The process goes on, as a notebook does: what was asked has been done.
            _asked.clear()


def exit_code() -> int:
    """As a shell has it: 128 and the number of the signal."""
    return 128 + (_asked[0] if _asked else signal.SIGINT)


def reason() -> str:
    """For the line that says it: `interrupted`, or what the signal is called."""
    number = _asked[0] if _asked else signal.SIGINT
    return "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"


def check() -> None:
    """Stopped if that was asked for, and what was raised then did not get through."""
    if _asked and not _is_unwinding():
        raise Stopped


@contextmanager
def held_back() -> Iterator[None]:
    """While entered the signals wait; threads and processes that are begun meanwhile never take them.

    For what must not be left half begun or half ended. It is to be over within seconds.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(number: int, _frame: FrameType | None) -> None:
    _asked.append(number)
    if not _is_unwinding():
        raise Stopped


def _is_unwinding() -> bool:
    """Whether this runs while a `Stopped` is on its way up: in a `finally`, an `except` or an `__exit__`."""
    error: BaseException | None = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False
