"""Ctrl-C while numba compiles is an interrupt, wherever it falls.

Most of a compilation is spent inside LLVM, so the signal's handler runs in the first Python code after it, and that
is a callback of LLVM's, which drops what is raised in it: the compilation would then fail for want of a result.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_pending: list[int] = []


def raise_if_interrupted() -> None:
    """Called where nothing drops it."""
    if _pending:
        _pending.clear()
        raise KeyboardInterrupt


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Put an interrupt off to the next step of the compilation, or to its end; a second one is not put off."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before) or before is _note:
        yield
        return
    _pending.clear()
    _second[0] = before
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        raise_if_interrupted()


_second: list[Any] = [None]


def _note(number: int, frame: Any) -> None:
    if _pending:
        _second[0](number, frame)
    _pending.append(number)
