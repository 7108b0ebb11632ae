"""Guest code against the same function run natively: a driver's inner loop over a ring of descriptors.

It is one Python function, once compiled into the VM and once for the host, over the same memory.
"""

from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
from numba import types

from vfbench.testbeds.kvm.doctor import is_emulated, ns_per_instruction_of
from vfbench.testbeds.kvm.guest_code import compile_guest
from vfbench.testbeds.kvm.raw_memory import load_i64, store_i64
from vfbench.testbeds.kvm.vm import VirtualMachine

MEMORY_BYTES = 16 << 20
RING = 0x400000
SIZE = 512
ROUNDS = 20


def refill_and_clean(ring: int, size: int, rounds: int) -> int:
    """A driver's inner loop: describe every buffer, then take every descriptor back."""
    done = 0
    for _ in range(rounds):
        for slot in range(size):
            store_i64(ring + slot * 16, (slot + 1) << 12)
            store_i64(ring + slot * 16 + 8, 0)
        for slot in range(size):
            if load_i64(ring + slot * 16 + 8) & 1 == 0:
                done += 1
    return done


def main() -> None:
    words: tuple[Any, ...] = (types.int64,) * 3
    native = numba.njit(error_model="numpy")(refill_and_clean)
    with VirtualMachine(MEMORY_BYTES) as vm:
        entry = vm.load(compile_guest(refill_and_clean, words))
        host_ring = vm.memory.view(RING, np.int64, 2 * SIZE).ctypes.data
        native(host_ring, SIZE, 1)
        began = time.perf_counter()
        native(host_ring, SIZE, ROUNDS)
        native_ns = 1e9 * (time.perf_counter() - began) / (SIZE * ROUNDS)
        began = time.perf_counter()
        vm.call(entry, RING, SIZE, ROUNDS)
        guest_ns = 1e9 * (time.perf_counter() - began) / (SIZE * ROUNDS)
        emulated = is_emulated(ns_per_instruction_of(vm))
    times = guest_ns / native_ns
    print(f"per descriptor: guest {guest_ns:.1f} ns, native {native_ns:.1f} ns, {times:.0f} times")
    print("guest instructions are emulated here" if emulated else "guest instructions run natively")


if __name__ == "__main__":
    main()
