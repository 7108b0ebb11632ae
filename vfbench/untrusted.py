"""Files that may be anybody's: opened, bounded, decoded and validated in one place.

Everything that a user names, or that lies in a folder of results, is opened here. A named pipe would block for ever
and a device never end, so only regular files are read; a size is given for each kind, and TOML and JSON may be
nested only so deep. Whatever a parser or validator raises becomes a `UserError` of one line.
"""

from __future__ import annotations

import os
import re
import reprlib
import stat
import tomllib
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from vfbench.errors import UserError

LONGEST_SHOWN = 200
LONGEST_MESSAGE = 4000
MOST_TOML_BYTES = 1 << 20
DEEPEST = 32
"""How deep tables and lists may lie in one another; what vfbench reads has five levels at most."""
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 60
_BRIEF.maxlong = 40
_BRIEF.maxlist = _BRIEF.maxdict = _BRIEF.maxtuple = 4
_BRIEF.maxlevel = 3


class UnreadableError(UserError):
    """A file that can't be opened or read; `reason` is why."""

    def __init__(self, message: str, reason: OSError | ValueError) -> None:
        super().__init__(message)
        self.reason = reason


def shown(name: str | os.PathLike[str]) -> str:
    """A file's name for a message: on one line, nothing in it that a terminal would act on, of bounded length."""
    text = os.fspath(name)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN - 60]}...{text[-57:]}"
    return text if text.isprintable() else repr(text)


def one_line(message: str) -> str:
    """A message on one line of bounded length, with escapes in place of what a terminal would act on."""
    words = " ".join(message.split())
    if len(words) > LONGEST_MESSAGE:
        words = f"{words[:LONGEST_MESSAGE]}..."
    return printable(words)


def printable(text: str) -> str:
    """With escapes in place of line breaks and whatever else a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


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
        raise UnreadableError(f"{name}: cannot be read: {_reason(error)}; give {wanted}", error) from None
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
            raise UnreadableError(f"{name}: cannot be read: {_reason(error)}; give {wanted}", error) from None
    if len(content) > most_bytes:
        raise UserError(f"{name}: has more than {most_bytes} bytes; give {wanted}")
    return content


def read_toml(path: str | os.PathLike[str], name: str, advice: str) -> dict[str, Any]:
    """A TOML file as a document, with or without a byte order mark; UserError for one that is none."""
    try:
        content = read_bytes(path, name, MOST_TOML_BYTES, "a file in TOML")
        document = tomllib.loads(content.removeprefix(b"\xef\xbb\xbf").decode())
    except UnreadableError as error:
        raise UserError(f"{name}: cannot be read ({_reason(error.reason)}); {advice}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise UserError(f"{name}: not TOML that is read here (nested too deep); correct it there") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of more digits than Python reads
        raise UserError(f"{name}: not TOML ({error}); correct it there") from error
    if _is_deep(document):
        raise UserError(f"{name}: its tables are nested more than {DEEPEST} deep; correct it there")
    return document


def parse_json(content: bytes | str) -> Any:
    """The document; ValueError for anything else than JSON that is nested no deeper than DEEPEST."""
    import msgspec

    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error) or "nested too deep") from None
    if _is_deep(document):
        raise ValueError(f"nested more than {DEEPEST} deep")
    return document


@dataclass(frozen=True)
class Misfit:
    """The first thing in a document that is not as its shape says: under these keys, from the outside in."""

    keys: tuple[str, ...]
    value: object
    """What is there; None where nothing is."""
    is_unknown: bool = False
    """Whether the shape has no such key."""


def misfit(document: object, shape: Any) -> Misfit | None:
    """What is wrong with `document` by the type `shape` (msgspec's rules, strict), if anything is."""
    import msgspec

    try:
        msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        return _misfit(document, str(error))
    return None


def check_shape(document: object, shape: Any) -> None:
    """ValueError that names the first value of `document` that is not as the type `shape` says (msgspec's rules)."""
    found = misfit(document, shape)
    if found is not None:
        name = ".".join(found.keys)
        raise ValueError(f"its {name!r} is {brief(found.value)}" if name else f"it is {brief(document)}")


def _misfit(document: object, message: str) -> Misfit:
    """msgspec says where and what was expected, and not what is there."""
    own = re.search(r"(missing required|unknown) field `([^`]+)`", message)
    where = re.search(r"at `\$\.?([^`]*)`", message)
    names = [each for each in re.split(r"[.\[]", where[1] if where else "") if each and each != "...]"]
    if own:
        names.append(own[2])
    value: Any = document
    for name in names:
        if isinstance(value, list) and re.fullmatch(r"\d+\]", name):
            value = value[int(name[:-1])]
        else:
            value = value.get(name) if isinstance(value, dict) else None
    keys = tuple(name.removesuffix("]") for name in names)
    return Misfit(keys, value, is_unknown=own is not None and own[1] == "unknown")


def _is_deep(document: object) -> bool:
    """Level by level, not by recursion, which is what deep documents exhaust."""
    level = [document]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def _refuse(status: os.stat_result, name: str, most_bytes: int, wanted: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{name}: is a directory; give {wanted}")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{name}: is no regular file; give {wanted}")
    if status.st_size > most_bytes:
        raise UserError(f"{name}: has {status.st_size} bytes, more than {most_bytes}; give {wanted}")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
