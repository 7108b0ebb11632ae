"""Damage: what arrived is not what was sent. The one definition, for tables, pages, figures, verdicts and tests.

A run is damaged if a page is stale at the destination, or a packet was delivered with other content, out of nothing,
or twice. It is whole if the two memories were compared and nothing of this was found. A run whose memories were never
compared (it failed, was skipped, or never converged) is neither, unless damage was counted before it ended.

Over repeats damage is the worst run and the number of damaged runs, never a median: one damaged run in nine is damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

WHOLE = "WHOLE"
DAMAGED = "DAMAGED"


@dataclass(frozen=True)
class Kind:
    """A way to be damaged: the measure that counts it, and what one and many of it are called."""

    measure: str
    one: str
    many: str

    def counted(self, count: float) -> str:
        """`1 stale payload page`, `12 stale payload pages`."""
        return f"{count:,.0f} {self.one if count == 1 else self.many}"


STALE = (
    Kind("stale_pages_payload", "stale payload page", "stale payload pages"),
    Kind("stale_pages_descriptor", "stale descriptor page", "stale descriptor pages"),
    Kind("stale_pages_other", "stale other page", "stale other pages"),
)
"""Pages that differ at the destination from the source's at the stop."""

PACKETS = (
    Kind("packets_corrupted", "corrupted packet", "corrupted packets"),
    Kind("packets_phantom", "phantom packet", "phantom packets"),
    Kind("packets_duplicated", "packet delivered twice", "packets delivered twice"),
    Kind("packets_sent_corrupted", "corrupted packet sent", "corrupted packets sent"),
)
"""Packets that are not what was sent."""

KINDS = (*STALE, *PACKETS)
MEASURES = tuple(kind.measure for kind in KINDS)
COMPARED = "pages_compared"
"""Without a page compared nobody knows whether the memory arrived whole."""


def damage_of(row: Mapping[str, Any]) -> dict[str, int]:
    """By measure, what of a run is damaged; empty if nothing that was counted is."""
    found = {name: _count(row.get(name)) for name in MEASURES}
    return {name: count for name, count in found.items() if count > 0}


def was_compared(row: Mapping[str, Any]) -> bool:
    """Whether a run got as far as the comparison of the two memories."""
    return _count(row.get(COMPARED)) > 0


def verdict_of(row: Mapping[str, Any]) -> str | None:
    """`WHOLE`, `DAMAGED`, or None for a run that is neither."""
    if damage_of(row):
        return DAMAGED
    return WHOLE if was_compared(row) else None


@dataclass(frozen=True)
class Damage:
    """Of some runs, usually the repeats of one experiment: how many are damaged, and the worst of each kind."""

    runs: int
    damaged: int
    compared: int
    """Runs that are whole or damaged."""
    worst: Mapping[str, int] = field(default_factory=dict)
    """By measure, the most in a single run."""

    @property
    def verdict(self) -> str | None:
        """`DAMAGED` if any run is, `WHOLE` if all that were compared are whole, None if none was compared."""
        if self.damaged:
            return DAMAGED
        return WHOLE if self.compared else None

    @property
    def short(self) -> str:
        """`WHOLE`, `DAMAGED 1/9`, or `-`: fit for a column."""
        if self.damaged and self.runs > 1:
            return f"{DAMAGED} {self.damaged}/{self.runs}"
        return self.verdict or "-"

    @property
    def how_much(self) -> str:
        """`512 stale payload pages, 670 corrupted packets`; empty if nothing is damaged."""
        return ", ".join(
            kind.counted(self.worst[kind.measure]) for kind in KINDS if kind.measure in self.worst
        )

    def __str__(self) -> str:
        """`DAMAGED in 1 of 9 runs (at worst 12 stale payload pages)`, `WHOLE in 8 of 9 runs (1 not compared)`."""
        if self.damaged:
            if self.runs == 1:
                return f"{DAMAGED} ({self.how_much})"
            return f"{DAMAGED} in {self.damaged} of {self.runs} runs (at worst {self.how_much})"
        if not self.compared:
            return "not compared"
        if self.compared == self.runs:
            return WHOLE if self.runs == 1 else f"{WHOLE} in all {self.runs} runs"
        return f"{WHOLE} in {self.compared} of {self.runs} runs ({self.runs - self.compared} not compared)"

    def to_json(self) -> dict[str, Any]:
        """Plain values; `verdict` is null where nothing was compared."""
        return {
            "verdict": self.verdict,
            "damaged_runs": self.damaged,
            "compared_runs": self.compared,
            "runs": self.runs,
            "worst": dict(self.worst),
        }


def damage(rows: Iterable[Mapping[str, Any]]) -> Damage:
    """Of runs, each a mapping from columns of `schema.RUNS` to values."""
    runs = damaged = compared = 0
    worst: dict[str, int] = {}
    for row in rows:
        found, verdict = damage_of(row), verdict_of(row)
        runs += 1
        damaged += verdict == DAMAGED
        compared += verdict is not None
        for name, count in found.items():
            worst[name] = max(count, worst.get(name, 0))
    return Damage(runs, damaged, compared, worst)


def damage_in(runs: pandas.DataFrame) -> Damage:
    """Of the rows of a frame of runs."""
    names = [name for name in (*MEASURES, COMPARED) if name in runs.columns]
    columns = [runs[name].tolist() for name in names]  # a frame as dicts takes ten times as long
    return damage(dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _count(value: Any) -> int:
    """Of what a row or a frame holds; what is missing (None, NaN, NA) is none."""
    try:
        return 0 if value is None or value != value else int(value)
    except (TypeError, ValueError):  # pandas.NA has no truth value
        return 0
