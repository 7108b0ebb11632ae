"""A signal that stops the process, or its run, while numba compiles stops it, wherever it falls.

Most of a compilation is spent inside LLVM, so the signal's handler runs in the first Python code after it, and that
is a callback of LLVM's, which drops what is raised in it: the compilation would then fail for want of a result.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
"""SIGALRM is that of a limit of wall time."""
_pending: list[int] = []
_handlers: dict[signal.Signals, Callable[[int, Any], Any]] = {}


def raise_if_interrupted() -> None:
    """Called where nothing drops it."""
    if _pending:
        number = _pending[0]
        _pending.clear()
        _handlers[signal.Signals(number)](number, None)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Put a signal off to the next step of the compilation, or to its end; a second one is not put off."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    kept = {each: handler for each, handler in before.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread() or _note in kept.values() or not kept:
        yield
        return
    _pending.clear()
    _handlers.update(kept)
    for each in kept:
        signal.signal(each, _note)
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
        raise_if_interrupted()


def _note(number: int, frame: Any) -> None:
    if _pending:
        _handlers[signal.Signals(number)](number, frame)
    _pending.append(number)
