"""The faults of the shipped list: caught when switched on, absent when not."""

from __future__ import annotations

import pytest
from support.runs import STRATEGIES, WORKLOADS, profile

from vfbench.records.damage import DAMAGED, WHOLE, verdict_of
from vfbench.sweeps.faults import Pair, chosen_faults, pairs, read_faults
from vfbench.testbeds import load_testbed

FAULTS = {pair.fault.number: pair for pair in pairs(read_faults(), STRATEGIES, WORKLOADS)}


def verdict(made: object) -> str | None:
    return verdict_of(load_testbed("model").run(made, profile(), lambda *_: None).measures)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_that_is_switched_on_is_caught(number: str) -> None:
    assert verdict(FAULTS[number].on) == DAMAGED


@pytest.mark.parametrize("number", FAULTS)
def test_with_the_fault_off_everything_arrives_whole(number: str) -> None:
    assert verdict(FAULTS[number].off) == WHOLE


@pytest.mark.parametrize("pair", FAULTS.values(), ids=list(FAULTS))
def test_a_switch_is_the_fault_that_the_strategy_says_it_is(pair: Pair) -> None:
    from vfbench.strategy import faults_of

    assert pair.fault.number in map(str, faults_of(pair.on.strategy))
    assert pair.fault.number not in map(str, faults_of(pair.off.strategy))


def test_faults_are_chosen_by_number_or_strategy() -> None:
    assert [each.number for each in chosen_faults(read_faults(), ["1,emulated-iommu"])] == ["1", "5", "6"]
