"""The guest's driver against the same function run natively: what a packet's poll takes in each.

One image of machine code, compiled for the guest: `poll_one`, as the kvm testbed runs it, with the dummy-write
strategy's hooks, over a ring that the device has filled. It runs in the VM, and in this process, where the guest's
memory is mapped at the addresses that it has in the guest. Both start from the same memory and must leave the same
memory behind. The observer's exits (two a packet) are left out of both and then measured apart.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from strategies.dummy_write import DummyWrite
from vfbench.errors import UserError
from vfbench.experiment import Driver, Experiment, Guest
from vfbench.machine.driver.poll import poll_one
from vfbench.machine.driver.vf_open import open_vf
from vfbench.machine.memory.guest_memory import CONTENT
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT, rx_write_back
from vfbench.machine.wire import APPLICATION
from vfbench.profiles import load_profile
from vfbench.testbeds.kvm.doctor import is_emulated, ns_per_instruction_of
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.code import compile_guest
from vfbench.testbeds.kvm.guest.guest import prepare_guest
from vfbench.testbeds.kvm.guest.program import record_type
from vfbench.testbeds.kvm.host.bench_records import Bench
from vfbench.testbeds.kvm.host.endpoint import Endpoint
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.registers import MMIO_BASE, MMIO_BYTES
from workloads.small_packets import SmallPackets

PACKETS = 400
NATIVE_REPEATS, GUEST_REPEATS = 50, 5
MIB = 1 << 20
LOWEST_GPA = 0x10000
"""Below it a process may map nothing (vm.mmap_min_addr); the guest has only its page tables there."""
RECORDS = (guest_abi.CPU_GPA, guest_abi.PAIR_GPA, guest_abi.APPLICATION_GPA)

_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_SHARED, _MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_FIXED_NOREPLACE = 0x01, 0x02, 0x20, 0x100000


def open_driver(cpu: Any, pair: Any, application: Any) -> None:
    open_vf(cpu, pair)


def poll_packets(cpu: Any, pair: Any, application: Any, packets: int) -> None:
    for _ in range(packets):
        poll_one(cpu, pair, application)


def map_at(address: int, size_bytes: int, fd: int = -1, offset: int = 0) -> None:
    """Map at this very address, or end with why it can't be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    flags = _MAP_FIXED_NOREPLACE | (_MAP_SHARED if fd >= 0 else _MAP_PRIVATE | _MAP_ANONYMOUS)
    got = libc.mmap(address, size_bytes, _PROT_READ | _PROT_WRITE | _PROT_EXEC, flags, fd, offset)
    if got != address:
        sys.exit(f"this process can't map the guest's memory at {address:#x}, where the guest has it")


def natively(entry: int, *arguments: int) -> None:
    """Call guest code in this process, by numba's native convention."""
    words = [boot.RESULT_GPA, boot.EXCEPTION_GPA, *arguments]
    ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int64] * len(words))(entry)(*words)


def fill_ring(endpoint: Endpoint) -> None:
    """The device's part: a packet in each of the first PACKETS buffers, its descriptor written back."""
    for slot in range(PACKETS):
        descriptor = endpoint.word(endpoint.layout.queues[0].rx_ring.base + (slot << DESCRIPTOR_SHIFT), 2)
        endpoint.word(int(descriptor[0]))[0] = CONTENT
        descriptor[:] = 0, rx_write_back(64)


def times_ns(action: Callable[[], None], restore: Callable[[], None], repeats: int) -> list[float]:
    """Per packet, each time from the same memory."""
    times = []
    for _ in range(repeats):
        restore()
        began = time.perf_counter_ns()
        action()
        times.append((time.perf_counter_ns() - began) / PACKETS)
    return times


def line(name: str, times: list[float]) -> None:
    spread = f"{min(times):,.0f} to {max(times):,.0f}"
    print(f"{name:44}{statistics.median(times):>12,.0f} ns a packet ({spread}, {len(times)} runs)")


def measure(endpoint: Endpoint) -> None:
    vm = endpoint.vm
    records = tuple(map(record_type, (guest_abi.GUEST_CPU, guest_abi.GUEST_PAIR, APPLICATION)))
    opened = vm.load(compile_guest(open_driver, records, leaves=False))
    silent = vm.load(compile_guest(poll_packets, (*records, types.int64), leaves=False))
    observed = vm.load(compile_guest(poll_packets, (*records, types.int64)))
    map_at(LOWEST_GPA, vm.memory.size_bytes - LOWEST_GPA, vm.memory.fd, LOWEST_GPA)
    map_at(MMIO_BASE, MMIO_BYTES)
    natively(opened, *RECORDS)
    fill_ring(endpoint)
    filled = vm.memory.bytes.copy()

    def restore() -> None:
        vm.memory.bytes[:] = filled

    native = times_ns(lambda: natively(silent, *RECORDS, PACKETS), restore, NATIVE_REPEATS)
    left_behind = vm.memory.bytes[guest_abi.CPU_GPA :].copy()
    guest = times_ns(lambda: vm.call(silent, *RECORDS, PACKETS) and None, restore, GUEST_REPEATS)
    if not np.array_equal(left_behind, vm.memory.bytes[guest_abi.CPU_GPA :]):
        sys.exit("the guest and the native run left different memories behind")
    watched = times_ns(lambda: vm.call(observed, *RECORDS, PACKETS) and None, restore, GUEST_REPEATS)
    line("the driver, natively", native)
    line("the driver, in the guest", guest)
    line("the same with the observer's exits", watched)
    times = statistics.median(guest) / statistics.median(native)
    print(f"the guest takes {times:,.1f} times as long; both left the same memory behind")


def main() -> None:
    experiment = Experiment(
        DummyWrite(),
        SmallPackets(hold_ns=0, dirty_rate_pages_per_s=0),
        guest=Guest(memory_bytes=64 * MIB, packet_memory_bytes=16 * MIB),
        driver=Driver(),
        testbed="kvm",
    )
    bench = Bench(experiment, load_profile(experiment.profile))
    try:
        with Endpoint(experiment, bench.records) as endpoint:
            emulated = is_emulated(ns_per_instruction_of(endpoint.vm))
            prepare_guest(endpoint)
            measure(endpoint)
    finally:
        bench.close()
    print("guest instructions are emulated here" if emulated else "guest instructions run natively")


if __name__ == "__main__":
    try:
        main()
    except UserError as reason:
        print(reason)
