"""The guest counts its own time, and neither the observer's exits nor anything of an emulated guest as cycles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from numba import types
from support.kvm_experiments import run, slow

from vfbench.kernels import COMPILED
from vfbench.testbeds.kvm.guest.code import compile_guest
from vfbench.testbeds.kvm.guest.guest_abi import GUEST_PAIR
from vfbench.testbeds.kvm.guest.instructions import time_stamp
from vfbench.testbeds.kvm.guest.primitives import go_on_counting, notify_oracle, stop_counting
from vfbench.testbeds.kvm.guest.program import record_type
from vfbench.testbeds.kvm.host import measures
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.raw_memory import store_i64
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

REPEATS = 500
WORD_GPA = boot.FREE_BASE
PAIR_GPA = boot.FREE_BASE + 0x10000
A_PORT = 3

pytestmark = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT is set")


def only_own_work(pair: Any, repeats: int) -> int:
    began = time_stamp()
    go_on_counting(pair)
    for n in range(repeats):
        store_i64(WORD_GPA, n)
    stop_counting(pair)
    return time_stamp() - began


def only_the_observers_exits(pair: Any, repeats: int) -> int:
    began = time_stamp()
    go_on_counting(pair)
    for _ in range(repeats):
        notify_oracle(pair, A_PORT)
    stop_counting(pair)
    return time_stamp() - began


def counted_and_passed(vm: VirtualMachine, function: Any) -> tuple[int, int]:
    """Ticks that the guest counted as its own, and all ticks, of one call."""
    entry = vm.load(compile_guest(function, (record_type(GUEST_PAIR), types.int64)))
    passed = vm.call(entry, PAIR_GPA, REPEATS)
    return int(vm.memory.view(PAIR_GPA, GUEST_PAIR)["busy_ticks"][0]), passed


def test_the_guests_own_work_is_counted(vm: VirtualMachine) -> None:
    counted, passed = counted_and_passed(vm, only_own_work)
    assert 0.8 * passed < counted <= passed


def test_the_observers_exits_are_not_counted(vm: VirtualMachine) -> None:
    counted, passed = counted_and_passed(vm, only_the_observers_exits)
    assert vm.vcpu.registers.writes[A_PORT] == REPEATS
    assert 0 < counted < 0.5 * passed


@pytest.mark.parametrize(
    ("ticks", "delivered", "cycles"), [(5000, 20, 500.0), (5000, 10, None), (None, 20, None)]
)
def test_cycles_per_packet_are_ticks_over_packets_delivered(
    ticks: int | None, delivered: int, cycles: float | None
) -> None:
    begin, end = SimpleNamespace(delivered=10), SimpleNamespace(delivered=delivered)
    assert measures.cycles(begin, end, ticks) == {"guest_cycles_per_packet": cycles}  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
def test_a_guest_whose_times_do_not_count_has_no_cycles() -> None:
    outcome = run("dummy-write", slow(), "phases.steady=50ms", "kvm.clock=lockstep")
    assert outcome.measures["functional"]
    assert outcome.measures["guest_cycles_per_packet"] is None
    assert outcome.measures["gbps"] is not None
