"""Exits are served and counted, runs end with a reason, and nothing stays open."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import types

from vfbench.errors import UserError
from vfbench.testbeds.kvm.doctor import probe
from vfbench.testbeds.kvm.guest.code import GuestCode, compile_guest
from vfbench.testbeds.kvm.guest.instructions import halt, port_in, port_out
from vfbench.testbeds.kvm.host.device import KvmDevice
from vfbench.testbeds.kvm.migrate.outcome import GuestFault
from vfbench.testbeds.kvm.sys import boot, registers
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, load_u32, store_i64, store_u32
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

I64 = types.int64
DOORBELL, MAILBOX = 3, 5
HEAD, TAIL = 0x1010, 0x1018
HEAD_ADDRESS, TAIL_ADDRESS = registers.MMIO_BASE + HEAD, registers.MMIO_BASE + TAIL
COUNTER = 0x300000

ENDLESS_LOOP = GuestCode("endless loop", bytes.fromhex("ebfe"), 0, 0)
UNDEFINED_INSTRUCTION = GuestCode("undefined instruction", bytes.fromhex("0f0b"), 0, 0)
STORE_OUTSIDE_THE_MAP = GuestCode("store at -8", bytes.fromhex("48c7c0f8ffffff 488900 c3"), 0, 0)


def ring_doorbell(times: int) -> int:
    for n in range(times):
        port_out(DOORBELL, n)
    return port_in(MAILBOX)


def guest(vm: VirtualMachine, function: Any, arguments: int) -> int:
    return vm.load(compile_guest(function, (I64,) * arguments))


def test_port_exits_are_counted_and_reads_are_answered(vm: VirtualMachine) -> None:
    vm.vcpu.registers.values[MAILBOX] = 4711
    assert vm.call(guest(vm, ring_doorbell, 1), 100) == 4711
    assert vm.vcpu.registers.writes[DOORBELL] == 100
    assert vm.vcpu.registers.values[DOORBELL] == 99
    assert vm.vcpu.registers.reads[MAILBOX] == 1
    assert vm.vcpu.exits == 102


def test_a_stop_register_ends_the_run_and_the_next_run_goes_on(vm: VirtualMachine) -> None:
    vm.vcpu.registers.actions[DOORBELL] = registers.STOP
    vm.start(guest(vm, ring_doorbell, 1), 2)
    stops = [vm.run() for _ in range(3)]
    assert [(stop.register, stop.value) for stop in stops[:2]] == [(DOORBELL, 0), (DOORBELL, 1)]
    assert vm.returned(stops[2])


def write_device_registers(value: int) -> int:
    store_u32(HEAD_ADDRESS, value)
    store_u32(TAIL_ADDRESS, value)
    return load_u32(HEAD_ADDRESS) * 1000 + load_u32(TAIL_ADDRESS)


def test_device_registers_are_read_and_written_and_a_head_is_read_only(vm: VirtualMachine) -> None:
    head, tail = registers.mmio(HEAD), registers.mmio(TAIL)
    vm.vcpu.registers.values[head] = 7
    vm.vcpu.registers.actions[head] = registers.READ_ONLY
    assert vm.call(guest(vm, write_device_registers, 1), 42) == 7042
    assert vm.vcpu.registers.writes[head] == vm.vcpu.registers.reads[tail] == 1


def test_an_ioeventfd_takes_writes_in_the_kernel(vm: VirtualMachine) -> None:
    eventfd = os.eventfd(0)
    vm.assign_ioeventfd(DOORBELL, eventfd)
    vm.call(guest(vm, ring_doorbell, 1), 100)
    assert os.eventfd_read(eventfd) == 100
    assert vm.vcpu.registers.writes[DOORBELL] == 0
    os.close(eventfd)


def halts() -> None:
    halt()


def test_a_halt_ends_the_run(vm: VirtualMachine) -> None:
    vm.start(guest(vm, halts, 0))
    assert vm.run().reason == "halted"


def write_elsewhere(port: int, address: int) -> None:
    if port >= 0:
        port_out(port, 1)
    else:
        store_u32(address, 1)


@pytest.mark.parametrize(
    ("port", "address", "place"), [(0x80, 0, "port 0x80"), (-1, 0xD0008000, "0xd0008000")]
)
def test_an_access_where_nothing_is_ends_with_its_address(
    vm: VirtualMachine, port: int, address: int, place: str
) -> None:
    with pytest.raises(GuestFault, match=place):
        vm.call(guest(vm, write_elsewhere, 2), port, address)


def test_an_endless_loop_is_ended_within_5_seconds(vm: VirtualMachine) -> None:
    start = time.monotonic()
    with pytest.raises(GuestFault, match=r"did not exit for 3\.6 s"):
        vm.call(vm.load(ENDLESS_LOOP))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (UNDEFINED_INSTRUCTION, "an invalid opcode at the instruction at 0x8"),
        (STORE_OUTSIDE_THE_MAP, "access outside guest memory at 0x"),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_an_exception_is_ended_at_once_and_says_where(
    vm: VirtualMachine, code: GuestCode, reason: str
) -> None:
    with pytest.raises(GuestFault, match=reason):
        vm.call(vm.load(code))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (0, "access outside guest memory at 0x0$"),
        (0xFF8, "access outside guest memory at 0xff8$"),
        (3 << 30, "access outside guest memory at 0xc0000000$"),
        (1 << 40, "access outside guest memory at 0x10000000000$"),
        (-8, "access outside guest memory at 0xfffffffffffffff8$"),
        (1 << 60, "a general protection fault at the instruction at 0x8"),
    ],
)
def test_an_access_outside_guest_memory_ends_with_its_address(
    vm: VirtualMachine, address: int, reason: str
) -> None:
    with pytest.raises(GuestFault, match=reason):
        vm.call(guest(vm, write_elsewhere, 2), -1, address)


def exit_for_ever() -> None:
    while True:
        port_out(DOORBELL, 0)


def test_a_kick_ends_a_run_that_only_exits(vm: VirtualMachine) -> None:
    vm.start(guest(vm, exit_for_ever, 0))
    timer = threading.Timer(0.3, vm.vcpu.kick)
    timer.start()
    start = time.monotonic()
    assert vm.run().reason == "kicked"
    assert time.monotonic() - start < 2
    timer.join()


def test_a_guest_that_exits_now_and_then_is_not_taken_for_silent(vm: VirtualMachine) -> None:
    vm.start(guest(vm, exit_for_ever, 0))
    timer = threading.Timer(1.0, vm.vcpu.kick)
    timer.start()
    assert vm.run(silence_limit_s=0.2).reason == "kicked"
    timer.join()


def test_a_kick_between_runs_ends_the_next_one(vm: VirtualMachine) -> None:
    vm.start(vm.load(ENDLESS_LOOP))
    vm.vcpu.kick()
    assert vm.run().reason == "kicked"


def count_up(address: int, times: int) -> int:
    for n in range(times):
        store_i64(address, load_i64(address) + 1)
        port_out(DOORBELL, n)
    return load_i64(address)


def test_a_second_vm_goes_on_from_a_copy_of_memory_and_vcpu(vm: VirtualMachine) -> None:
    vm.vcpu.registers.actions[DOORBELL] = registers.STOP
    vm.start(guest(vm, count_up, 2), COUNTER, 10)
    assert [vm.run().value for _ in range(4)] == [0, 1, 2, 3]
    with VirtualMachine(vm.memory.size_bytes) as destination:
        state = vm.vcpu.save()
        destination.memory.bytes[:] = vm.memory.bytes
        destination.vcpu.restore(state)
        assert destination.returned(destination.run())
        assert destination.result == 10
        assert destination.vcpu.registers.writes[DOORBELL] == 6


def test_the_gil_is_free_while_the_guest_runs(vm: VirtualMachine) -> None:
    vm.start(vm.load(ENDLESS_LOOP))
    threading.Timer(0.3, vm.vcpu.kick).start()
    ticks = 0
    runner = threading.Thread(target=vm.run)
    runner.start()
    while runner.is_alive():
        time.sleep(0.01)
        ticks += 1
    assert ticks > 10


def open_files() -> list[str]:
    names = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(fd.readlink()))
        except FileNotFoundError:
            continue
    return [name for name in names if "kvm" in name or "memfd" in name]


def mapped_guest_memories() -> int:
    with Path("/proc/self/maps").open() as maps:
        return maps.read().count("memfd:vfbench-guest")


def test_no_descriptor_and_no_memory_is_left_after_the_block(kvm: None) -> None:
    gc.collect()
    before = mapped_guest_memories()
    with VirtualMachine(4 << 20) as vm:
        assert len(open_files()) == 3
        with pytest.raises(GuestFault):
            vm.call(vm.load(UNDEFINED_INSTRUCTION))
    assert open_files() == []
    assert mapped_guest_memories() == before


def test_another_process_writes_guest_memory_through_the_memfd(vm: VirtualMachine) -> None:
    fd = vm.memory.fd
    program = (
        "from vfbench.testbeds.kvm.sys.mapping import map_shared;"
        f"map_shared({fd}, {vm.memory.size_bytes})[{COUNTER}] = 41"
    )
    subprocess.run([sys.executable, "-c", program], pass_fds=[fd], check=True, timeout=30)
    assert vm.call(guest(vm, count_up, 2), COUNTER, 1) == 42


def test_an_array_over_guest_memory_outlives_the_vm(kvm: None) -> None:
    gc.collect()
    before = mapped_guest_memories()
    with VirtualMachine(4 << 20) as vm:
        words = vm.memory.view(boot.FREE_BASE, np.int64, 8)
        words[:] = 5
    assert open_files() == []
    assert words.sum() == 40
    del words
    assert mapped_guest_memories() == before


def test_a_missing_or_foreign_device_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"^/dev/no-kvm does not exist: .*$"):
        KvmDevice("/dev/no-kvm")
    with pytest.raises(UserError, match=r"^/dev/null does not answer as KVM: .*$"):
        KvmDevice("/dev/null")


def test_no_permission_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"^no permission to open /dev/kvm: .*$"):
        KvmDevice()


@pytest.mark.parametrize("memory_bytes", [0, 2 << 20, (16 << 20) + 4096, 4 << 30])
def test_a_memory_that_can_not_be_mapped_is_refused(memory_bytes: int) -> None:
    with pytest.raises(UserError, match="multiple of 2 MiB"):
        VirtualMachine(memory_bytes)


def test_the_doctor_says_whether_times_count_here(kvm: None) -> None:
    found = probe()
    assert found["kvm"]
    assert found["api_version"] == 12
    assert "get-clears" in found["dirty_log_modes"]
    assert found["exit_us"] > 0
    assert (found["ns_per_instruction"] >= 20) == (found["timing"] == "functional")
