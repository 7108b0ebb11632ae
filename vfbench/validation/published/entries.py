"""The published results: read from results.toml, checked, as frozen entries."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from vfbench.experiment import DEFAULT_PROFILE

Take = Literal["value", "ratio", "share", "formula", "nothing"]

FILE: Final = Path(__file__).with_name("results.toml")
RUNS: Final[Mapping[str, int]] = {"value": 1, "ratio": 2, "share": 3, "formula": 0, "nothing": 0}
"""How many runs each way of taking the figure needs."""


@dataclass(frozen=True)
class Run:
    """One run, as `bench run` would be told."""

    strategy: str
    workload: str
    settings: tuple[str, ...]
    profile: str


@dataclass(frozen=True)
class Published:
    """One published result, and how the suite predicts it. `low` and `high` are equal for a single figure."""

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
    formula: str
    inputs: Mapping[str, float]
    lacks: str

    @property
    def published(self) -> str:
        """The figure, or the range, as text."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"

    def error(self, predicted: float) -> float:
        """How far off, relative to what was published: 0 within its range, less than 0 for too low."""
        nearest = min(max(predicted, self.low), self.high)
        return (predicted - nearest) / nearest


def published_results(path: Path = FILE) -> tuple[Published, ...]:
    """Every entry of the file, in its order; ValueError names one that is not whole."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
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
        formula=table.get("formula", ""),
        inputs=table.get("inputs", {}),
        lacks=table.get("lacks", ""),
    )
    if len(runs) != RUNS[entry.take]:
        raise ValueError(f"{entry.name}: {entry.take} takes {RUNS[entry.take]} runs, not {len(runs)}")
    return entry
