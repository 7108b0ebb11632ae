"""The model and the real VM, where both can run the same experiment, see the same."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.kvm_experiments import STRATEGIES, WORKLOADS

from vfbench.experiment import Experiment
from vfbench.profiles import load_profile
from vfbench.records import Outcome
from vfbench.settings import Kvm
from vfbench.testbeds import load_testbed
from vfbench.testbeds.crosscheck import VARIANTS, as_in_lockstep, crosscheck, differences, planned


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
        (outcome(dirty=(1010, 100)), ""),
        (outcome(dirty=(1011, 100)), "dirty pages of round 0: 1000, 1011"),
        (outcome(dirty=(1000, 109)), "dirty pages of round 1: 100, 109"),
        (outcome(dirty=(1000,)), "rounds: 2, 1"),
        (outcome(state="not-converged"), "state ok, not-converged"),
        (outcome(stale_pages_payload=3), "stale_pages_payload: 0, 3"),
        (outcome(packets_corrupted=1), "packets_corrupted: 0, 1"),
    ],
)
def test_what_differs_is_said(on_kvm: Outcome, difference: str) -> None:
    assert ", ".join(differences(outcome(), on_kvm)) == difference


@contextlib.contextmanager
def a_busy_host() -> Iterator[None]:
    """Twice as many processes that want a core as there are."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        yield


def planned_with(strategy: str) -> list[tuple[str, Experiment]]:
    return [
        each for each in planned(STRATEGIES, WORKLOADS, ["fresh pages"]) if each[1].strategy.name == strategy
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", ["untracked", "dummy-write"])
def test_model_and_real_vm_agree(strategy: str) -> None:
    profile = as_in_lockstep(load_profile("xeon-82599"))
    model, kvm = load_testbed("model"), load_testbed("kvm")
    (check,) = crosscheck(
        planned_with(strategy),
        lambda each: model.run(each, profile, lambda *_: None),
        lambda each: kvm.run(each, profile, lambda *_: None),
    )
    assert check.differences == ()


def counted(outcome: Outcome) -> tuple[object, ...]:
    """All that a run came to but how long it took on the wall clock."""
    measures = {name: value for name, value in outcome.measures.items() if name != "slowdown"}
    return outcome.state, outcome.reason, measures, outcome.rounds, outcome.intervals


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", ["dummy-write", "virtio-net"])
def test_in_lockstep_a_busy_host_changes_nothing(strategy: str) -> None:
    ((_, experiment),) = planned_with(strategy)
    in_lockstep = replace(experiment, testbed="kvm", kvm=Kvm(clock="lockstep"))
    kvm, profile = load_testbed("kvm"), load_profile("xeon-82599")
    quiet = counted(kvm.run(in_lockstep, profile, lambda *_: None))
    with a_busy_host():
        busy = counted(kvm.run(in_lockstep, profile, lambda *_: None))
    assert quiet == busy


def test_two_runs_that_broke_do_not_agree() -> None:
    broken = Outcome("failed", "the destination closed the connection")
    assert list(differences(broken, broken)) == [
        "model failed: the destination closed the connection",
        "kvm failed: the destination closed the connection",
    ]
