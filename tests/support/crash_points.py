"""Every file-system event of a writer as a point at which its process may die.

A child process carries out a piece of work and is ended with ``os._exit`` just before its n-th event, or, where the
event is a write, after half of it. What it leaves is what a process leaves that is killed there: no cleanup runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from vfbench import files

DIED = 99
CALLS = (
    "open",
    "write",
    "fsync",
    "mkdir",
    "rename",
    "link",
    "unlink",
    "rmdir",
    "replace",
    "remove",
    "fchmod",
)
HALF = "half of write"


def crash(work: Callable[[], object], at: int) -> bool:
    """Carry out the work in a child that dies at event number `at`, from 0; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        _die_at(at)
        try:
            work()
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, DIED):
        raise AssertionError(f"the work failed with exit code {code}")
    return code == DIED


def crashes(work: Callable[[], object], prepare: Callable[[], object]) -> Iterator[int]:
    """Prepare, crash, and let the caller look at what is there, for each event; the last is that of no crash."""
    at, died = 0, True
    while died:
        prepare()
        died = crash(work, at)
        yield at
        at += 1


def _die_at(at: int) -> None:
    counted = [0]

    def due() -> bool:
        counted[0] += 1
        return counted[0] > at

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*arguments: Any, **more: Any) -> Any:
            if due():
                os._exit(DIED)
            if name == "write" and due():
                content = memoryview(arguments[1])
                call(arguments[0], content[: len(content) // 2])
                os._exit(DIED)
            return call(*arguments, **more)

        return dying

    for name in CALLS:
        setattr(os, name, wrap(name, getattr(os, name)))
    files.renameat2 = wrap("renameat2", files.renameat2)
