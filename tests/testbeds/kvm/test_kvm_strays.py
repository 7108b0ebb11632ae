"""On a real VM, too, a hook that goes where there is no memory ends its run with one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support import strays
from support.kvm_experiments import experiment, slow

from vfbench.errors import RunFailed
from vfbench.profiles import load_profile
from vfbench.testbeds import kvm

pytestmark = pytest.mark.usefixtures("kvm_host")


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [strays.Strays(strays.store_far), strays.Strays(strays.leave, strays.log_far_when_told)],
    ids=["in the guest", "on the host"],
)
def test_an_access_outside_guest_memory_is_a_failed_run_that_says_where(strategy: Any) -> None:
    made = dataclasses.replace(experiment("untracked", slow()), strategy=strategy)
    with pytest.raises(RunFailed) as failed:
        kvm.run(made, load_profile(made.profile), lambda fraction, phase: None)
    assert str(failed.value).startswith("strategy 'strays': access outside guest memory at 0x10000000000")
