"""Where a claim turns: the settings by which the cells that agree part from those that don't.

A small decision tree over what varies: at each step the split that parts them best, numbers at a threshold and
words one against the rest. It describes the cells that were run and promises nothing between them: `rate up to
1Gbps` and `from 5Gbps` says that the turn lies in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vfbench.parameters import unit_of, user_name
from vfbench.units import format_quantity

DEEPEST = 3
MOST_SHOWN = 4

Point = tuple[dict[str, Any], bool]
"""The axes of a cell, and whether the claim holds in it."""
Allowed = dict[str, tuple[Any, ...]]
"""Values by axis, of those that occur."""

Along = dict[str, tuple[str, ...]]

_SETTINGS = ("guest.", "link.", "driver.", "device.", "migration.", "workload.")
"""What may stand for something else; a strategy's traits and parameters say the same thing twice."""
_NEVER = ("strategy", "profile", "profile_digest", "faults")


@dataclass(frozen=True)
class Range:
    """Cells whose axes have values of ``allowed`` (only those that occur among them), and how many hold."""

    allowed: Allowed
    holding: int
    count: int
    along: Along = field(default_factory=dict)
    """By axis, those that parted the cells in the same way, so that either may be what it is."""


def where_it_turns(points: Sequence[Point], first: Sequence[str] = ()) -> tuple[str, str]:
    """In words, where it holds and where it fails; empty for a side that has no cell.

    ``first`` are the axes that win where several part the cells equally well.
    """
    axes = _varying(points, first)
    ranges = _split(points, axes, {}, {}, DEEPEST)
    holding = [each for each in ranges if 2 * each.holding > each.count]
    failing = [each for each in ranges if 2 * each.holding <= each.count]
    return _words(holding, axes, True), _words(failing, axes, False)


def _varying(points: Sequence[Point], first: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Axes that every cell has and that differ between them, with their values in order."""
    if not points:
        return {}
    names = dict.fromkeys([*first, *points[0][0]])
    axes = {}
    for name in names:
        if name in _NEVER or any(_missing(axis.get(name)) for axis, _ in points):
            continue
        values = _ordered({axis[name] for axis, _ in points})
        if len(values) > 1:
            axes[name] = values
    return axes


def _split(points: Sequence[Point], axes: Allowed, allowed: Allowed, along: Along, depth: int) -> list[Range]:
    holding = sum(holds for _, holds in points)
    here = [Range(_occurring(points, allowed), holding, len(points), along)]
    if holding in (0, len(points)) or depth == 0:
        return here
    candidates = [
        (_impurity(points, name, left), name, left)
        for name, values in axes.items()
        for left in _partitions(tuple(each for each in values if each in allowed.get(name, values)))
    ]
    if not candidates:
        return here
    best, name, left = min(candidates, key=lambda candidate: candidate[0])
    if best >= _gini(holding, len(points)) - 1e-9:
        return here
    known = allowed.get(name, axes[name])
    right = tuple(value for value in known if value not in left)
    together = {**along, name: _inseparable(points, axes, name, left)}
    ranges = []
    for side in (left, right):
        inside = [point for point in points if point[0][name] in side]
        ranges += _split(inside, axes, {**allowed, name: side}, together, depth - 1)
    return ranges


def _inseparable(points: Sequence[Point], axes: Allowed, name: str, left: tuple[Any, ...]) -> tuple[str, ...]:
    """Other settings that have no value on both sides of a split: no run tells them from ``name``."""
    found = []
    for other in axes:
        if other == name or not (other.startswith(_SETTINGS) and name.startswith(_SETTINGS)):
            continue
        sides = [
            {axis[other] for axis, _ in points if (axis[name] in left) is inside} for inside in (True, False)
        ]
        if not sides[0] & sides[1]:
            found.append(other)
    return tuple(found)


def _occurring(points: Sequence[Point], allowed: Allowed) -> Allowed:
    found = {name: {axis[name] for axis, _ in points} for name in allowed}
    return {
        name: tuple(value for value in values if value in found[name]) for name, values in allowed.items()
    }


def _partitions(values: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    """The left sides of the splits: what lies below a threshold, or one word of several."""
    if all(_is_number(value) for value in values):
        return [values[:count] for count in range(1, len(values))]
    return [(value,) for value in values] if len(values) > 1 else []


def _impurity(points: Sequence[Point], name: str, left: tuple[Any, ...]) -> float:
    total = 0.0
    for inside in (True, False):
        side = [holds for axis, holds in points if (axis[name] in left) is inside]
        total += _gini(sum(side), len(side))
    return total


def _gini(holding: int, count: int) -> float:
    """Gini impurity, weighted by the number of cells."""
    return 2 * holding * (count - holding) / count if count else 0.0


def _words(ranges: Sequence[Range], axes: Allowed, holds: bool) -> str:
    if not ranges:
        return ""
    largest = sorted(ranges, key=lambda each: -each.count)
    shown = [_range_text(each, axes, holds) for each in largest[:MOST_SHOWN]]
    if len(largest) > MOST_SHOWN:
        shown.append(f"in {sum(each.count for each in largest[MOST_SHOWN:])} further cells")
    return ", or ".join(shown)


def _range_text(found: Range, axes: Allowed, holds: bool) -> str:
    matching = found.holding if holds else found.count - found.holding
    mixed = "" if matching == found.count else f"in {matching} of the {found.count} "
    conditions = [
        condition(name, values, axes[name]) + _aside(found.along.get(name, ()))
        for name, values in found.allowed.items()
    ]
    if not conditions:
        return mixed.strip() or "everywhere"
    return f"{mixed}where " + " and ".join(conditions)


def _aside(others: tuple[str, ...]) -> str:
    """What the runs can't tell it from."""
    return f" ({', '.join(map(_label, others))} varied with it)" if others else ""


def condition(name: str, values: tuple[Any, ...], known: tuple[Any, ...]) -> str:
    """`driver.page-reuse is none`, `workload.frame is up to 512B`."""
    label = _label(name)
    if len(values) == 1 and not (_is_number(values[0]) and len(known) > 2):
        return f"{label} is {_text(name, values[0])}"
    if all(_is_number(value) for value in known):
        low, high = _text(name, values[0]), _text(name, values[-1])
        if values[0] == known[0]:
            return f"{label} is {high}" if len(values) == 1 == len(known) else f"{label} is up to {high}"
        if values[-1] == known[-1]:
            return f"{label} is from {low}"
        return f"{label} is {low}" if low == high else f"{label} is {low} to {high}"
    return f"{label} is " + " or ".join(_text(name, value) for value in values)


def _label(name: str) -> str:
    owner, dot, field = name.partition(".")
    return f"{owner}.{user_name(field, unit_of(field))}" if dot else name.replace("_", " ")


def _text(name: str, value: Any) -> str:
    if _is_number(value):
        unit = unit_of(name.rpartition(".")[2])
        return format_quantity(int(value) if float(value).is_integer() else float(value), unit or "number")
    return str(value).lower() if str(value) in ("True", "False") else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _missing(value: object) -> bool:
    import pandas

    return bool(pandas.isna(value))  # type: ignore[call-overload]


def _ordered(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values, key=lambda value: (isinstance(value, str), value)))
