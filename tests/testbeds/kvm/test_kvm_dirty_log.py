"""What the kernel's dirty log sees of a guest and of a device, on a real VM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import types

from vfbench.testbeds.kvm.guest.code import compile_guest
from vfbench.testbeds.kvm.guest.instructions import touch
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.raw_memory import store_i64
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

PAGE = boot.PAGE_BYTES
BUFFERS = 0x400000
FIRST_PAGE = BUFFERS // PAGE
# The call of the entry pushes its return address, and the result lies on the same page.
STACK_PAGE = (boot.STACK_TOP - 1) // PAGE


def store_to_pages(address: int, pages: int, stride: int) -> None:
    for page in range(pages):
        store_i64(address + page * stride, page + 1)


def touch_byte(address: int) -> None:
    touch(address)


def guest(vm: VirtualMachine, function: Any, arguments: int) -> int:
    return vm.load(compile_guest(function, (types.int64,) * arguments))


def dirty_pages(vm: VirtualMachine) -> list[int]:
    """Pages in the log, without the stack's."""
    return [int(page) for page in np.flatnonzero(vm.dirty_log()) if page != STACK_PAGE]


def test_exactly_the_pages_that_the_guest_stored_to_are_dirty(vm: VirtualMachine) -> None:
    entry = guest(vm, store_to_pages, 3)
    vm.set_dirty_logging(True)
    vm.call(entry, BUFFERS, 50, 3 * PAGE)
    assert dirty_pages(vm) == [FIRST_PAGE + 3 * n for n in range(50)]
    assert vm.memory.view(BUFFERS + 49 * 3 * PAGE, np.int64)[0] == 50


def test_a_device_write_is_not_in_the_log_and_a_dummy_write_of_the_same_byte_is(vm: VirtualMachine) -> None:
    entry = guest(vm, touch_byte, 1)
    vm.set_dirty_logging(True)
    vm.memory.bytes[BUFFERS : BUFFERS + PAGE] = 0xA5
    assert dirty_pages(vm) == []
    vm.call(entry, BUFFERS + 7)
    assert dirty_pages(vm) == [FIRST_PAGE]
    assert bool(np.all(vm.memory.bytes[BUFFERS : BUFFERS + PAGE] == 0xA5))


@pytest.mark.parametrize("manual", [True, False])
def test_a_round_reports_what_was_stored_since_the_round_before(kvm: None, manual: bool) -> None:
    with VirtualMachine(16 << 20, manual_protect=manual) as vm:
        entry = guest(vm, store_to_pages, 3)
        vm.set_dirty_logging(True)
        vm.call(entry, BUFFERS, 3, PAGE)
        assert dirty_pages(vm) == [FIRST_PAGE, FIRST_PAGE + 1, FIRST_PAGE + 2]
        vm.call(entry, BUFFERS + PAGE, 1, PAGE)
        assert dirty_pages(vm) == [FIRST_PAGE + 1]
        assert dirty_pages(vm) == []


def test_with_manual_protection_a_get_reads_and_only_a_clear_clears(kvm: None) -> None:
    with VirtualMachine(16 << 20, manual_protect=True) as vm:
        entry = guest(vm, store_to_pages, 3)
        vm.set_dirty_logging(True)
        vm.call(entry, BUFFERS, 128, PAGE)
        first = vm.log.get()
        assert np.array_equal(vm.log.get(), first)
        vm.log.clear(first[FIRST_PAGE // 64 :][:1], first_page=FIRST_PAGE)
        assert dirty_pages(vm) == [FIRST_PAGE + 64 + n for n in range(64)]


def test_without_manual_protection_a_get_clears(kvm: None) -> None:
    with VirtualMachine(16 << 20, manual_protect=False) as vm:
        entry = guest(vm, store_to_pages, 3)
        vm.set_dirty_logging(True)
        vm.call(entry, BUFFERS, 2, PAGE)
        assert vm.log.get().any()
        assert not vm.log.get().any()


def test_a_log_that_is_switched_on_again_starts_empty(vm: VirtualMachine) -> None:
    entry = guest(vm, store_to_pages, 3)
    vm.set_dirty_logging(True)
    vm.call(entry, BUFFERS, 2, PAGE)
    vm.set_dirty_logging(False)
    vm.call(entry, BUFFERS, 5, PAGE)
    vm.set_dirty_logging(True)
    assert dirty_pages(vm) == []
