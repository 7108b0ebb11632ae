"""A profile: figures, each with its unit, its source and how sure it is, and what the machine has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from vfbench.profiles.figures import CAPABILITY_OF
from vfbench.profiles.machine import Feature, Need, Offer, hypothetical, refusals

SCHEMA: Final = 1

Sure = Literal["A", "B", "C", "M"]

_PICOSECONDS: Final[Mapping[str, int]] = MappingProxyType({"ns": 10**3, "us": 10**6, "ms": 10**9})


@dataclass(frozen=True)
class Measured:
    """How a figure with letter M was measured: where, when, how, how often; `value` is the median of the repeats.

    Its figure's `low` and `high` are the repeats' 5th and 95th percentile.
    """

    host: str
    date: str
    method: str
    repeats: int


@dataclass(frozen=True)
class Figure:
    """One cost: `value` in `unit`, plausible from `low` to `high`.

    `sure` is A (read in the source itself), B (quoted by a third party), C (memory or an estimate) or M (measured
    by `bench calibrate`; then `measured` says how).
    """

    value: float
    unit: str
    sure: Sure
    source: str
    low: float
    high: float
    what: str
    measured: Measured | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field, under its own name; `measured` only where there is one."""
        document = asdict(self)
        if self.measured is None:
            del document["measured"]
        return document


@dataclass(frozen=True)
class Profile:
    """A complete set of figures, and what the machine has. `digest` is the SHA-256 of the content, whatever the layout.

    `machine` is empty in what was recorded before profiles said what a machine has.
    """

    name: str
    summary: str
    figures: Mapping[str, Figure] = field(hash=False)
    machine: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Freeze figures and machine and derive the digest: `dataclasses.replace` cannot leave a stale one."""
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))
        object.__setattr__(self, "machine", MappingProxyType(dict(self.machine)))
        canonical = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).hexdigest())

    def __reduce__(self) -> tuple[type[Profile], tuple[str, str, dict[str, Figure], dict[str, Feature]]]:
        """Rebuild on the other side: worker processes get profiles, and a mapping proxy does not pickle."""
        return Profile, (self.name, self.summary, dict(self.figures), dict(self.machine))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Profile:
        """The profile whose content `to_json` gave, here or in an older record; KeyError or TypeError if it is none."""
        figures = {name: _recorded(figure) for name, figure in content["costs"].items()}
        machine = {name: Feature(**feature) for name, feature in content.get("machine", {}).items()}
        return cls(content["name"], content["summary"], figures, machine)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Each capability that the profile states: True, False, `hypothetical`, a number or a text."""
        return MappingProxyType({name: feature.has for name, feature in self.machine.items()})

    def refusals(self, needs: Iterable[Need]) -> tuple[str, ...]:
        """Why this machine can't have what is needed, a sentence each; empty where it can."""
        return refusals(self.name, self.machine, needs)

    def hypothetical(self, needs: Iterable[Need]) -> tuple[str, ...]:
        """Which of the needs that year's hardware lacks: a run that uses one is marked."""
        return hypothetical(self.machine, needs)

    def value(self, name: str) -> float:
        """The figure as the file states it, in the file's unit.

        Raises ValueError for a cost of something that this machine has not.
        """
        if name not in self.figures and name in CAPABILITY_OF:
            raise ValueError(f"{self.name} has no {name}: its machine lacks {CAPABILITY_OF[name]}")
        return self.figures[name].value

    def picoseconds(self, name: str) -> int:
        """A figure of dimension time, rounded to whole picoseconds; cycles by `cpu_frequency`.

        Raises ValueError for a figure that is not a time.
        """
        value, unit = self.value(name), self.figures[name].unit
        if unit == "cycles":
            return round(value * 1000 / self.value("cpu_frequency"))
        if unit in _PICOSECONDS:
            return round(value * _PICOSECONDS[unit])
        raise ValueError(f"{name} is not a time but a figure in {unit}")

    def picoseconds_per_byte(self, name: str) -> float:
        """A figure of dimension rate, turned round, so that callers need not know which unit the file chose.

        Raises ValueError for a figure that is not a rate.
        """
        value, unit = self.value(name), self.figures[name].unit
        if unit == "bytes_per_cycle":
            return 1000 / (value * self.value("cpu_frequency"))
        if unit == "bytes_per_us":
            return 10**6 / value
        raise ValueError(f"{name} is not a rate but a figure in {unit}")

    def to_json(self) -> dict[str, Any]:
        """The content in the shape of the file, and the digest."""
        return {**self._content(), "digest": self.digest}

    def _content(self) -> dict[str, Any]:
        costs = {name: figure.to_json() for name, figure in self.figures.items()}
        content = {"schema": SCHEMA, "name": self.name, "summary": self.summary, "costs": costs}
        if self.machine:
            content["machine"] = {name: feature.to_json() for name, feature in self.machine.items()}
        return content


def _recorded(table: Mapping[str, Any]) -> Figure:
    """A figure from a manifest, where `measured` is an object."""
    measured = table.get("measured")
    return Figure(**{**table, "measured": None if measured is None else Measured(**measured)})
