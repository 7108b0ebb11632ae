"""Mistakes of who writes a strategy or a workload, in one line with the file and the line where they are."""

from __future__ import annotations

import inspect
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vfbench.errors import UserError


def shown_path(path: str | Path) -> str:
    """Relative where it lies below the working folder."""
    given = Path(path)
    try:
        return str(given.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(given)


def in_folder(error: BaseException, folder: Path) -> str:
    """`strategies/x.py:3: ImportError: ...`: the innermost line in `folder`; without a place if none is in it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown_path(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder) and Path(frame.filename).name != "__init__.py"
    ]
    text = _one_line(error)
    return f"{shown_path(own[-1].filename)}:{own[-1].lineno}: {text}" if own else text


def in_file_of(error: BaseException, owner: type, function: str = "") -> str:
    """`strategies/x.py:31`: where in the file of a class an error arose; empty if not there, or in another function."""
    file = _file(owner)
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if each.filename == file and function in ("", each.name)]
    return f"{shown_path(file)}:{own[-1].lineno}" if own and file else ""


def class_place(owner: type) -> str:
    """`strategies/x.py:12`: where a class is defined; its module's name if its source is not to be had."""
    try:
        return f"{shown_path(inspect.getsourcefile(owner) or '')}:{inspect.getsourcelines(owner)[1]}"
    except (OSError, TypeError):
        return owner.__module__


def asked(owner: Any, what: str, ask: Callable[[], Any]) -> Any:
    """What `ask` gives of a strategy; UserError with the place if it raises."""
    try:
        return ask()
    except UserError:
        raise
    except Exception as error:
        # Anybody's code: whatever it raises is a mistake in it.
        place = in_file_of(error, type(owner)) or class_place(type(owner))
        raise UserError(f"{place}: strategy {owner.name!r}: {what}: {_one_line(error)}") from error


def check_traits(owner: Any, traits: dict[str, Any], known: dict[str, str]) -> None:
    """UserError for a trait that is no text, yes-or-no or whole number, or not of the type that `known` says."""
    kinds = {"string": str, "bool": bool, "int64": int}
    for name, value in traits.items():
        wanted = kinds.get(known.get(name, ""))
        if type(value) not in (str, bool, int) or (wanted and type(value) is not wanted):
            word = wanted.__name__ if wanted else "text, true, false or whole number"
            raise UserError(
                f"{class_place(type(owner))}: strategy {owner.name!r}: trait {name!r} is {value!r}, which is no {word}"
            )
    json.dumps(traits)


def _file(owner: type) -> str:
    try:
        return os.path.abspath(inspect.getsourcefile(owner) or "")  # noqa: PTH100  as tracebacks name it
    except TypeError:
        return ""


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
