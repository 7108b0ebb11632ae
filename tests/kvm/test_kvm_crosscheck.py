"""The model and the real VM, where both can run the same experiment, see the same."""

from __future__ import annotations

import pytest
from kvm.kvm_experiments import STRATEGIES, WORKLOADS

from vfbench.profiles import load_profile
from vfbench.records import Outcome
from vfbench.testbeds import load_testbed
from vfbench.testbeds.kvm.crosscheck import VARIANTS, as_in_lockstep, crosscheck, differences, planned

ATTEMPTS = 2


def outcome(state: str = "ok", dirty: tuple[int, ...] = (1000, 100), **measures: int) -> Outcome:
    return Outcome(
        state=state,
        reason="" if state == "ok" else "why",
        measures=measures,
        rounds=[{"dirty_pages": each} for each in dirty],
    )


def test_at_least_12_experiments_are_compared() -> None:
    assert len(planned(STRATEGIES, WORKLOADS)) >= 12
    assert len(VARIANTS) >= 3


@pytest.mark.parametrize(
    ("on_kvm", "difference"),
    [
        (outcome(), ""),
        (outcome(dirty=(1049, 100)), ""),
        (outcome(dirty=(1051, 100)), "dirty pages of round 0: 1000, 1051"),
        (outcome(dirty=(1000, 117)), "dirty pages of round 1: 100, 117"),
        (outcome(state="not-converged"), "state ok, not-converged"),
        (outcome(stale_pages_payload=3), "stale_pages_payload: 0, 3"),
        (outcome(packets_corrupted=1), "packets_corrupted: 0, 1"),
    ],
)
def test_what_differs_is_said(on_kvm: Outcome, difference: str) -> None:
    assert ", ".join(differences(outcome(), on_kvm)) == difference


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", ["untracked", "dummy-write"])
def test_model_and_real_vm_agree(strategy: str) -> None:
    profile = as_in_lockstep(load_profile("xeon-82599"))
    plan = [
        each for each in planned(STRATEGIES, WORKLOADS, ["fresh pages"]) if each[1].strategy.name == strategy
    ]
    model, kvm = load_testbed("model"), load_testbed("kvm")
    # A busy host can move the instant at which the pre-copy looks by one of its steps of 50 ms. That passes; a
    # machine that is wrong differs every time.
    for _ in range(ATTEMPTS):
        (check,) = crosscheck(
            plan,
            lambda each: model.run(each, profile, lambda *_: None),
            lambda each: kvm.run(each, profile, lambda *_: None),
        )
        if not check.differences:
            break
    assert check.differences == ()
