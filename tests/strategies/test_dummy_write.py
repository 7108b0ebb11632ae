"""The dummy write is there after the optimiser: in the guest's machine code, and as a mark on the model's page."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from numba import types
from support.runs import machine

from strategies import DummyWrite
from vfbench.kernels import COMPILED
from vfbench.machine.memory.guest_memory import CPU_WROTE, LOGGED, PAGE_SHIFT
from vfbench.machine.sides import GUEST, is_on
from vfbench.mechanism import hook
from vfbench.mechanisms.dummy_writes import BYTES
from vfbench.testbeds.kvm.guest import primitives as _primitives  # noqa: F401 - their overloads
from vfbench.testbeds.kvm.guest.code import compile_guest
from vfbench.testbeds.kvm.guest.guest_abi import GUEST_CPU
from workloads import Bulk

# movzbl (address), %esi, then mov %sil, (address) twice: after an exit in lockstep (out %eax, %dx), else at once.
LOAD_AND_STORE = re.compile(rb"\x0f\xb6(.).{1,24}?\xef.{0,4}?\x88\1.{2,3}?\x88\1", re.DOTALL)
LOCKED = re.compile(rb"\xf0\x41?\x80.\x00", re.DOTALL)  # lock orb $0, (address)

SLOT = [each.name for each in DummyWrite().mechanisms].index("dummy-writes")

x86_guest = pytest.mark.skipif(
    not COMPILED or platform.machine() != "x86_64", reason="needs the compiler, and reads x86-64 code"
)


def guest_code(hook):
    """The machine code of a hook as a real guest runs it."""
    assert is_on(GUEST, record_type())
    return compile_guest(hook, (record_type(), *[types.int64] * 4)).image


def record_type():
    import numba

    return numba.typeof(np.recarray(1, GUEST_CPU)[0])


@x86_guest
@pytest.mark.parametrize(("byte", "writes"), [("first", 1), ("last", 1), ("both", 2)])
def test_the_guests_code_reads_the_byte_and_writes_it_back(byte, writes):
    assert len(LOAD_AND_STORE.findall(guest_code(BYTES[byte]))) == writes


@x86_guest
@pytest.mark.parametrize(("byte", "writes"), [("first", 1), ("last", 1), ("both", 2)])
def test_the_atomic_flavour_is_one_locked_instruction(byte, writes):
    assert len(LOCKED.findall(guest_code(BYTES[byte]))) == writes


@hook
def do_nothing(cpu, slot, iova, address, length_bytes):
    pass


@x86_guest
def test_a_hook_that_does_nothing_has_neither():
    image = guest_code(do_nothing)
    assert not LOAD_AND_STORE.search(image)
    assert not LOCKED.search(image)


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("byte", sorted(BYTES))
def test_a_rewritten_page_turns_dirty_and_keeps_its_content(byte, atomic):
    made = machine(DummyWrite(byte=byte, atomic=atomic), Bulk())
    memory, cpu, page = made.memory, made.cpus[0], made.layout.queues[0].packets.pages // 2
    address = made.layout.queues[0].packets.base + (page << PAGE_SHIFT)
    before = memory.words.copy()
    BYTES[byte](cpu, SLOT, address, address, 1518)
    assert np.flatnonzero(memory.marks & LOGGED).tolist() == [address >> PAGE_SHIFT]
    assert memory.marks[address >> PAGE_SHIFT] & CPU_WROTE
    assert np.array_equal(memory.words, before)


def test_an_atomic_dummy_write_takes_longer_and_leaves_no_gap_for_the_device():
    took, gaps = [], []
    for atomic in (False, True):
        made = machine(DummyWrite(atomic=atomic), Bulk())
        cpu = made.cpus[0]
        address = made.layout.queues[0].packets.base
        BYTES["first"](cpu, SLOT, address, address, 64)
        took.append(int(cpu.clock_ps))
        gaps.append(int(cpu.race_last_ps))
    assert took[1] - took[0] == made.ps("touch_atomic_extra")
    assert gaps == [took[0], 0]
