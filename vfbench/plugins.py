"""The strategies and workloads that there are: the suite's own tuples, and what other packages add.

Another package adds its own through the entry-point groups `vfbench.strategies` and `vfbench.workloads`,
each entry naming a class. A plugin that can't be used is refused by name, never skipped in silence.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vfbench.errors import UserError
from vfbench.experiment import GROUPS
from vfbench.mistakes import in_folder, shown_path

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

_Class = TypeVar("_Class")

STRATEGY_GROUP = "vfbench.strategies"
WORKLOAD_GROUP = "vfbench.workloads"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def load_strategies(shipped: Iterable[type[Strategy]]) -> dict[str, type[Strategy]]:
    """The suite's strategies and those of plugins, by name; UserError for a plugin that won't do."""
    from vfbench.strategy import Strategy

    return _registry(shipped, Strategy, STRATEGY_GROUP)


def load_workloads(shipped: Iterable[type[Workload]]) -> dict[str, type[Workload]]:
    """The suite's workloads and those of plugins, by name; UserError for a plugin that won't do."""
    from vfbench.workload import Workload

    return _registry(shipped, Workload, WORKLOAD_GROUP)


def _registry(shipped: Iterable[type[_Class]], base: type[_Class], group: str) -> dict[str, type[_Class]]:
    found: dict[str, type[_Class]] = {}
    for each in shipped:
        _add(found, each, base, f"shipped {each.__name__}")
    for entry in sorted(importlib.metadata.entry_points(group=group), key=lambda entry: entry.name):
        origin = f"plugin {entry.name!r} ({group}: {entry.value})"
        try:
            loaded = entry.load()
        except Exception as error:
            # A plugin may raise anything while it is imported; the chain keeps it for --debug.
            raise UserError(f"{origin} raises while loading: {_where(error)}") from error
        _add(found, loaded, base, origin)
    return found


def _add(found: dict[str, type[_Class]], loaded: object, base: type[_Class], origin: str) -> None:
    if not isinstance(loaded, type) or not issubclass(loaded, base):
        raise UserError(f"{origin} is {loaded!r}, not a class derived from vfbench's {base.__name__}")
    name = getattr(loaded, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{origin}: its name is {name!r}; it needs one of lower-case words with dashes")
    if name in GROUPS or name == "all":
        raise UserError(f"{origin}: its name {name!r} means something else on the command line")
    if not summary(loaded):
        raise UserError(f"{origin}: {name!r} has no docstring, whose first line is its summary")
    made_by_dataclass = vars(loaded).get("__dataclass_params__")
    if made_by_dataclass is None or not made_by_dataclass.frozen:
        raise UserError(
            f"{origin}: {name!r} is no frozen dataclass; decorate it with @dataclass(frozen=True)"
        )
    if name in found:
        other = f"{found[name].__module__}.{found[name].__qualname__}"
        raise UserError(f"{origin}: the name {name!r} is taken by {other}")
    found[name] = loaded


def summary(named: type) -> str:
    """The first line of a class's own docstring, `""` if it has none but what dataclass wrote for it."""
    text = vars(named).get("__doc__") or ""
    generated = dataclasses.is_dataclass(named) and text.startswith(f"{named.__name__}(")
    return "" if generated or not text.strip() else text.strip().splitlines()[0]


def _where(error: BaseException) -> str:
    """With the file and line where the plugin's own code raised: the innermost outside Python and this suite."""
    if isinstance(error, SyntaxError) and error.filename:
        return in_folder(error, Path())
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__
        and "importlib" not in frame.filename
        and not frame.filename.startswith("<")
    ]
    place = f"{shown_path(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""
    return place + _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
