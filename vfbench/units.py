"""Quantities as a user writes them: `10Gbps`, `4GiB`, `300ms`, `20k`, `50%`.

Parsing is exact (decimal arithmetic, never binary floats), and a formatted quantity parses back to the very
value it was made from. Every error names the text and the units that would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cached_property
from typing import Any

from vfbench.errors import UserError

LARGEST = 2**63 - 1
"""Kernels count in signed 64-bit integers, so nothing a user writes may be larger."""

_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?\s*(\S*)", re.ASCII)
_EXACT = Context(prec=200)


class _AnyCase(dict[str, Decimal]):
    """Looked up in lower case what is all lower or all upper: in `128Mb` the small b says bits."""

    def __contains__(self, name: object) -> bool:
        plain = isinstance(name, str) and name in (name.lower(), name.upper())
        return plain and super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
        return super().get(name.lower(), default) if name in self else default


@dataclass(frozen=True)
class Scale:
    """The units of one kind of quantity, each with its size in the base unit."""

    noun: str
    metavar: str
    example: str
    factors: dict[str, Decimal]
    written: tuple[str, ...]
    """The units used when formatting, and named in errors; the rest are accepted spellings."""

    @cached_property
    def spellings(self) -> dict[str, Decimal]:
        """Any case, where that leaves one meaning: `gbps`, `1gib`; `gb/s` is none, bits and bytes differ by case."""
        found: dict[str, set[Decimal]] = {}
        for name, factor in self.factors.items():
            found.setdefault(name.lower(), set()).add(factor)
        typed = {name: factors.pop() for name, factors in found.items() if len(factors) == 1}
        return _AnyCase(typed)


def _prefixed(unit: str, prefixes: dict[str, int], scale: int = 1) -> dict[str, Decimal]:
    return {prefix + unit: Decimal(factor * scale) for prefix, factor in prefixes.items()}


_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BITS_PER_BYTE = 8
_BINARY_ALONE = {prefix: Decimal(factor) for prefix, factor in _BINARY.items()}
"""`4Gi`: of a size there is no doubt what it means."""

_BYTES = _prefixed("B", _DECIMAL | _BINARY)
_BYTES_PER_S = _prefixed("B/s", _DECIMAL | _BINARY, _BITS_PER_BYTE)
_TIMES = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
}

SCALES: dict[str, Scale] = {
    "bytes": Scale(
        "size",
        "SIZE",
        "4GiB",
        _BYTES | {"KB": Decimal(1000)} | _BINARY_ALONE,
        tuple(_BYTES),
    ),
    "ns": Scale(
        "time",
        "TIME",
        "300ms",
        {unit: Decimal(ns) for unit, ns in _TIMES.items()},
        ("ns", "us", "ms", "s", "min"),
    ),
    "bps": Scale(
        "bit rate",
        "RATE",
        "10Gbps",
        _prefixed("bps", _DECIMAL)
        | _prefixed("bit/s", _DECIMAL)
        | _prefixed("bit", _DECIMAL)
        | _prefixed("b/s", _DECIMAL)
        | _BYTES_PER_S,
        (*_prefixed("bps", _DECIMAL), *_prefixed("B/s", _BINARY)),
    ),
    "pps": Scale(
        "packet rate", "RATE", "14.88Mpps", _prefixed("pps", _DECIMAL), tuple(_prefixed("pps", _DECIMAL))
    ),
    "pages_per_s": Scale(
        "page rate",
        "RATE",
        "20kpages/s",
        _prefixed("pages/s", _DECIMAL),
        tuple(_prefixed("pages/s", _DECIMAL)),
    ),
    "count": Scale("count", "COUNT", "20000 or 20k", _prefixed("", _DECIMAL), ("", "k", "M", "G")),
    "ratio": Scale("ratio", "RATIO", "0.5 or 50%", {"": Decimal(1), "%": Decimal("0.01")}, ("", "%")),
    "number": Scale("number", "NUMBER", "0.99", {"": Decimal(1)}, ("",)),
}


def parse_whole(text: str, unit: str) -> int:
    """The quantity in whole base units; UserError if it is none, or not a whole number of them."""
    value = _parse(text, unit)
    whole = int(value)
    if whole != value:
        smallest = min(SCALES[unit].written, key=lambda name: SCALES[unit].factors[name])
        raise UserError(f"{_shown(text)} is not a whole number of {smallest or SCALES[unit].noun + 's'}")
    return whole


def parse_number(text: str, unit: str) -> float:
    """The quantity in base units as the nearest float; UserError if it is none."""
    return float(_parse(text, unit))


def format_quantity(value: float, unit: str) -> str:
    """A short text that parses back to exactly `value` (in base units), without a point where it can."""
    scale = SCALES[unit]
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if exact == 0 or scale.factors.get("") == 1:  # zero and plain numbers read best as they are
        return _plain(exact)
    candidates = []
    for name in scale.written:
        count = _EXACT.divide(exact, scale.factors[name])
        if _EXACT.multiply(count, scale.factors[name]) == exact:
            candidates.append(_plain(count) + name)
    return min(candidates, key=lambda text: ("." in text, len(text)))


def accepted_units(unit: str) -> str:
    """`B, kB, MB, ...`: the units of a kind, as errors and help name them."""
    return ", ".join(name or "none" for name in SCALES[unit].written)


def _parse(text: str, unit: str) -> Decimal:
    scale = SCALES[unit]
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    name = match[3] if match else ""
    bare_zero = match is not None and name == "" and Decimal(match[1]) == 0
    if match is not None and not bare_zero:
        _refuse_ambiguous(text, match[1] + (match[2] or ""), name, unit)
    if match is None or (name not in scale.factors and name not in scale.spellings and not bare_zero):
        raise UserError(
            f"{_shown(text)} is no {scale.noun}: write a number and its unit ({accepted_units(unit)}), "
            f"like {scale.example}"
        )
    factor = scale.factors.get(name, scale.spellings.get(name, Decimal(1)))
    value = _EXACT.multiply(Decimal(match[1] + (match[2] or "")), factor)
    if value > LARGEST:
        raise UserError(f"{_shown(text)} is too large: a {scale.noun} ends at {LARGEST} in its smallest unit")
    return value


_TWO_MEANINGS = {
    "bytes": ("{}iB", "as QEMU reads it", "{}B", "a power of ten"),
    "bps": ("{}bps", "as iperf reads it", "{}iB/s", "as QEMU reads it"),
}
"""What a bare prefix means to the tools that take one: of a size, and of a rate."""


def _refuse_ambiguous(text: str, number: str, name: str, unit: str) -> None:
    """UserError with both meanings for `4G`, `5g` or `5gb/s`; nothing for what has one meaning."""
    if unit in _TWO_MEANINGS and name.upper() in ("K", "M", "G", "T"):
        one, first, other, second = _TWO_MEANINGS[unit]
        meanings = [number + each.format(_prefix(name, each)) for each in (one, other)]
        choice = f"{meanings[0]} ({first}) or {meanings[1]} ({second})"
        raise UserError(f"{_shown(text)} has two meanings: write {choice}")
    factors = SCALES[unit].factors
    alike = [each for each in factors if each.lower() == name.lower()]
    if name not in factors and len({factors[each] for each in alike}) > 1:
        choice = " or ".join(number + each for each in alike)
        raise UserError(f"{_shown(text)} has {len(alike)} meanings: write {choice}")


def _prefix(name: str, pattern: str) -> str:
    """`k` as its unit writes it: Ki, kB, kbps."""
    return name.upper() if "i" in pattern or name.upper() != "K" else "k"


def _plain(value: Decimal) -> str:
    """Digits without an exponent and without trailing zeros after the point."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
