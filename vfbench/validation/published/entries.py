"""The published results: read from results.toml, checked, as frozen entries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from vfbench.experiment import DEFAULT_PROFILE
from vfbench.untrusted import read_toml, shown

Take = Literal["value", "ratio", "loss", "share", "difference", "longer", "costs", "pending"]

FILE: Final = Path(__file__).with_name("results.toml")
RUNS: Final[Mapping[str, int]] = {
    "value": 1,
    "ratio": 2,
    "loss": 2,
    "share": 3,
    "difference": 2,
    "longer": 2,
    "costs": 0,
    "pending": 0,
}
"""How many runs each way of taking the figure needs; what is pending waits for its mechanism, and `costs` adds up what
the machine charges for the one step that was measured."""
GOAL: Final = 0.25
"""The largest relative error that meets a row's goal: one figure for every row, fixed before any of them is run."""


@dataclass(frozen=True)
class Run:
    """One run, as `bench run` would be told."""

    strategy: str
    workload: str
    settings: tuple[str, ...]
    profile: str


@dataclass(frozen=True)
class Charged:
    """What the machine charges for one step: times of a profile, and bytes that a line has to carry first."""

    profile: str
    costs: tuple[str, ...]
    queued: tuple[str, ...] = ()
    line_bps: int = 0


@dataclass(frozen=True)
class Published:
    """One published result, and how the suite predicts it. `low` and `high` are equal for a single figure.

    `needs` names the mechanism that a pending row waits for. `explains` says what the source had and the suite has
    not; neither changes whether the goal is met.
    """

    name: str
    what: str
    low: float
    high: float
    unit: str
    sure: str
    source: str
    machine: str
    take: Take
    measure: str
    times: float
    runs: tuple[Run, ...]
    charged: Charged | None
    needs: str
    explains: str

    @property
    def published(self) -> str:
        """The figure, or the range, as text."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"

    def error(self, predicted: float) -> float:
        """How far off, relative to what was published: 0 within its range, less than 0 for too low."""
        nearest = min(max(predicted, self.low), self.high)
        return relative_error(predicted, nearest)


def published_results(path: Path = FILE) -> tuple[Published, ...]:
    """Every entry of the file, in its order; ValueError names one that is not whole."""
    document = read_toml(path, shown(path), "give the results in TOML")
    return tuple(_entry(table) for table in document["result"])


def _entry(table: Mapping[str, Any]) -> Published:
    stated = table["published"]
    low, high = stated if isinstance(stated, list) else (stated, stated)
    runs = tuple(
        Run(run["strategy"], run["workload"], tuple(run.get("set", ())), run.get("profile", DEFAULT_PROFILE))
        for run in table.get("run", ())
    )
    entry = Published(
        **{key: table[key] for key in ("name", "what", "unit", "sure", "source", "machine", "take")},
        low=float(low),
        high=float(high),
        measure=table.get("measure", ""),
        times=table.get("times", 1.0),
        runs=runs,
        charged=_charged(table),
        needs=table.get("needs", ""),
        explains=table.get("explains", ""),
    )
    if len(runs) != RUNS[entry.take]:
        raise ValueError(f"{entry.name}: {entry.take} takes {RUNS[entry.take]} runs, not {len(runs)}")
    if (entry.charged is not None) != (entry.take == "costs"):
        raise ValueError(f"{entry.name}: charged says which costs are added up, and only for take = costs")
    if (entry.needs != "") != (entry.take == "pending"):
        raise ValueError(f"{entry.name}: needs says what a pending row waits for, and only that")
    return entry


def _charged(table: Mapping[str, Any]) -> Charged | None:
    stated = table.get("charged")
    if stated is None:
        return None
    queued = tuple(stated.get("queued", ()))
    return Charged(
        stated.get("profile", DEFAULT_PROFILE), tuple(stated["costs"]), queued, int(stated.get("line_bps", 0))
    )


def relative_error(predicted: float, observed: float) -> float:
    """(predicted - observed) / observed; infinite beside a zero that is not met."""
    if predicted == observed:
        return 0.0
    return (predicted - observed) / observed if observed else math.copysign(math.inf, predicted - observed)
