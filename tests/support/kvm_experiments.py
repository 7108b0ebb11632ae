"""Experiments that an emulated guest is done with in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strategies import ALL_STRATEGIES
from vfbench.experiment import Experiment
from vfbench.options import Options, experiments
from vfbench.plugins import load_strategies, load_workloads
from vfbench.profiles import load_profile
from vfbench.records import Outcome
from vfbench.testbeds import kvm
from workloads import ALL_WORKLOADS

SMALL = ("guest.memory=64MiB", "guest.packet-memory=16MiB", "phases.steady=200ms", "phases.after=200ms")
SMALL_POOL = {"bounce-buffers": ("bounce-buffers.pool=4MiB",)}
"""Settings of strategies whose defaults do not fit into a small guest."""
SLOW_BITS_PER_S = 500 * 8 * 84
STRATEGIES, WORKLOADS = load_strategies(ALL_STRATEGIES), load_workloads(ALL_WORKLOADS)
REFUSED = ("post-copy", "shadow-virtqueue")
"""A guest here has all its memory before it runs, and one device behind its driver."""
NAMES = tuple(strategy.name for strategy in ALL_STRATEGIES if strategy.name not in REFUSED)


def experiment(strategy: str, *settings: str, workload: str = "small-packets", **changes: Any) -> Experiment:
    """A small guest and few packets, unless ``settings`` say otherwise."""
    owner = {setting.partition("=")[0] for setting in settings}
    small = (*SMALL, *SMALL_POOL.get(strategy, ()))
    common = [setting for setting in small if setting.partition("=")[0] not in owner]
    options = Options([strategy], workload, [*common, *settings], **changes)
    (made,) = experiments(options, STRATEGIES, WORKLOADS)
    return made


def slow(workload: str = "small-packets") -> str:
    """500 frames of 64 bytes a second: a pace that an emulated guest keeps up with."""
    return f"{workload}.rate={SLOW_BITS_PER_S}bps"


def run(strategy: str, *settings: str, workload: str = "small-packets") -> Outcome:
    """Run on the real VM."""
    made = experiment(strategy, *settings, workload=workload)
    return kvm.run(made, load_profile(made.profile), lambda fraction, phase: None)


def counts(outcome: Outcome, names: Sequence[str]) -> list[int]:
    """Integer measures by name."""
    values = [outcome.measures[name] for name in names]
    return [value if isinstance(value, int) else -1 for value in values]
