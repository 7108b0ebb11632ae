"""Checks of what a profile's file states: one line of refusal that names the place, the value and what would do."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from vfbench.errors import UserError
from vfbench.profiles.figures import Dimension
from vfbench.profiles.machine import HYPOTHETICAL, Kind
from vfbench.untrusted import brief


def number(table: Mapping[str, Any], key: str, dimension: Dimension, where: str) -> float:
    """A finite number that fits the dimension."""
    number = table[key]
    if not _is_finite(number):
        raise UserError(f"{where}: {key} {brief(number)} is not a finite number; give one")
    accepts, wanted = _BOUNDS[dimension]
    if not accepts(number):
        raise UserError(f"{where}: {key} {brief(number)} does not do for a {dimension} figure; give {wanted}")
    return float(number)


def _is_finite(number: object) -> bool:
    # bool is an int to Python, but `value = true` is no cost; a TOML integer may exceed every float.
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return math.isfinite(number) if isinstance(number, float) else abs(number) <= sys.float_info.max


def _not_negative(number: float) -> bool:
    return number >= 0


def _positive(number: float) -> bool:
    return number > 0


def _whole(number: float) -> bool:
    return number >= 0 and number == int(number)


_BOUNDS: Final[Mapping[Dimension, tuple[Callable[[float], bool], str]]] = MappingProxyType(
    {
        "time": (_not_negative, "zero or more"),
        # Rates and the frequency are divided by.
        "rate": (_positive, "more than zero"),
        "frequency": (_positive, "more than zero"),
        "count": (_whole, "a whole number, zero or more"),
        "bytes": (_whole, "a whole number, zero or more"),
    }
)


def text(table: Mapping[str, Any], key: str, where: str) -> str:
    """A text that is not blank."""
    text = table[key]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: {key} {brief(text)} is no text; give a sentence in quotes")
    return text


def check_choice(table: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> None:
    """Refuse what is none of the choices."""
    if table[key] not in choices:
        raise UserError(f"{where}: {key} {brief(table[key])} does not do; give {either(choices)}")


def check_keys(
    table: Mapping[str, Any], wanted: tuple[str, ...], where: str, optional: tuple[str, ...] = ()
) -> None:
    """Refuse an unknown key, and a missing one that is not optional."""
    for key in table:
        if key not in (*wanted, *optional):
            raise UserError(f"{where}: unknown key {brief(key)}; {suggest(key, (*wanted, *optional))}")
    for key in wanted:
        if key not in table:
            raise UserError(f"{where}: {key} is missing; give {listed(wanted)}")


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


def _is_whole(has: object) -> bool:
    return isinstance(has, int) and not isinstance(has, bool) and 0 <= has < 2**63


KINDS: Final[Mapping[Kind, tuple[Callable[[object], bool], str]]] = MappingProxyType(
    {
        "flag": (
            lambda has: has is True or has is False or has == HYPOTHETICAL,
            f"true, false or {HYPOTHETICAL!r}",
        ),
        "count": (_is_whole, "a whole number, zero or more"),
        "bytes": (_is_whole, "a whole number of bytes, zero or more"),
        "text": (lambda has: isinstance(has, str) and has.strip() != "", "a text in quotes"),
    }
)
