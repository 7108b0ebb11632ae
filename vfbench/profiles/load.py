"""Reading profiles: a shipped one by its name, any by its path, an heir over its base."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, cast

from vfbench.errors import UserError
from vfbench.profiles.checks import KINDS, check_choice, check_keys, either, listed, number, suggest, text
from vfbench.profiles.figures import CAPABILITY_OF, DIMENSIONS, UNITS, Dimension
from vfbench.profiles.machine import CAPABILITIES, Feature, Kind
from vfbench.profiles.profile import SCHEMA, Figure, Measured, Profile, Sure
from vfbench.untrusted import read_toml, shown

_FOLDER: Final = Path(__file__).parent
_HEADER: Final = ("schema", "name", "summary", "machine", "costs")
_HEIR_HEADER: Final = ("schema", "name", "summary", "costs", "inherit", "holds")
_SURE: Final = ("A", "B", "C", "M")

_FIGURE_KEYS: Final = tuple(each.name for each in fields(Figure) if each.name != "measured")
_MEASURED_KEYS: Final = tuple(each.name for each in fields(Measured))
_FEATURE_KEYS: Final = tuple(each.name for each in fields(Feature))


def shipped_profiles() -> tuple[str, ...]:
    """The names of the profiles that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """Read a shipped profile by its name, or any by the path of its .toml file. Raises UserError."""
    path = _find(name_or_path)
    # A shipped profile is named by its file alone: where the package lies is no help to a user.
    where = path.name if path.parent == _FOLDER else shown(path)
    content = _parse(path, where)
    inherits = "inherit" in content
    if inherits:
        _check_header(content, where, _HEIR_HEADER, optional=("machine",))
    else:
        _check_header(content, where, _HEADER)
    base = _base(content, where) if inherits else None
    inherited = {} if base is None else _inherited(content, base, where)
    machine = _machine(content.get("machine", {}), {} if base is None else base.machine, where)
    _check_names(content["costs"], where, inherited, machine)
    figures = {
        name: _figure(content["costs"][name], dimension, f"{where}: {name}")
        if name in content["costs"]
        else inherited[name]
        for name, dimension in DIMENSIONS.items()
        if _has(machine, name)
    }
    return Profile(content["name"], content["summary"], figures, machine)


def _has(machine: Mapping[str, Feature], figure: str) -> bool:
    """Whether the machine has what the figure is the cost of."""
    return figure not in CAPABILITY_OF or machine[CAPABILITY_OF[figure]].has is not False


def _machine(stated: Any, base: Mapping[str, Feature], where: str) -> dict[str, Feature]:
    """What the file states over what its base has, in the order of `CAPABILITIES`."""
    if not isinstance(stated, dict):
        raise UserError(f"{where}: machine {stated!r} is no table; write one [machine.<capability>] each")
    for name in stated:
        if name not in CAPABILITIES:
            raise UserError(f"{where}: unknown capability {name!r}; {suggest(name, tuple(CAPABILITIES))}")
    for name, capability in CAPABILITIES.items():
        if name not in stated and name not in base:
            raise UserError(f"{where}: machine.{name} is missing; say whether there is a {capability.what}")
    return {
        name: _feature(stated[name], capability.kind, f"{where}: machine.{name}")
        if name in stated
        else base[name]
        for name, capability in CAPABILITIES.items()
    }


def _feature(table: Any, kind: Kind, where: str) -> Feature:
    if not isinstance(table, dict):
        raise UserError(f"{where}: {table!r} is no table; give {listed(_FEATURE_KEYS)}")
    check_keys(table, _FEATURE_KEYS, where)
    check_choice(table, "sure", _SURE, where)
    has = table["has"]
    fits, wanted = KINDS[kind]
    if not fits(has):
        raise UserError(f"{where}: has {has!r} does not do; give {wanted}")
    return Feature(has, table["sure"], text(table, "source", where))


def _base(content: Mapping[str, Any], where: str) -> Profile:
    others = tuple(each for each in shipped_profiles() if each != content["name"])
    if content["inherit"] not in others:
        raise UserError(
            f"{where}: inherit {content['inherit']!r} is no shipped profile; there are {listed(others)}"
        )
    return load_profile(content["inherit"])


def _inherited(content: Mapping[str, Any], base: Profile, where: str) -> dict[str, Figure]:
    """The base's figures as the heir has them: what `holds` there too as it is, the rest as estimates."""
    holds = content["holds"]
    if not isinstance(holds, list):
        raise UserError(
            f"{where}: holds {holds!r} is no list; give the names of figures that are the same here"
        )
    for name in holds:
        if name not in DIMENSIONS:
            raise UserError(
                f"{where}: holds: unknown figure {name!r}; {suggest(str(name), tuple(DIMENSIONS))}"
            )
        if name in content["costs"]:
            raise UserError(f"{where}: holds {name!r}, and [costs.{name}] states it; leave one of them out")
    return {
        name: figure if name in holds else _taken_over(figure, base.name)
        for name, figure in base.figures.items()
    }


def _taken_over(figure: Figure, base: str) -> Figure:
    source = f"Estimate: as on {base}, where it is {figure.sure}: {figure.source}"
    return replace(figure, sure="C", source=source, measured=None)


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    given = os.fspath(name_or_path)
    if given in shipped_profiles():
        return _FOLDER / f"{given}.toml"
    path = Path(given)
    if path.suffix != ".toml":
        shipped = ", ".join(shipped_profiles())
        raise UserError(f"no profile {given!r}; there are {shipped}, or give the path of a .toml file")
    return path


def _parse(path: Path, where: str) -> dict[str, Any]:
    return read_toml(path, where, "give a readable .toml file")


def _check_header(
    content: Mapping[str, Any], where: str, keys: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    check_keys(content, keys, where, optional)
    schema = content["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise UserError(f"{where}: schema {schema!r} is not known; {SCHEMA} is")
    for key in ("name", "summary"):
        text(content, key, where)
    if not isinstance(content["costs"], dict):
        raise UserError(
            f"{where}: costs {content['costs']!r} is no table; write one [costs.<figure>] per figure"
        )


def _check_names(
    costs: Mapping[str, Any], where: str, inherited: Mapping[str, Figure], machine: Mapping[str, Feature]
) -> None:
    for name in costs:
        if name not in DIMENSIONS:
            raise UserError(f"{where}: unknown figure {name!r}; {suggest(name, tuple(DIMENSIONS))}")
        if not _has(machine, name):
            raise UserError(
                f"{where}: [costs.{name}] is stated, but machine.{CAPABILITY_OF[name]} is false; leave one of them out"
            )
    for name, dimension in DIMENSIONS.items():
        if _has(machine, name) and name not in costs and name not in inherited:
            raise UserError(f"{where}: {name} is missing; add [costs.{name}], in {either(UNITS[dimension])}")


def _figure(table: Any, dimension: Dimension, where: str) -> Figure:
    """`where` names the file and the figure."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: {table!r} is no table; give {listed(_FIGURE_KEYS)}")
    measured = isinstance(table.get("measured"), dict) or table.get("sure") == "M"
    check_keys(table, (*_FIGURE_KEYS, "measured") if measured else _FIGURE_KEYS, where)
    check_choice(table, "unit", UNITS[dimension], where)
    check_choice(table, "sure", _SURE, where)
    figure = Figure(
        value=number(table, "value", dimension, where),
        unit=table["unit"],
        sure=cast(Sure, table["sure"]),
        source=text(table, "source", where),
        low=number(table, "low", dimension, where),
        high=number(table, "high", dimension, where),
        what=text(table, "what", where),
        measured=_measured(table["measured"], f"{where}: measured") if measured else None,
    )
    if not figure.low <= figure.value <= figure.high:
        raise UserError(
            f"{where}: value {figure.value:g} is not between low {figure.low:g} and high {figure.high:g}; "
            "low <= value <= high"
        )
    return figure


def _measured(table: Any, where: str) -> Measured:
    if not isinstance(table, dict):
        raise UserError(f"{where} {table!r} is no table; give {listed(_MEASURED_KEYS)}")
    check_keys(table, _MEASURED_KEYS, where)
    return Measured(
        host=text(table, "host", where),
        date=text(table, "date", where),
        method=text(table, "method", where),
        repeats=int(number(table, "repeats", "count", where)),
    )
