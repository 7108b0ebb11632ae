"""A stock QEMU and a real Linux: its own ixgbevf drives the suite's VF, and QEMU migrates it for real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.testbeds.qemu.refusals import refusals

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.records import Outcome
    from vfbench.testbeds import Progress

__all__ = ["refusals", "run"]


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment`` on two QEMUs. UserError where parts are missing, RunFailed for a run that can't go on."""
    # Only now: what waits for QEMU is not wanted where another testbed is.
    from vfbench.testbeds.qemu.one_run import run as run_on_qemu

    return run_on_qemu(experiment, profile, progress)
