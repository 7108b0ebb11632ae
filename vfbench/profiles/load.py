"""Reading profiles: a shipped one by its name, any by its path, an heir over its base."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from vfbench.errors import UserError
from vfbench.profiles.checks import (
    KINDS,
    FeatureTable,
    FigureTable,
    Header,
    HeirHeader,
    MeasuredFigureTable,
    MeasuredTable,
    check_choice,
    either,
    listed,
    number,
    suggest,
    validated,
)
from vfbench.profiles.figures import CAPABILITY_OF, DIMENSIONS, UNITS, Dimension
from vfbench.profiles.machine import CAPABILITIES, Feature, Kind
from vfbench.profiles.profile import SCHEMA, Figure, Measured, Profile, Sure
from vfbench.untrusted import brief, misfit, read_toml, shown

_FOLDER: Final = Path(__file__).parent


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
    validated(content, HeirHeader if inherits else Header, where)
    _check_schema(content["schema"], where)
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
    validated(table, FeatureTable, where)
    has = table["has"]
    shape, wanted = KINDS[kind]
    if misfit(has, shape) is not None:
        raise UserError(f"{where}: has {brief(has)} does not do; give {wanted}")
    return Feature(has, table["sure"], table["source"])


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


def _check_schema(schema: object, where: str) -> None:
    if type(schema) is not int or schema != SCHEMA:
        raise UserError(f"{where}: schema {brief(schema)} is not known; {SCHEMA} is")


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
    told = table if isinstance(table, dict) else {}
    measured = isinstance(told.get("measured"), dict) or told.get("sure") == "M"
    validated(table, MeasuredFigureTable if measured else FigureTable, where)
    check_choice(table, "unit", UNITS[dimension], where)
    figure = Figure(
        value=number(table, "value", dimension, where),
        unit=table["unit"],
        sure=cast(Sure, table["sure"]),
        source=table["source"],
        low=number(table, "low", dimension, where),
        high=number(table, "high", dimension, where),
        what=table["what"],
        measured=_measured(table["measured"], f"{where}: measured") if measured else None,
    )
    if not figure.low <= figure.value <= figure.high:
        raise UserError(
            f"{where}: value {figure.value:g} is not between low {figure.low:g} and high {figure.high:g}; "
            "low <= value <= high"
        )
    return figure


def _measured(table: Any, where: str) -> Measured:
    validated(table, MeasuredTable, where)
    return Measured(
        host=table["host"],
        date=table["date"],
        method=table["method"],
        repeats=int(number(table, "repeats", "count", where)),
    )
