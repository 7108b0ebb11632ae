"""A stock QEMU and a real Linux: its own ixgbevf drives the suite's VF, and QEMU migrates it for real."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from vfbench.testbeds.qemu.kernels_own import decided_by_kernel
from vfbench.testbeds.qemu.refusals import refusals

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.records import Outcome
    from vfbench.testbeds import Progress

__all__ = ["adapted", "refusals", "run"]


def adapted(experiment: Experiment, given: Collection[str] = ()) -> Experiment:
    """``experiment`` with what a stock guest has by itself, where the strategy's fields were not ``given``.

    What was given stays as it is, and is refused if a stock guest cannot have it.
    """
    strategy = experiment.strategy
    own = {**type(strategy).linux_defaults, **decided_by_kernel(experiment)}
    left = {
        field.name: own[field.name]
        for field in fields(strategy)
        if field.name in own and field.name not in given and getattr(strategy, field.name) == field.default
    }
    return replace(experiment, strategy=replace(strategy, **left)) if left else experiment


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` on two QEMUs. UserError where parts are missing, RunFailed for a run that can't go on."""
    # Only now: what waits for QEMU is not wanted where another testbed is.
    from vfbench.testbeds.qemu.one_run import run as run_on_qemu

    return run_on_qemu(experiment, profile, progress)
