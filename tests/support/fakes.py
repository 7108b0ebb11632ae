"""Strategies, a workload, a profile and a testbed that only pretend: for tests of what lies around a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from vfbench.errors import RunFailed
from vfbench.experiment import Experiment
from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.parameters import parameter
from vfbench.records import Outcome
from vfbench.strategy import Migration, Strategy
from vfbench.workload import Workload


class OnVf(Strategy):
    """A strategy that is nothing but a VF."""

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(),)

    def migrate(self, migration: Migration) -> None:
        """Never carried out."""


@dataclass(frozen=True)
class Careful(OnVf):
    """Marks every page.

    More on that.
    """

    name: ClassVar[str] = "careful"

    touched_bytes: int = parameter(1, unit="bytes", low=1, high=64, help="bytes touched per buffer")
    atomic: bool = parameter(False, help="touch in one instruction")
    mode: str = parameter("strict", choices=("strict", "deferred"), help="when pages are unmapped")


@dataclass(frozen=True)
class Careless(OnVf):
    """Marks nothing."""

    name: ClassVar[str] = "careless"


@dataclass(frozen=True)
class Steady(Workload):
    """Frames of one size."""

    name: ClassVar[str] = "steady"

    frame_bytes: int = parameter(64, unit="bytes", low=64, high=9018, help="length of a frame")
    skew: float = parameter(0.99, low=0.0, high=2.0, help="exponent of the distribution of flows")


@dataclass(frozen=True)
class Replay(Workload):
    """Frames from a file."""

    name: ClassVar[str] = "replay"

    capture: str = parameter("", help="file to replay")


STRATEGIES: dict[str, type[Strategy]] = {"careful": Careful, "careless": Careless}
WORKLOADS: dict[str, type[Workload]] = {"steady": Steady, "replay": Replay}


@dataclass(frozen=True)
class Figures:
    """As much of a profile as records need."""

    name: str = "made-up"
    digest: str = "0123456789abcdef"

    def to_json(self) -> dict[str, Any]:
        return {"exit": 1}

    def refusals(self, needs: object) -> tuple[str, ...]:
        return ()

    def hypothetical(self, needs: object) -> tuple[str, ...]:
        return ()


def experiment(**changes: Any) -> Experiment:
    return Experiment(**{"strategy": Careful(), "workload": Steady(), **changes})


def outcome(**changes: Any) -> Outcome:
    """A run that went well, with a few of its measures."""
    made = Outcome(
        state="ok",
        measures={
            "gbps": 9.5,
            "packets_offered": 1000,
            "packets_delivered": 990,
            "packets_lost": 10,
            "converged": True,
            "sent_bytes": 1 << 30,
            "downtime_ms": 12.5,
        },
        rounds=[{"round": 0, "sent_pages": 262144}, {"round": 1, "sent_pages": 512}],
        intervals=[{"interval": 0, "phase": "steady", "gbps": 9.5}],
        wall_s=0.25,
    )
    return dataclasses.replace(made, **changes)


def pretend_testbed(*, failing: str = "", refusing: str = "", interrupting_at: int = -1) -> SimpleNamespace:
    """A testbed on which a strategy fails, a parameter can't be honoured, or Ctrl-C comes at a run."""
    runs: list[Experiment] = []

    def run(experiment: Experiment, profile: object, progress: Any) -> Outcome:
        if len(runs) == interrupting_at:
            raise KeyboardInterrupt
        runs.append(experiment)
        progress(0.5, "steady")
        if experiment.strategy.name == failing:
            raise RunFailed("the ring stalled")
        return outcome(measures={"gbps": float(experiment.seed), "packets_offered": 1000})

    def refusals(experiment: Experiment) -> list[str]:
        return [refusing] if refusing else []

    return SimpleNamespace(run=run, refusals=refusals, runs=runs)
