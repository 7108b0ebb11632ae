"""A grid file: TOML with one or more `[[grid]]` blocks, each the product of strategies, workloads and parameters.

`read_grids` refuses a file that is broken, a key that is unknown and a value of the wrong kind, with a `UserError`
of one line that names the file, the grid and the value. What a value means is checked when cells are made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec

from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED
from vfbench.parameters import unknown
from vfbench.time_limit import DEFAULT, DEFAULT_S, parse_time_limit
from vfbench.units import LARGEST
from vfbench.untrusted import brief, misfit, read_toml, shown

Texts = dict[str, str]
"""Parameters as `--set` takes them: `guest.memory` -> `4GiB`."""

MOST_REPEATS = 10_000
TOP_KEYS = ("about", "defaults", "grid")


@dataclass(frozen=True)
class Grid:
    """One block; a list has every value that takes its turn, `set` what holds for all cells alike."""

    name: str
    strategies: tuple[str, ...]
    workloads: tuple[str, ...]
    about: str = ""
    groups: tuple[str, ...] = ()
    """Further names by which `--filter` finds its cells; several grids may share one."""
    set: Texts = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variants: tuple[Texts, ...] = ({},)
    seeds: tuple[int, ...] = (1,)
    preset: str = "default"
    profile: str = DEFAULT_PROFILE
    testbed: str = DEFAULT_TESTBED
    time_limit_s: float = DEFAULT_S


_Setting = bool | int | float | str
_Names = Annotated[list[str], msgspec.Meta(min_length=1)]


class _Block(msgspec.Struct, forbid_unknown_fields=True, rename={"time_limit": "time-limit"}):
    """A block as its file has it, with the defaults in it."""

    name: str
    strategies: _Names
    workloads: _Names
    about: str = ""
    groups: _Names = msgspec.field(default_factory=list)
    set: dict[str, Any] = {}  # each by `_setting`, for one of 5,000 digits is no integer to msgspec
    axes: dict[str, Annotated[list[Any], msgspec.Meta(min_length=1)]] = {}
    variants: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [{}]
    )
    seeds: Annotated[list[int], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: [1])
    repeats: Annotated[int, msgspec.Meta(ge=1, le=MOST_REPEATS)] = 1
    preset: str = "default"
    profile: str = DEFAULT_PROFILE
    testbed: str = DEFAULT_TESTBED
    time_limit: str = DEFAULT


_NO_TEXT = "no text; put it in quotes"
_NO_NAMES = 'no list of names; write ["..."]'
_NO = {
    "strategies": _NO_NAMES,
    "workloads": _NO_NAMES,
    "groups": _NO_NAMES,
    "set": "no table",
    "axes": "no list of values; write [first, second]",
    "variants": 'no list of tables; write [{ "guest.memory" = "4GiB" }]',
    "seeds": "no list of whole numbers",
    "repeats": f"no whole number from 1 to {MOST_REPEATS}",
    **dict.fromkeys(("name", "about", "preset", "profile", "testbed", "time-limit"), _NO_TEXT),
}
"""What is said of a value that is none of a key's, and what would do."""
_OF_EACH: dict[str, Any] = {"axes": Annotated[list[Any], msgspec.Meta(min_length=1)]}

GRID_KEYS = (
    *(each.name for each in fields(Grid) if each.name != "time_limit_s"),
    "repeats",
    "time-limit",
)
"""What a `[[grid]]` may say; `[defaults]` may say the same but a name."""


def read_grids(path: Path) -> list[Grid]:
    """The grids of a file, in its order."""
    document = read_toml(path, shown(path), "name a grid file in TOML")
    for key in document:
        if key not in TOP_KEYS:
            raise unknown(f"{path}: there is no key", key, TOP_KEYS)
    _text(document.get("about", ""), f"{path}: about")
    defaults = _table(document.get("defaults", {}), f"{path}: defaults")
    blocks = document.get("grid")
    if not isinstance(blocks, list) or not blocks:
        raise UserError(f"{path}: there is no grid; begin one with a line [[grid]]")
    grids = [_grid(block, defaults, f"{path}: grid {number}") for number, block in enumerate(blocks, 1)]
    names = [grid.name for grid in grids]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: {names.count(name)} grids are called {name!r}; give each its own name")
    return grids


def replaced(grid: Grid, profile: str | None, time_limit: str | None) -> Grid:
    """`grid` with what the command line says in place of the file; None leaves the file's."""
    limit_s = grid.time_limit_s if time_limit is None else parse_time_limit(time_limit, "--time-limit")
    return dataclasses.replace(grid, profile=profile or grid.profile, time_limit_s=limit_s)


def _grid(block: object, defaults: Mapping[str, Any], where: str) -> Grid:
    own = _table(block, where)
    name = own.get("name")
    if not isinstance(name, str) or not name.strip() or "/" in name:
        raise UserError(f"{where}: its name is {brief(name)}; give it one in quotes, without a slash")
    where = f"{where.rpartition(': ')[0]}: grid {name!r}"
    if ("seeds" in own and "repeats" in own) or ("seeds" in defaults and "repeats" in defaults):
        raise UserError(f"{where}: seeds and repeats are both given; give one of them")
    if "name" in defaults:
        raise unknown(f"{where}: there is no key", "name", GRID_KEYS)
    given = {**defaults, **own}
    given.pop("repeats" if "seeds" in own else "seeds" if "repeats" in own else "", None)
    settings = [_texts(each.get("set", {}), f"{where}: set") for each in (defaults, own)]
    found = _validated(given, where)
    limit = f"{where}: time-limit"
    return Grid(
        name=name,
        strategies=tuple(found.strategies),
        workloads=tuple(found.workloads),
        about=found.about,
        groups=tuple(found.groups),
        set={**settings[0], **settings[1]},
        axes={
            axis: tuple(_setting(each, f"{where}: axes: {axis}") for each in values)
            for axis, values in found.axes.items()
        },
        variants=tuple(_texts(each, f"{where}: variants") for each in found.variants),
        seeds=tuple(range(1, found.repeats + 1)) if "repeats" in given else tuple(found.seeds),
        preset=found.preset,
        profile=found.profile,
        testbed=found.testbed,
        time_limit_s=parse_time_limit(found.time_limit, limit),
    )


def _validated(given: Mapping[str, Any], where: str) -> _Block:
    """UserError with key, value, and what would do, for a block that is not as `_Block` says."""
    found = misfit(given, _Block)
    if found is None:
        return msgspec.convert(given, _Block)
    key = found.keys[0]
    if found.is_unknown:
        raise unknown(f"{where}: there is no key", key, GRID_KEYS)
    value, place = given.get(key), f"{where}: {key}"
    if isinstance(value, dict) and key in _OF_EACH:
        # Names of parameters have dots, and msgspec names no key of a table that may have any: look for it.
        name = next(each for each, inner in value.items() if misfit(inner, _OF_EACH[key]) is not None)
        _setting_is_no_table(value[name], f"{place}: {name}")
        value, place = value[name], f"{place}: {name}"
    raise UserError(f"{place}: {brief(value)} is {_NO[key]}")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {brief(value)} is no table")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {brief(value)} is {_NO_TEXT}")
    return value


def _texts(value: object, where: str) -> Texts:
    return {name: _setting(each, f"{where}: {name}") for name, each in _table(value, where).items()}


def _setting(value: object, where: str) -> str:
    """A parameter's value as text: `"4GiB"`, `512`, `0.5` and `true` are what TOML calls them."""
    _setting_is_no_table(value, where)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > LARGEST:
        raise UserError(f"{where}: {brief(value)} is too large")
    if misfit(value, _Setting) is not None:
        raise UserError(f"{where}: {brief(value)} is no text, number, true or false")
    return str(value)


def _setting_is_no_table(value: object, where: str) -> None:
    if isinstance(value, dict):
        raise UserError(f'{where} is a table; put a name with a dot in quotes: "guest.memory" = "4GiB"')
