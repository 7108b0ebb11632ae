"""Standard streams as they come: closed, full, read by nobody, or of an encoding that knows few characters."""

from __future__ import annotations

import codecs
import errno
import os
import select
import stat
import sys
from typing import TextIO

from vfbench.errors import UserError

ERRORS = "vfbench.plain"
PLAIN = {
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS LIGHT VERTICAL}": "|",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "-",
    "\N{EM DASH}": "-",
    "\N{EN DASH}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MICRO SIGN}": "u",
    "\N{GREEK SMALL LETTER MU}": "u",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
"""What stands in for a character that a terminal's encoding has not; any other is written as its escape."""
_FULL = os.makedev(1, 7)
EXIT_NOBODY_READS = 141
"""As of a process that SIGPIPE ended."""


def prepare() -> None:
    """Make the streams take any text, and keep the numbers of closed ones from being those of files of ours."""
    codecs.register_error(ERRORS, _in_plain)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's stand-in has none, and needs none
        if reconfigure is not None:
            reconfigure(errors=ERRORS)


def check_output() -> None:
    """UserError, before anything runs, if what is printed at the end can be known to be lost."""
    try:
        number = sys.stdout.fileno()
        status = os.fstat(number)
    except (OSError, ValueError):
        return
    reason = ""
    if (stat.S_ISCHR(status.st_mode) and status.st_rdev == _FULL) or (
        stat.S_ISREG(status.st_mode) and os.fstatvfs(number).f_bavail == 0
    ):
        reason = os.strerror(errno.ENOSPC)
    elif stat.S_ISFIFO(status.st_mode) and _nobody_reads(number):
        reason = "nobody reads it"
    if reason:
        give_up_output()
        raise UserError(f"standard output can't be written: {reason}; nothing was run")


def is_broken() -> OSError | None:
    """What keeps standard output from being written, if something does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def give_up_output() -> None:
    """Have what is still buffered go nowhere, or the interpreter complains of it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _nobody_reads(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - a standard stream is never closed


def _in_plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = "".join(PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text)
    return plain, error.end
