"""A real VM on /dev/kvm, migrated over a socket into a second process.

Wall clock, and the kernel's own dirty log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.testbeds.kvm.refusals import refusals

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.records import Outcome
    from vfbench.testbeds import Progress

__all__ = ["refusals", "run"]


def run(experiment: Experiment, profile: Profile, progress: Progress) -> Outcome:
    """Run ``experiment``. UserError where there is no /dev/kvm, RunFailed for a run that can't go on."""
    # Only now: the kernels need numba's compiler, which a look at what is refused does not.
    from vfbench.testbeds.kvm.one_run import run as run_on_kvm

    return run_on_kvm(experiment, profile, progress)
