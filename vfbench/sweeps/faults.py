"""The list of faults: a TOML file with settings that show each, and the two experiments that it becomes.

One with the switch off, which has to arrive whole, and one with it on, which has to be caught. A comparison that has
never caught anything proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED, Experiment
from vfbench.options import Options, experiments
from vfbench.parameters import unknown
from vfbench.sweeps.shipped import SWEEPS
from vfbench.untrusted import read_toml, shown

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

FILE = SWEEPS / "faults.toml"
KEYS = ("number", "what", "strategy", "workload", "set", "switch")


@dataclass(frozen=True)
class Fault:
    """`settings`: what both runs have; `switch`: what turns the fault on, over these."""

    number: str
    what: str
    strategy: str
    workload: str
    settings: Mapping[str, str]
    switch: Mapping[str, str]

    def options(self, *, on: bool, profile: str, testbed: str, seed: int) -> Options:
        """As `bench run` would be told."""
        given = {**self.settings, **(self.switch if on else {})}
        settings = [f"{name}={value}" for name, value in given.items()]
        return Options([self.strategy], self.workload, settings, profile=profile, testbed=testbed, seed=seed)

    @property
    def switched(self) -> str:
        """`dummy-write.when=given`."""
        return " ".join(f"{name}={value}" for name, value in self.switch.items())


@dataclass(frozen=True)
class Pair:
    """A fault's two experiments."""

    fault: Fault
    off: Experiment
    on: Experiment


def read_faults(path: Path = FILE) -> list[Fault]:
    """In the order of the file; UserError for one that is broken."""
    try:
        document = read_toml(path, shown(path), "name a list of faults in TOML")
        common = document.get("common", {})
        return [_fault(each, common, path) for each in document["fault"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: no list of faults ({type(error).__name__}: {error})") from error


def chosen_faults(faults: Sequence[Fault], only: Sequence[str]) -> list[Fault]:
    """Those with a number or a strategy that is named, all if none is; UserError for a name that fits none."""
    words = [word.strip() for text in only for word in text.split(",")]
    for word in words:
        if not any(word in (each.number, each.strategy) for each in faults):
            known = dict.fromkeys([each.number for each in faults] + [each.strategy for each in faults])
            raise unknown("--only: no fault has the number or strategy", word, known)
    return [each for each in faults if not words or each.number in words or each.strategy in words]


def pairs(
    faults: Sequence[Fault],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    *,
    profile: str = DEFAULT_PROFILE,
    testbed: str = DEFAULT_TESTBED,
    seed: int = 1,
) -> list[Pair]:
    """Both experiments of each fault; UserError for a name or value that won't do."""

    def made(fault: Fault, *, on: bool) -> Experiment:
        options = fault.options(on=on, profile=profile, testbed=testbed, seed=seed)
        return experiments(options, strategies, workloads)[0]

    return [Pair(fault, made(fault, on=False), made(fault, on=True)) for fault in faults]


def _fault(own: Mapping[str, Any], common: Mapping[str, Any], path: Path) -> Fault:
    for key in own:
        if key not in KEYS:
            raise unknown(f"{path}: a fault has no key", key, KEYS)
    return Fault(
        str(own["number"]),
        str(own["what"]),
        str(own["strategy"]),
        str(own.get("workload", common.get("workload", ""))),
        {name: str(value) for name, value in {**common.get("set", {}), **own.get("set", {})}.items()},
        {name: str(value) for name, value in own["switch"].items()},
    )
