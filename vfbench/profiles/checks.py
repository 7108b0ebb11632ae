"""What a profile's file may state, as types that msgspec holds it against; what is refused is told in our words.

One line names the place, the value and what would do.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from vfbench.errors import UserError
from vfbench.profiles.figures import Dimension
from vfbench.profiles.machine import HYPOTHETICAL, Kind
from vfbench.untrusted import brief, misfit

Text = Annotated[str, Meta(pattern=r"\S")]
Sure = Literal["A", "B", "C", "M"]
SURE: Final = ("A", "B", "C", "M")


class Header(Struct, forbid_unknown_fields=True):
    """A profile of its own."""

    schema: Any
    name: Text
    summary: Text
    machine: dict[str, Any]
    costs: dict[str, Any]


class HeirHeader(Struct, forbid_unknown_fields=True):
    """A profile that has a shipped one as its base."""

    schema: Any
    name: Text
    summary: Text
    costs: dict[str, Any]
    inherit: Any
    holds: list[Any]
    machine: dict[str, Any] = {}


class FeatureTable(Struct, forbid_unknown_fields=True):
    """What a machine has; `has` is held against its kind (`KINDS`)."""

    has: Any
    sure: Sure
    source: Text


class FigureTable(Struct, forbid_unknown_fields=True):
    """A cost; its numbers and its unit are held against its dimension."""

    value: Any
    unit: Any
    sure: Sure
    source: Text
    low: Any
    high: Any
    what: Text


class MeasuredFigureTable(FigureTable, forbid_unknown_fields=True):
    """A cost that was measured."""

    measured: dict[str, Any]


class MeasuredTable(Struct, forbid_unknown_fields=True):
    """How it was measured."""

    host: Text
    date: Text
    method: Text
    repeats: Any


_IS_NO_TEXT: Final = "is no text; give a sentence in quotes"
_WORDS: Final = {
    "sure": "does not do; give A or B or C or M",
    "costs": "is no table; write one [costs.<figure>] per figure",
    "machine": "is no table; write one [machine.<capability>] each",
    "holds": "is no list; give the names of figures that are the same here",
    "measured": "is no table; give host, date, method, repeats",
}


def validated(table: object, shape: type[Struct], where: str) -> None:
    """UserError unless `table` is as `shape` says."""
    wanted = tuple(each.encode_name for each in msgspec.structs.fields(shape))
    if not isinstance(table, dict):
        raise UserError(f"{where}: {brief(table)} is no table; give {listed(wanted)}")
    found = misfit(table, shape)
    if found is None:
        return
    key = found.keys[0]
    if found.is_unknown:
        raise UserError(f"{where}: unknown key {brief(key)}; {suggest(key, wanted)}")
    if key not in table:
        asked = tuple(each.encode_name for each in msgspec.structs.fields(shape) if each.required)
        raise UserError(f"{where}: {key} is missing; give {listed(asked)}")
    raise UserError(f"{where}: {key} {brief(table[key])} {_WORDS.get(key, _IS_NO_TEXT)}")


def number(table: Mapping[str, Any], key: str, dimension: Dimension, where: str) -> float:
    """A finite number that fits the dimension."""
    number = table[key]
    if not _is_finite(number):
        raise UserError(f"{where}: {key} {brief(number)} is not a finite number; give one")
    shape, wanted = _BOUNDS[dimension]
    if misfit(float(number), shape) is not None:
        raise UserError(f"{where}: {key} {brief(number)} does not do for a {dimension} figure; give {wanted}")
    return float(number)


def _is_finite(number: object) -> bool:
    # bool is an int to Python, but `value = true` is no cost; a TOML integer may exceed every float.
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return math.isfinite(number) if isinstance(number, float) else abs(number) <= sys.float_info.max


_NOT_NEGATIVE: Final = Annotated[float, Meta(ge=0)]
_POSITIVE: Final = Annotated[float, Meta(gt=0)]
_WHOLE: Final = Annotated[float, Meta(ge=0, multiple_of=1)]
_BOUNDS: Final[Mapping[Dimension, tuple[Any, str]]] = MappingProxyType(
    {
        "time": (_NOT_NEGATIVE, "zero or more"),
        # Rates and the frequency are divided by.
        "rate": (_POSITIVE, "more than zero"),
        "frequency": (_POSITIVE, "more than zero"),
        "count": (_WHOLE, "a whole number, zero or more"),
        "bytes": (_WHOLE, "a whole number, zero or more"),
    }
)


def check_choice(table: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> None:
    """Refuse what is none of the choices."""
    if misfit(table[key], Literal[choices]) is not None:
        raise UserError(f"{where}: {key} {brief(table[key])} does not do; give {either(choices)}")


def suggest(given: str, known: tuple[str, ...]) -> str:
    """The nearest known name, as a question."""
    close = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {close[0]}?" if close else "leave it out"


def listed(names: tuple[str, ...]) -> str:
    """The names, with commas."""
    return ", ".join(names)


def either(choices: tuple[str, ...]) -> str:
    """The choices, with `or`."""
    return " or ".join(choices)


_COUNT: Final = Annotated[int, Meta(ge=0, le=2**63 - 1)]
KINDS: Final[Mapping[Kind, tuple[Any, str]]] = MappingProxyType(
    {
        "flag": (bool | Literal[HYPOTHETICAL], f"true, false or {HYPOTHETICAL!r}"),
        "count": (_COUNT, "a whole number, zero or more"),
        "bytes": (_COUNT, "a whole number of bytes, zero or more"),
        "text": (Text, "a text in quotes"),
    }
)
