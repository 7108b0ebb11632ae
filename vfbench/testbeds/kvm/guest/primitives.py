"""The machine's primitives in a real guest: plain loads and stores, and exits for all that lies outside.

numba picks these by the type of the guest's records (``GUEST_CPU``, ``GUEST_PAIR``), so the driver, the
hooks and the application are the very functions that the model runs. ``spend`` is empty: here the code
itself takes the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vfbench.kernels import Kernel, kernel
from vfbench.machine import cpu as machine_cpu
from vfbench.machine import host as machine_host
from vfbench.machine.driver import poll, virtio_notify
from vfbench.machine.driver import vf_transmit as transmit
from vfbench.machine.iommu import hypervisor as iommu_hypervisor
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.oracle import oracle as ledger
from vfbench.machine.sides import GUEST, implementation
from vfbench.machine.vf import device as vf
from vfbench.machine.vf import register_access as vf_registers
from vfbench.machine.vf.registers import QUEUE_REGISTERS
from vfbench.testbeds.kvm.guest import instructions as guest_instructions
from vfbench.testbeds.kvm.guest.guest_abi import (
    ARGUMENT_0,
    ARGUMENT_1,
    ARGUMENT_2,
    CALL_PENDING,
    CONSUMED,
    HANDED_OVER,
    HYPERCALL,
    INVALIDATE,
    KERNEL,
    KERNEL_EXIT,
    KICK_VHOST,
    REFUSED,
    SENDING,
    SOCKET_FULL,
    TOUCHING,
    USER_SPACE,
    WIRE_CLOCK,
)
from vfbench.testbeds.kvm.guest.instructions import port_out, time_stamp
from vfbench.testbeds.kvm.guest.payload import SENT_WORD_STEP
from vfbench.testbeds.kvm.sys.raw_memory import (
    CLOBBERS,
    fence,
    load_i64,
    load_u8,
    store_i64,
    store_u8,
    store_u32,
)
from vfbench.testbeds.kvm.sys.registers import MMIO_BASE

_I64 = ir.IntType(64)


def _copy_words(_typing: Any, target: Any, source: Any, count: Any) -> Any:
    """`rep movsq`: one instruction for the whole packet."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.LiteralStructType([_I64, _I64, _I64]), [_I64, _I64, _I64])
        builder.asm(
            function, "rep movsq", f"={{di}},={{si}},={{cx}},0,1,2,{CLOBBERS}", args, side_effect=True
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _touch_atomic(_typing: Any, address: Any) -> Any:
    """`lock orb $0`: reads the byte and writes it back with nothing in between."""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [_I64])
        builder.asm(function, "lock orb $$0, ($0)", f"r,{CLOBBERS}", args, side_effect=True)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


copy_words: Any = intrinsic(_copy_words)
touch_atomic: Any = intrinsic(_touch_atomic)
touch_in_two: Any = guest_instructions.touch


def guest_primitive(stub: Any) -> Callable[[Kernel], Kernel]:
    """Decorator: the function below is what ``stub`` means inside a real guest."""
    return implementation(stub, GUEST)


@guest_primitive(machine_cpu.load)
def load(cpu: Any, address: int) -> int:
    """One load."""
    return load_i64(address)


@guest_primitive(machine_cpu.store)
def store(cpu: Any, address: int, value: int) -> None:
    """One store."""
    store_i64(address, value)


@guest_primitive(machine_cpu.load_field)
def load_field(cpu: Any, address: int) -> int:
    """One load."""
    return load_i64(address)


@guest_primitive(machine_cpu.store_field)
def store_field(cpu: Any, address: int, value: int) -> None:
    """One store."""
    store_i64(address, value)


@guest_primitive(vf.bring_vf_up_to_now)
def bring_vf_up_to_now(cpu: Any, pair: Any) -> None:
    """A real device does not wait to be asked."""


@guest_primitive(poll.bring_device_up_to_now)
def bring_device_up_to_now(cpu: Any, pair: Any) -> None:
    """A real device does not wait to be asked."""


@guest_primitive(machine_cpu.dummy_write)
def dummy_write(cpu: Any, address: int, atomic: int, cached: int) -> None:
    """In two instructions, or in one that is locked.

    In lockstep the guest leaves between the two, as it may at any instruction, and the device has its turn: else
    nobody could say when a DMA falls between them.
    """
    if atomic:
        touch_atomic(address)
    elif cpu.stops_in_touch:
        byte = load_u8(address)
        port_out(TOUCHING, 0)
        store_u8(address, byte)
    else:
        touch_in_two(address)


@guest_primitive(machine_cpu.copy)
def copy(cpu: Any, target: int, source: int, length_bytes: int) -> None:
    """Whole words: a buffer has room for the last one."""
    copy_words(target, source, (length_bytes + 7) >> 3)


@guest_primitive(transmit.write_block)
def write_block(cpu: Any, address: int, length_bytes: int, word: int) -> None:
    """Every byte of it, in whole words: a page has room for the last one."""
    for index in range((length_bytes + 7) >> 3):
        store_i64(address + 8 * index, word)
        word += SENT_WORD_STEP


@guest_primitive(machine_cpu.now_ps)
def now_ps(cpu: Any) -> int:
    """The wire's clock, in a page that the hypervisor keeps."""
    return load_i64(WIRE_CLOCK)


@guest_primitive(machine_cpu.spend)
def spend(cpu: Any, cost: int) -> None:
    """The code itself takes the time."""


@guest_primitive(machine_cpu.spend_price)
def spend_price(cpu: Any, slot: int, index: int) -> None:
    """The code itself takes the time."""


@guest_primitive(machine_cpu.take_guest_lock)
def take_guest_lock(cpu: Any) -> None:
    """The pool is this queue's alone."""


@guest_primitive(machine_cpu.spend_copy)
def spend_copy(cpu: Any, length_bytes: int) -> None:
    """The copy itself takes the time."""


@guest_primitive(machine_host.exit_to_hypervisor)
def exit_to_hypervisor(cpu: Any, slot: int, reason: int, argument: int) -> None:
    """To user space.

    Or into KVM, or not at all, while another core carries the call out and the guest waits.
    """
    store_i64(ARGUMENT_0, slot)
    store_i64(ARGUMENT_1, reason)
    store_i64(ARGUMENT_2, argument)
    if cpu.exit_class[slot] == USER_SPACE:
        port_out(HYPERCALL, 0)
        return
    store_i64(CALL_PENDING, 1)
    if cpu.exit_class[slot] == KERNEL:
        port_out(KERNEL_EXIT, 0)
    while load_i64(CALL_PENDING) != 0:
        pass


@guest_primitive(iommu_hypervisor.invalidate)
def invalidate(cpu: Any, iova: int) -> None:
    """An exit: the device's IOTLB is the host's."""
    store_i64(ARGUMENT_0, iova)
    port_out(INVALIDATE, 0)


@guest_primitive(iommu_hypervisor.invalidate_run)
def invalidate_run(cpu: Any, iova: int, pages: int) -> None:
    """An exit for each page: the device here drops one entry at a time."""
    for i in range(pages):
        store_i64(ARGUMENT_0, iova + (i << PAGE_SHIFT))
        port_out(INVALIDATE, 0)


REGISTER_ADDRESSES = tuple(MMIO_BASE + offset for _, offset in QUEUE_REGISTERS)


@guest_primitive(vf_registers.set_register)
def set_register(pair: Any, index: int, value: int, time_ps: int) -> None:
    """A store to the device's window, which exits."""
    store_u32(REGISTER_ADDRESSES[index], value)


@guest_primitive(virtio_notify.wake_vhost)
def wake_vhost(cpu: Any, pair: Any, queue: int) -> None:
    """An exit, as a kick is."""
    port_out(KICK_VHOST, queue)


@guest_primitive(virtio_notify.let_stores_be_seen)
def let_stores_be_seen(cpu: Any) -> None:
    """One instruction."""
    fence()


@kernel
def stop_counting(pair: Any) -> None:
    """What comes is none of the guest's own time."""
    pair.busy_ticks += time_stamp() - pair.since_ticks


@kernel
def go_on_counting(pair: Any) -> None:
    """The guest's own time goes on."""
    pair.since_ticks = time_stamp()


@kernel
def notify_oracle(pair: Any, register: int) -> None:
    """An exit that no real guest makes, so its time is not counted."""
    stop_counting(pair)
    port_out(register, 0)
    go_on_counting(pair)


@guest_primitive(ledger.note_handed_over)
def note_handed_over(pair: Any, slot: int, position: int, now_ps: int) -> None:
    """The observer notes it while the guest waits."""
    store_i64(ARGUMENT_0, slot)
    store_i64(ARGUMENT_1, position)
    notify_oracle(pair, HANDED_OVER)


@guest_primitive(ledger.note_consumed)
def note_consumed(cpu: Any, pair: Any, position: int, address: int, length_bytes: int) -> None:
    """The observer checks every byte while the guest waits."""
    store_i64(ARGUMENT_0, position)
    store_i64(ARGUMENT_1, address)
    store_i64(ARGUMENT_2, length_bytes)
    notify_oracle(pair, CONSUMED)


@guest_primitive(ledger.note_sending)
def note_sending(pair: Any, sequence: int, flow: int) -> None:
    """The observer notes it while the guest waits."""
    store_i64(ARGUMENT_0, sequence)
    store_i64(ARGUMENT_1, flow)
    notify_oracle(pair, SENDING)


@guest_primitive(ledger.note_refused)
def note_refused(pair: Any) -> None:
    """The observer notes it while the guest waits."""
    notify_oracle(pair, REFUSED)


@guest_primitive(ledger.note_socket_full)
def note_socket_full(pair: Any, slot: int) -> None:
    """The observer notes it while the guest waits."""
    store_i64(ARGUMENT_0, slot)
    notify_oracle(pair, SOCKET_FULL)
