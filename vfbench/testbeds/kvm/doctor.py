"""What this machine offers the kvm testbed, asked of the kernel and measured in a small VM."""

from __future__ import annotations

import os
import time
from typing import Any

from vfbench.errors import RunFailed, UserError
from vfbench.testbeds.kvm.guest.code import GuestCode
from vfbench.testbeds.kvm.host.device import KvmDevice
from vfbench.testbeds.kvm.sys import abi
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

# Above this a guest instruction is emulated, not run: the slowest processor does a two-instruction loop in a
# nanosecond or two, KVM's emulator needs hundreds.
EMULATED_FROM_NS = 20.0

_MEMORY_BYTES = 4 << 20
_LEAST_SAMPLE_NS = 20_000_000
_MOST_ITERATIONS = 1 << 24

# The argument comes in rdx (after result and exception pointer); both loops end in `xor %eax,%eax; ret`.
# Hand-assembled, so that looking at a machine needs no compiler.
_COUNT_DOWN = GuestCode("count down", bytes.fromhex("48ffca 75fb 31c0 c3"), 0, 1)  # 1: dec %rdx; jnz 1b
_INSTRUCTIONS_PER_COUNT = 2
_EXIT_OFTEN = GuestCode("exit often", bytes.fromhex("e701 48ffca 75f9 31c0 c3"), 0, 1)  # 1: out %eax,$1; ...
_INSTRUCTIONS_PER_EXIT = 3
_EXIT_PORT = 1


def probe() -> dict[str, Any]:
    """What `bench doctor` prints.

    Always kvm (bool), reason (why not, or None) and cores. With kvm also:
    api_version, dirty_log_modes (names, see `dirty_log_modes`), ioeventfd (bool);
    exit_us: to user space and back; kernel_exit_us: to an ioeventfd and back; ns_per_instruction;
    guest_runs: `natively` or `emulated`;
    timing: `measured` or `functional`, whether times and throughputs of runs here count.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        with KvmDevice() as kvm:
            offers = _ask(kvm)
        return {"kvm": True, "reason": None, "cores": cores} | offers | _measure()
    except (UserError, RunFailed, OSError) as error:
        return {"kvm": False, "reason": str(error), "cores": cores}


def describe(found: dict[str, Any]) -> list[str]:
    """Lines for people, from what `probe` found."""
    if not found["kvm"]:
        return [f"kvm       no: {found['reason']}", f"cores     {found['cores']}"]
    counts = "count" if found["timing"] == "measured" else "do not count: such runs are marked functional"
    return [
        f"kvm       yes, API version {found['api_version']}",
        f"dirty log {', '.join(found['dirty_log_modes'])}",
        f"ioeventfd {'yes' if found['ioeventfd'] else 'no'}",
        f"exits     {found['exit_us']:.2f} us to user space, {found['kernel_exit_us']:.2f} us into KVM",
        f"guest     runs {found['guest_runs']}, {found['ns_per_instruction']:.1f} ns an instruction",
        f"cores     {found['cores']}; the vCPU, the device and the migration want one each",
        f"allows    runs with --testbed kvm; their times and throughputs {counts}",
        "          --set kvm.clock=lockstep makes their counts independent of how fast or busy this machine is",
    ]


def _ask(kvm: KvmDevice) -> dict[str, Any]:
    return {
        "api_version": kvm.api_version,
        "dirty_log_modes": dirty_log_modes(kvm),
        "ioeventfd": bool(kvm.check_extension(abi.KVM_CAP_IOEVENTFD)),
    }


def dirty_log_modes(kvm: KvmDevice) -> list[str]:
    """By name: get-clears is always there; manual-protect, initially-set and ring are newer."""
    manual = kvm.check_extension(abi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
    rings = (abi.KVM_CAP_DIRTY_LOG_RING, abi.KVM_CAP_DIRTY_LOG_RING_ACQ_REL)
    offered = {
        "get-clears": True,
        "manual-protect": manual & abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
        "initially-set": manual & abi.KVM_DIRTY_LOG_INITIALLY_SET,
        "ring": any(kvm.check_extension(ring) for ring in rings),
    }
    return [name for name, there in offered.items() if there]


def ns_per_instruction_of(vm: VirtualMachine) -> float:
    """How long a guest's instruction takes here, in a loop of two; the vCPU must not be in use."""
    return _ns_per_count(vm, vm.load(_COUNT_DOWN)) / _INSTRUCTIONS_PER_COUNT


def is_emulated(ns_per_instruction: float) -> bool:
    """Whether guest instructions so slow are emulated: then times and throughputs of runs do not count."""
    return ns_per_instruction >= EMULATED_FROM_NS


def _measure() -> dict[str, Any]:
    with VirtualMachine(_MEMORY_BYTES) as vm:
        ns_per_instruction = ns_per_instruction_of(vm)
        loop_ns = _INSTRUCTIONS_PER_EXIT * ns_per_instruction
        exit_often = vm.load(_EXIT_OFTEN)
        user_ns = _ns_per_count(vm, exit_often) - loop_ns
        kernel_ns = _kernel_exit_ns(vm, exit_often) - loop_ns
    emulated = is_emulated(ns_per_instruction)
    return {
        "exit_us": user_ns / 1000,
        "kernel_exit_us": max(kernel_ns, 0.0) / 1000,
        "ns_per_instruction": ns_per_instruction,
        "guest_runs": "emulated" if emulated else "natively",
        "timing": "functional" if emulated else "measured",
    }


def _kernel_exit_ns(vm: VirtualMachine, entry: int) -> float:
    eventfd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        vm.assign_ioeventfd(_EXIT_PORT, eventfd)
        return _ns_per_count(vm, entry)
    finally:
        os.close(eventfd)


def _ns_per_count(vm: VirtualMachine, entry: int) -> float:
    """Time per iteration, from a number of iterations that takes at least 20 ms; the best of three."""
    vm.call(entry, 1)
    iterations = 256
    while iterations < _MOST_ITERATIONS and _time_ns(vm, entry, iterations) < _LEAST_SAMPLE_NS:
        iterations *= 4
    return min(_time_ns(vm, entry, iterations) for _ in range(3)) / iterations


def _time_ns(vm: VirtualMachine, entry: int, iterations: int) -> int:
    start = time.perf_counter_ns()
    vm.call(entry, iterations)
    return time.perf_counter_ns() - start
