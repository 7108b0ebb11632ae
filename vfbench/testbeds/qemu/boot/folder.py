"""A folder for a run's sockets, consoles and logs: of mode 0700, with a short path, gone when the run ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "vfbench-qemu-"
LOCK = "lock"
KEEP_VARIABLE = "VFBENCH_KEEP"
"""In the environment, so that it reaches a run in whichever process that is."""
LONGEST_PARENT = 40
"""A socket's path has 107 bytes at most (unix(7)); what lies in the folder wants some of them."""


@contextmanager
def kept_folders(keep: bool) -> Iterator[None]:
    """As long as it lasts, what runs write stays where ``keep``, and where is said on stderr."""
    before = os.environ.get(KEEP_VARIABLE)
    if keep:
        os.environ[KEEP_VARIABLE] = "1"
    try:
        yield
    finally:
        if keep and before is None:
            del os.environ[KEEP_VARIABLE]


def _say_on_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def run_folder(*, keep: bool = False, say: Callable[[str], None] = _say_on_stderr) -> Iterator[Path]:
    """Make it, and remove it at the end; with ``keep``, or in ``kept_folders``, it stays and ``say`` is told where.

    First removes what runs that were killed left behind: a folder of this user that nobody holds a lock in.
    """
    parent = _parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with _locked(folder):
            yield folder
    finally:
        if keep or os.environ.get(KEEP_VARIABLE):
            (folder / LOCK).unlink(missing_ok=True)
            say(f"kept the consoles and logs of this run in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock is held before it has the name by which others look for it: none of them finds it free."""
    unnamed = folder / f".{LOCK}"
    with unnamed.open("x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(folder / LOCK)
        yield


def _parent() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= LONGEST_PARENT else Path("/tmp")  # noqa: S108 - mkdtemp makes it private


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
        except OSError:
            continue  # in use, kept on purpose, or just being made
