"""Parameters: dataclass fields that know their unit, range and meaning.

A parameter is declared once, as a field, and everything else is derived from it: what the command line
accepts, what `bench list` prints, what is refused, and what a record holds. The user's name of a parameter
is its field name without the unit suffix and with dashes: `memory_bytes` is `memory`, `rx_ring` is `rx-ring`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from vfbench.errors import UserError
from vfbench.units import LARGEST, SCALES, format_quantity, parse_number, parse_whole

Value = bool | int | float | str
_Value = TypeVar("_Value", bool, int, float, str)
_Owner = TypeVar("_Owner")

_KEY = "vfbench.parameter"
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


@dataclass(frozen=True)
class Parameter:
    """What is known of one field made by `parameter()`; low and high are in the field's unit, inclusive."""

    field: str
    name: str
    default: Value
    help: str
    unit: str | None
    low: float | None
    high: float | None
    multiple_of: int | None
    choices: tuple[Value, ...] | None
    in_identity_at_default: bool = True

    def parse(self, text: str) -> Value:
        """The value that `text` stands for, not yet checked against the range."""
        if isinstance(self.default, bool):
            return _parse_bool(text)
        if isinstance(self.default, str):
            return text
        if isinstance(self.default, int):
            return parse_whole(text, self.unit or "number")
        return parse_number(text, self.unit or "number")

    def format(self, value: Value) -> str:
        """`value` as the user would write it; `parse` gives it back exactly."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return value
        return format_quantity(value, self.unit or "number")

    def allowed(self) -> str:
        """The range or the choices in words, `""` if anything of its kind will do."""
        if self.choices is not None:
            return " | ".join(self.format(choice) for choice in self.choices)
        if isinstance(self.default, bool):
            return "true | false"
        if isinstance(self.default, str):
            return ""
        low = self.format(_same_kind(self.low or 0, self.default))
        if self.high is None:
            return f"from {low}" if self.low else ""
        words = f"{low} to {self.format(_same_kind(self.high, self.default))}"
        if self.multiple_of is not None:
            words += f", a multiple of {self.format(self.multiple_of)}"
        return words

    def checked(self, value: object) -> Value:
        """`value` if it will do (an int becomes a float where floats are wanted); UserError if not."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise UserError(f"{value!r} is no {kind.__name__}{self._hint()}")
        if self.choices is not None and value not in self.choices:
            raise UserError(f"{self.format(value)!r} is not one of {self.allowed()}")
        if not isinstance(value, bool | str):
            self._check_range(value)
        return value

    def _check_range(self, value: float) -> None:
        if not math.isfinite(value):
            raise UserError(f"{value!r} is no finite number{self._hint()}")
        high = LARGEST if self.high is None else self.high
        if not (self.low or 0) <= value <= high:
            raise UserError(f"{self.format(value) if value >= 0 else value} is out of range{self._hint()}")
        if self.multiple_of is not None and value % self.multiple_of:
            raise UserError(f"{self.format(value)} is no multiple of {self.format(self.multiple_of)}")

    def _hint(self) -> str:
        return f" ({self.allowed()})" if self.allowed() else ""


def parameter(
    default: _Value,
    *,
    help: str,  # noqa: A002 - the word that every command line uses for it
    unit: str | None = None,
    low: float | None = None,
    high: float | None = None,
    multiple_of: int | None = None,
    choices: Iterable[_Value] | None = None,
    in_identity_at_default: bool = True,
) -> _Value:
    """A dataclass field with a unit (a key of `units.SCALES`, or None), a range or choices, and a meaning.

    One that came later is not `in_identity_at_default`: experiments from before it keep their digests.

    The type of `default` is the type of the field. Numbers are never negative unless `low` says so.
    """
    if unit is not None and unit not in SCALES:
        raise TypeError(f"unit {unit!r} is not one of {', '.join(SCALES)}")
    known = None if choices is None else tuple(choices)
    metadata = {
        _KEY: {
            "help": help,
            "unit": unit,
            "low": low,
            "high": high,
            "multiple_of": multiple_of,
            "choices": known,
            "in_identity_at_default": in_identity_at_default,
        }
    }
    return dataclasses.field(default=default, metadata=metadata)


def parameters_of(owner: object) -> tuple[Parameter, ...]:
    """The parameters of a dataclass, or of an instance of one, in the order of their declaration."""
    return _declared(owner if isinstance(owner, type) else type(owner))


@cache
def _declared(owner: type) -> tuple[Parameter, ...]:
    found = []
    for field in dataclasses.fields(owner):
        if _KEY in field.metadata:
            details = field.metadata[_KEY]
            found.append(
                Parameter(
                    field=field.name,
                    name=user_name(field.name, details["unit"]),
                    default=cast("Value", field.default),
                    **details,
                )
            )
    return tuple(found)


def user_name(field: str, unit: str | None) -> str:
    """`memory_bytes` with unit bytes is `memory`."""
    return (field.removesuffix(f"_{unit}") if unit else field).replace("_", "-")


def unit_of(field: str) -> str | None:
    """The unit that a field's name ends with: records are read without the class that wrote them."""
    units = [unit for unit in SCALES if field.endswith(f"_{unit}")]
    return max(units, key=len, default=None)


def owner_name(owner: object) -> str:
    """What stands before the dot in `guest.memory`."""
    named = owner if isinstance(owner, type) else type(owner)
    return str(getattr(named, "name", named.__name__.lower()))


def find(owner: object, name: str) -> Parameter:
    """The parameter that the user calls `name` (dashes or underscores, with or without the unit suffix)."""
    known = parameters_of(owner)
    wanted = name.replace("_", "-")
    for candidate in known:
        if wanted in (candidate.name, candidate.field.replace("_", "-")):
            return candidate
    raise unknown(f"{owner_name(owner)} has no parameter", name, [each.name for each in known])


def change(instance: _Owner, texts: Mapping[str, str]) -> _Owner:
    """A copy with the named parameters set from text, all at once; UserError names the parameter and text."""
    changes: dict[str, Value] = {}
    for name, text in texts.items():
        wanted = find(instance, name)
        if wanted.field in changes:
            raise UserError(f"{owner_name(instance)}.{wanted.name} is set twice, once as {name!r}")
        try:
            changes[wanted.field] = wanted.checked(wanted.parse(text))
        except UserError as error:
            raise UserError(f"{owner_name(instance)}.{wanted.name}: {error}") from None
    return cast("_Owner", dataclasses.replace(cast("Any", instance), **changes))


def validate(instance: object) -> None:
    """For `__post_init__`: UserError for a value of the wrong type, out of range or not a choice."""
    for each in parameters_of(instance):
        value = getattr(instance, each.field)
        try:
            good = each.checked(value)
        except UserError as error:
            raise UserError(f"{owner_name(instance)}.{each.name}: {error}") from None
        if good is not value:
            # 1 and 1.0 are equal but print and hash differently; one experiment must have one digest.
            object.__setattr__(instance, each.field, good)


def changed(instance: object) -> dict[str, str]:
    """The parameters that differ from their defaults, as user's name -> text."""
    return {
        each.name: each.format(getattr(instance, each.field))
        for each in parameters_of(instance)
        if getattr(instance, each.field) != each.default
    }


def to_json(instance: object) -> dict[str, Value]:
    """Every parameter by its field name (so with its unit); `from_json` gives an equal instance."""
    return {each.field: getattr(instance, each.field) for each in parameters_of(instance)}


def from_json(owner: type[_Owner], document: object) -> _Owner:
    """An instance from `to_json`'s dict; a parameter that it leaves out takes its default."""
    if not isinstance(document, Mapping):
        raise UserError(f"{owner_name(owner)}: {document!r} is no object with parameters")
    fields = [each.field for each in parameters_of(owner)]
    for key in document:
        if key not in fields:
            raise unknown(f"{owner_name(owner)} has no parameter", str(key), fields)
    return owner(**document)


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """`<what> 'name'; there are: ...`, with the closest match first."""
    names = list(known)
    if not names:
        return UserError(f"{what} {name!r}; there are none")
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    ordered = close + [each for each in names if each not in close]
    meant = f" - did you mean {close[0]!r}? There are" if close else "; there are"
    return UserError(f"{what} {name!r}{meant}: {', '.join(ordered)}")


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise UserError(f"{text!r} is neither true nor false")
    return word in _TRUE


def _same_kind(number: float, default: Value) -> Value:
    return int(number) if isinstance(default, int) else float(number)


def identity(owner: object) -> dict[str, Value]:
    """What tells an owner from another: its parameters, without those that came later and stand at their default."""
    later = {each.field for each in parameters_of(owner) if not each.in_identity_at_default}
    defaults = {each.field: each.default for each in parameters_of(owner)}
    return {
        name: value for name, value in to_json(owner).items() if name not in later or value != defaults[name]
    }
