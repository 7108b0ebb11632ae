"""Python functions become guest code, or are refused by the name of what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types

from vfbench.kernels import COMPILED, call_hook
from vfbench.testbeds.kvm.guest.code import GuestCodeError, compile_guest, compile_guest_cached
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, load_u8, store_i64, store_u8
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

I64 = types.int64
RECORD = 0x300000
BUFFERS = 0x400000

pytestmark = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT is set")

QUEUE = np.dtype([("head", np.int64), ("tail", np.int64)])
DRIVER = np.dtype(
    [
        ("clock_ps", np.int64),
        ("ring", np.int64, (4,)),
        ("queue", QUEUE),
        ("small", np.int32),
        ("hook", np.int64),
    ],
    align=True,
)
typeof: Any = numba.typeof
njit: Any = numba.njit
DRIVER_TYPE = typeof(np.recarray(1, DRIVER)[0])


def fill_ring(driver: Any, count: int) -> int:
    for n in range(count):
        driver.clock_ps += 10
        driver.ring[driver.queue.tail & 3] = n
        driver.queue.tail += 1
    driver.small = -3
    return driver.ring[0] + driver.ring[3]  # type: ignore[no-any-return]


def test_a_record_with_nested_fields_is_read_and_written_in_guest_memory(vm: VirtualMachine) -> None:
    entry = vm.load(compile_guest(fill_ring, (DRIVER_TYPE, I64)))
    driver = vm.memory.view(RECORD, DRIVER)[0]
    driver["clock_ps"] = 5
    assert vm.call(entry, RECORD, 6) == 4 + 3
    assert driver["clock_ps"] == 65
    assert driver["ring"].tolist() == [4, 5, 2, 3]
    assert (driver["queue"]["tail"], driver["small"]) == (6, -3)


def nine(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int) -> int:
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i


def test_arguments_beyond_the_registers_go_on_the_stack(vm: VirtualMachine) -> None:
    entry = vm.load(compile_guest(nine, (I64,) * 9))
    words = (1, -2, 3, -4, 5, -6, 7, -8, 9)
    assert vm.call(entry, *words) == nine(*words)


def constant() -> int:
    return 7


def nothing() -> None:
    pass


def test_a_constant_and_nothing_are_results_too(vm: VirtualMachine) -> None:
    assert vm.call(vm.load(compile_guest(constant, ()))) == 7
    assert vm.call(vm.load(compile_guest(nothing, ()))) == 0


def lookup(kind: int) -> int:
    if kind == 0:
        return 17
    if kind == 1:
        return 5
    if kind == 2:
        return 99
    if kind == 3:
        return -4
    if kind == 4:
        return 1234
    return 7


def test_the_tables_of_a_chain_of_ifs_come_along(vm: VirtualMachine) -> None:
    entry = vm.load(compile_guest(lookup, (I64,)))
    assert [vm.call(entry, kind) for kind in range(-1, 6)] == [lookup(kind) for kind in range(-1, 6)]


def copy_and_clear(to: Any, origin: Any) -> None:
    for n in range(64):
        to.words[n] = origin.words[n]
    for n in range(64):
        origin.words[n] = 0


def test_copying_and_clearing_loops_that_become_memcpy_and_memset_run(vm: VirtualMachine) -> None:
    block = typeof(np.recarray(1, np.dtype([("words", np.int64, (64,))]))[0])
    entry = vm.load(compile_guest(copy_and_clear, (block, block)))
    vm.memory.view(RECORD, np.int64, 65)[:] = np.arange(65)
    vm.call(entry, BUFFERS, RECORD)
    assert vm.memory.view(BUFFERS, np.int64, 65).tolist() == [*range(64), 0]
    assert vm.memory.view(RECORD, np.int64, 65).tolist() == [0] * 64 + [64]


def shift_up(block: Any) -> None:
    for n in range(63):
        block.words[62 - n + 1] = block.words[62 - n]


def shift_down(block: Any) -> None:
    for n in range(63):
        block.words[n] = block.words[n + 1]


def test_shifting_loops_that_become_memmove_run(vm: VirtualMachine) -> None:
    block = typeof(np.recarray(1, np.dtype([("words", np.int64, (64,))]))[0])
    words = vm.memory.view(RECORD, np.int64, 64)
    words[:] = range(64)
    vm.call(vm.load(compile_guest(shift_up, (block,))), RECORD)
    assert words.tolist() == [0, *range(63)]
    vm.call(vm.load(compile_guest(shift_down, (block,))), RECORD)
    assert words.tolist() == [*range(63), 62]


def checksum(address: int, count: int) -> int:
    total = 0
    for n in range(count):
        total = (total * 31 + load_u8(address + n)) % 65521
        store_u8(address + n, total // 7)
        store_i64(address + 4096 + 8 * n, load_i64(address + 4096 + 8 * n) // -3)
    return total


def test_the_guest_computes_what_the_host_computes(vm: VirtualMachine) -> None:
    memory = vm.memory.bytes[BUFFERS : BUFFERS + 8192]
    memory[:] = np.random.default_rng(1).integers(0, 256, memory.size, np.uint8)
    host_copy = memory.copy()
    expected = njit(error_model="numpy")(checksum)(host_copy.ctypes.data, 200)
    assert vm.call(vm.load(compile_guest(checksum, (I64, I64))), BUFFERS, 200) == expected
    assert np.array_equal(memory, host_copy)


def sum_of_products(numbers: Any) -> int:
    total = 0
    for n in range(256):
        total += numbers.words[n] * n
    return total


vectorised_callee = njit(sum_of_products)


def test_a_callee_that_the_host_vectorised_before_still_runs(vm: VirtualMachine) -> None:
    record = np.recarray(1, np.dtype([("words", np.int64, (256,))]))[0]
    record.words[:] = range(256)
    expected = vectorised_callee(record)

    def caller(numbers: Any) -> int:
        return vectorised_callee(numbers)  # type: ignore[no-any-return]

    entry = vm.load(compile_guest(caller, (typeof(record),)))
    vm.memory.view(RECORD, np.int64, 256)[:] = range(256)
    assert vm.call(entry, RECORD) == expected


def double(driver: Any, value: int) -> int:
    driver.clock_ps += value
    return 2 * value


def call_by_address(driver: Any, value: int) -> int:
    from_kernels = call_hook(driver.hook, driver, value)
    return from_kernels + 1


def test_a_hook_is_called_by_its_guest_address(vm: VirtualMachine) -> None:
    hook = vm.load(compile_guest(double, (DRIVER_TYPE, I64)))
    driver = vm.memory.view(RECORD, DRIVER)[0]
    driver["hook"] = hook
    assert vm.call(vm.load(compile_guest(call_by_address, (DRIVER_TYPE, I64))), RECORD, 21) == 43
    assert driver["clock_ps"] == 21


def allocates(count: int) -> int:
    return int(np.zeros(count, np.int64)[count - 1])


def uses_floats(count: int) -> int:
    return int(count * 1.5)


def raises(count: int) -> int:
    if count == 3:
        raise ValueError("three")
    return count


def prints(count: int) -> None:
    print(count)  # noqa: T201 - what a guest may not do


@pytest.mark.parametrize(
    ("function", "symbol"),
    [
        (allocates, "NRT_MemInfo_alloc"),
        (uses_floats, "__floatdidf"),
        (raises, ".const.picklebuf"),
        (prints, "numba_gil_ensure"),
    ],
)
def test_what_a_guest_lacks_is_refused_by_name(function: Any, symbol: str) -> None:
    with pytest.raises(GuestCodeError, match=rf"{function.__name__} needs {symbol}"):
        compile_guest(function, (I64,))


def test_types_that_are_no_words_are_refused() -> None:
    with pytest.raises(GuestCodeError, match="takes a float64"):
        compile_guest(lookup, (types.float64,))


def test_compiled_code_is_read_back_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    first = compile_guest_cached(lookup, (I64,), key="sources")
    monkeypatch.setattr(
        "vfbench.testbeds.kvm.guest.code.compile_guest", lambda *_: pytest.fail("compiled again")
    )
    assert compile_guest_cached(lookup, (I64,), key="sources") == first
    assert len(list(tmp_path.iterdir())) == 1


def test_the_code_region_can_not_be_overrun(vm: VirtualMachine) -> None:
    code = compile_guest(lookup, (I64,))
    huge = type(code)(code.name, bytes(boot.FREE_BASE), 0, 1)
    with pytest.raises(Exception, match="do not fit"):
        vm.load(huge)
