"""What a testbed hands back for one run."""

from __future__ import annotations

from dataclasses import dataclass, field

from vfbench.records.schema import INTERVALS, MEASURES, ROUNDS, Cell, checked_row

STATES = ("ok", "not-converged", "failed", "timed-out", "skipped")


@dataclass(frozen=True)
class Outcome:
    """The state that a run ended in, why, and what was measured.

    `measures`, `rounds` and `intervals` hold values by the column names of `vfbench.records.schema`; what is
    left out, None or NaN is recorded as missing. ValueError for a name that the schema does not know, a
    value of another type than the column's, or a state that does not exist: faults of the testbed.
    """

    state: str
    reason: str = ""
    measures: dict[str, Cell] = field(default_factory=dict)
    rounds: list[dict[str, Cell]] = field(default_factory=list)
    intervals: list[dict[str, Cell]] = field(default_factory=list)
    wall_s: float = 0.0

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} is not one of {', '.join(STATES)}")
        if self.state != "ok" and not self.reason:
            raise ValueError(f"state {self.state!r} needs a reason")
        object.__setattr__(self, "measures", checked_row(self.measures, MEASURES))
        object.__setattr__(self, "rounds", [checked_row(row, ROUNDS) for row in self.rounds])
        object.__setattr__(self, "intervals", [checked_row(row, INTERVALS) for row in self.intervals])
