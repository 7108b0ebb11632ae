"""Small experiments on the model, and the runs that tests look at.

Everything is a quarter of a default or less, so that a run takes about a tenth of a second once the kernels are
compiled; what a test is about it sets itself.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from strategies import ALL_STRATEGIES
from vfbench.errors import UserError
from vfbench.experiment import Driver, Experiment, Guest, Phases
from vfbench.kernels import COMPILED
from vfbench.parameters import parameters_of
from vfbench.profiles import Profile, load_profile
from vfbench.records import Outcome
from vfbench.strategy import Strategy
from vfbench.testbeds import model
from vfbench.testbeds.kvm.host.device import KvmDevice
from vfbench.testbeds.model.machine import Machine
from vfbench.workload import Workload
from workloads import ALL_WORKLOADS, Bulk

KIB, MIB = 1 << 10, 1 << 20
US, MS, SECOND = 10**3, 10**6, 10**9

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}

SMALL: dict[str, dict[str, Any]] = {"bounce-buffers": {"pool_bytes": 4 * MIB}}
"""Parameters of strategies whose defaults are too large for the small guest here."""
PROFILES = ("xeon-82599", "modern-100g")


def small(name: str) -> Strategy:
    """A strategy with its defaults, but for what the small guest has no room for."""
    return STRATEGIES[name](**SMALL.get(name, {}))


@functools.cache
def profile_for(strategy: Strategy) -> Profile:
    """The first of PROFILES whose machine has what a strategy's mechanisms need."""
    needs = [need for each in strategy.mechanisms for need in each.needs]
    known = [load_profile(name) for name in PROFILES]
    return next(each for each in known if not each.refusals(needs))


GUEST = Guest(memory_bytes=64 * MIB, packet_memory_bytes=8 * MIB)
DRIVER = Driver(tx_ring=256)
PHASES = Phases(warmup_ns=MS, steady_ns=3 * MS, after_ns=3 * MS)


@functools.cache
def profile() -> Profile:
    return load_profile("xeon-82599")


def costs(**values: float) -> Profile:
    """The default profile with some figures changed, each in the unit that it has there."""
    return with_costs(profile(), **values)


def with_costs(known_profile: Profile, **values: float) -> Profile:
    """A profile with some figures changed, each in the unit that it has there."""
    figures = dict(known_profile.figures)
    for name, value in values.items():
        known = figures[name]
        figures[name] = dataclasses.replace(
            known, value=value, low=min(known.low, value), high=max(known.high, value)
        )
    return dataclasses.replace(known_profile, figures=figures)


def fast_processor() -> Profile:
    """Whatever takes a processor's cycles takes none."""
    return costs(**{name: 0 for name, figure in profile().figures.items() if figure.unit == "cycles"})


def changed(group: Any, **changes: Any) -> Any:
    """A copy of a settings group; ``dataclasses.replace`` by another name, to keep tests on one line."""
    return type(group)(
        **{**{each.field: getattr(group, each.field) for each in parameters_of(group)}, **changes}
    )


def experiment(strategy: Strategy, workload: Workload | None = None, **parts: Any) -> Experiment:
    """Small: 64 MiB of guest, of which 8 are packet memory, a few milliseconds of each phase."""
    small: dict[str, Any] = {"guest": GUEST, "driver": DRIVER, "phases": PHASES}
    return Experiment(strategy=strategy, workload=workload or Bulk(), **{**small, **parts})


def run(
    strategy: Strategy, workload: Workload | None = None, figures: Profile | None = None, **parts: Any
) -> Outcome:
    return model.run(
        experiment(strategy, workload, **parts), figures or profile_for(strategy), lambda *_: None
    )


def machine(
    strategy: Strategy, workload: Workload | None = None, figures: Profile | None = None, **parts: Any
) -> Machine:
    """A machine that nobody has advanced yet."""
    return Machine(experiment(strategy, workload, **parts), figures or profile_for(strategy))


def measured(
    strategy: Strategy, workload: Workload | None = None, figures: Profile | None = None, **parts: Any
) -> dict[str, Any]:
    """The measures of a run that has to end ok."""
    outcome = run(strategy, workload, figures, **parts)
    assert outcome.state == "ok", outcome.reason
    return outcome.measures


@functools.cache
def why_no_kvm() -> str:
    """Why no real VM can be had here; empty if one can."""
    try:
        with KvmDevice():
            pass
    except UserError as error:
        return str(error)
    return "" if COMPILED else "NUMBA_DISABLE_JIT is set: no guest code can be compiled"
