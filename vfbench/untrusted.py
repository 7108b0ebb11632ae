"""Files that may be anybody's: opened, bounded, decoded and validated in one place.

Everything that a user names, or that lies in a folder of results, is opened here. A named pipe would block for ever
and a device never end, so only regular files are read; a size is given for each kind, and TOML and JSON may be
nested only so deep. Whatever a parser or validator raises becomes a `UserError` of one line.
"""

from __future__ import annotations

import os
import reprlib
import stat
from io import BufferedReader

from vfbench.errors import UserError

LONGEST_SHOWN = 200
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 60
_BRIEF.maxlong = 40
_BRIEF.maxlist = _BRIEF.maxdict = _BRIEF.maxtuple = 4
_BRIEF.maxlevel = 3


def shown(name: str | os.PathLike[str]) -> str:
    """A file's name for a message: on one line, nothing in it that a terminal would act on, of bounded length."""
    text = os.fspath(name)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN - 60]}...{text[-57:]}"
    return text if text.isprintable() else repr(text)


def brief(value: object) -> str:
    """A value for a message, cut short where it is long."""
    return _BRIEF.repr(value)


def open_regular(path: str | os.PathLike[str], name: str, most_bytes: int, wanted: str) -> BufferedReader:
    """A regular file of at most so many bytes, opened for reading.

    UserError begins with ``name`` and ends with the advice to give ``wanted``.
    """
    try:
        _refuse(os.stat(path), name, most_bytes, wanted)  # noqa: PTH116  the path may be no Path, and hold a NUL
        # Without waiting, should it have become a pipe since.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (
        OSError,
        ValueError,
    ) as error:  # ValueError: a NUL in the path, or what the file system can't encode
        raise UserError(f"{name}: cannot be read: {_reason(error)}; give {wanted}") from None
    file = os.fdopen(descriptor, "rb")
    try:
        _refuse(os.fstat(descriptor), name, most_bytes, wanted)
    except BaseException:
        file.close()
        raise
    return file


def read_bytes(path: str | os.PathLike[str], name: str, most_bytes: int, wanted: str) -> bytes:
    """The content of such a file; UserError as for `open_regular`."""
    with open_regular(path, name, most_bytes, wanted) as file:
        try:
            content = file.read(most_bytes + 1)
        except OSError as error:
            raise UserError(f"{name}: cannot be read: {_reason(error)}; give {wanted}") from None
    if len(content) > most_bytes:
        raise UserError(f"{name}: has more than {most_bytes} bytes; give {wanted}")
    return content


def _refuse(status: os.stat_result, name: str, most_bytes: int, wanted: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{name}: is a directory; give {wanted}")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{name}: is no regular file; give {wanted}")
    if status.st_size > most_bytes:
        raise UserError(f"{name}: has {status.st_size} bytes, more than {most_bytes}; give {wanted}")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
