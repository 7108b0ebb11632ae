"""A grid file: TOML with one or more `[[grid]]` blocks, each the product of strategies, workloads and parameters.

`read_grids` refuses a file that is broken, a key that is unknown and a value of the wrong kind, with a `UserError`
of one line that names the file, the grid and the value. What a value means is checked when cells are made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED
from vfbench.parameters import unknown
from vfbench.time_limit import DEFAULT, DEFAULT_S, parse_time_limit
from vfbench.units import LARGEST
from vfbench.untrusted import brief, read_toml, shown

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
    for key in (*own, *defaults):
        if key not in GRID_KEYS or (key == "name" and key in defaults):
            raise unknown(f"{where}: there is no key", key, GRID_KEYS)
    given = {**defaults, **own}
    if ("seeds" in own and "repeats" in own) or ("seeds" in defaults and "repeats" in defaults):
        raise UserError(f"{where}: seeds and repeats are both given; give one of them")
    given.pop("repeats" if "seeds" in own else "seeds" if "repeats" in own else "", None)
    settings = {
        **_texts(defaults.get("set", {}), f"{where}: set"),
        **_texts(own.get("set", {}), f"{where}: set"),
    }
    return Grid(
        name=name,
        strategies=_names(given.get("strategies"), f"{where}: strategies"),
        workloads=_names(given.get("workloads"), f"{where}: workloads"),
        about=_text(given.get("about", ""), f"{where}: about"),
        groups=_names(given["groups"], f"{where}: groups") if "groups" in given else (),
        set=settings,
        axes=_axes(given.get("axes", {}), f"{where}: axes"),
        variants=_variants(given.get("variants", [{}]), f"{where}: variants"),
        seeds=_seeds(given, where),
        preset=_text(given.get("preset", "default"), f"{where}: preset"),
        profile=_text(given.get("profile", DEFAULT_PROFILE), f"{where}: profile"),
        testbed=_text(given.get("testbed", DEFAULT_TESTBED), f"{where}: testbed"),
        time_limit_s=parse_time_limit(
            _text(given.get("time-limit", DEFAULT), f"{where}: time-limit"), f"{where}: time-limit"
        ),
    )


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {brief(value)} is no table")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {brief(value)} is no text; put it in quotes")
    return value


def _names(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise UserError(f'{where}: {brief(value)} is no list of names; write ["..."]')
    return tuple(value)


def _texts(value: object, where: str) -> Texts:
    return {name: _setting(each, f"{where}: {name}") for name, each in _table(value, where).items()}


def _setting(value: object, where: str) -> str:
    """A parameter's value as text: `"4GiB"`, `512`, `0.5` and `true` are what TOML calls them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > LARGEST:
        raise UserError(f"{where}: {brief(value)} is too large")
    if isinstance(value, int | float | str):
        return str(value)
    if isinstance(value, dict):
        raise UserError(f'{where} is a table; put a name with a dot in quotes: "guest.memory" = "4GiB"')
    raise UserError(f"{where}: {brief(value)} is no text, number, true or false")


def _axes(value: object, where: str) -> dict[str, tuple[str, ...]]:
    axes = {}
    for name, values in _table(value, where).items():
        if isinstance(values, dict):
            _setting(values, f"{where}: {name}")
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: {name}: {brief(values)} is no list of values; write [first, second]")
        axes[name] = tuple(_setting(each, f"{where}: {name}") for each in values)
    return axes


def _variants(value: object, where: str) -> tuple[Texts, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(
            f'{where}: {brief(value)} is no list of tables; write [{{ "guest.memory" = "4GiB" }}]'
        )
    return tuple(_texts(each, where) for each in value)


def _seeds(given: Mapping[str, Any], where: str) -> tuple[int, ...]:
    if "repeats" in given:
        repeats = given["repeats"]
        if type(repeats) is not int or not 1 <= repeats <= MOST_REPEATS:
            raise UserError(f"{where}: repeats: {brief(repeats)} is no whole number from 1 to {MOST_REPEATS}")
        return tuple(range(1, repeats + 1))
    seeds = given.get("seeds", [1])
    if not isinstance(seeds, list) or not seeds or not all(type(each) is int for each in seeds):
        raise UserError(f"{where}: seeds: {brief(seeds)} is no list of whole numbers")
    return tuple(seeds)
