"""What the hypervisor does when the guest leaves: IOMMU calls, device registers, the observer's notes.

The observer checks each packet while the guest waits, byte by byte through the host's mapping, so nothing
can have changed in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.kernels import call_hook, kernel
from vfbench.machine import host as machine_host
from vfbench.machine.host import queue_invalidation
from vfbench.machine.iommu import hypervisor as iommu_hypervisor
from vfbench.machine.memory.faults import check_address, check_page
from vfbench.machine.oracle.oracle import (
    NOTHING,
    content_sequence,
    note_handed_over,
    note_refused,
    note_sending,
    note_socket_full,
)
from vfbench.machine.queue_pair import MOST_DESCRIPTORS
from vfbench.machine.sides import HOST, implementation
from vfbench.machine.vf.register_access import read_register, set_register
from vfbench.machine.vf.registers import QUEUE_REGISTERS
from vfbench.machine.wire import BUFFER_BYTES, WIRE_OVERHEAD_BYTES
from vfbench.testbeds.kvm.guest.guest_abi import (
    ARGUMENT_0,
    ARGUMENT_1,
    ARGUMENT_2,
    CALL_PENDING,
    CONSUMED,
    GUEST_PAIR,
    GUEST_SLOT,
    HANDED_OVER,
    HYPERCALL,
    IDLE,
    INTERRUPT,
    INVALIDATE,
    REFUSED,
    RINGS_ROTATED,
    SENDING,
    SOCKET_FULL,
    TRANSMIT_INTERRUPT,
)
from vfbench.testbeds.kvm.guest.payload import holds_payload
from vfbench.testbeds.kvm.host.lockstep import pass_exit, sleep_till_work
from vfbench.testbeds.kvm.host.peer import has_work, is_held_up, sleep_us
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, load_u8, store_i64, store_u8
from vfbench.testbeds.kvm.sys.registers import PORTS

IDLE_STEP_US = 50
LONGEST_IDLE_STEPS = 100
INVALIDATION_STEP_US = 10
LONGEST_INVALIDATION_STEPS = 100_000

_fields: Any = GUEST_PAIR.fields
_SLOTS, _SLOT_BYTES = _fields["oracle"][1], GUEST_SLOT.itemsize

NO_REGISTER = -1


def _queue_register_of() -> Any:
    """For each register of the window, which register of the queue pair it is, or NO_REGISTER."""
    table = np.full(PORTS + 0x1000, NO_REGISTER, np.int64)
    for index, (_, offset) in enumerate(QUEUE_REGISTERS):
        table[PORTS + offset // 4] = index
    return table


QUEUE_REGISTER_OF = _queue_register_of()


@kernel
def argument(host: Any, address: int) -> int:
    """What the guest left in its mailbox."""
    return load_i64(host.memory + address)


# -- what mechanisms may do here


@implementation(machine_host.host_load, HOST)
def host_load(host: Any, address: int) -> int:
    """One load through this process's mapping."""
    check_address(host, address)
    return load_i64(host.memory + address)


@implementation(machine_host.note_mapped, HOST)
def note_mapped(host: Any, page: int) -> None:
    """The device may write ``page``."""
    check_page(host, page)
    store_u8(host.mapped_written + page, 0)
    store_u8(host.mapped + page, 1)


@implementation(machine_host.note_unmapped, HOST)
def note_unmapped(host: Any, page: int) -> None:
    """The device is done with ``page``: it counts as dirty from now on."""
    check_page(host, page)
    if load_u8(host.mapped + page):
        host.unwritten_unmaps += load_u8(host.mapped_written + page) == 0
        store_u8(host.logged + page, 1)
        store_u8(host.mapped + page, 0)


@implementation(machine_host.forget_mapping, HOST)
def forget_mapping(host: Any, page: int) -> None:
    """The device is done with ``page``; others say whether it is dirty."""
    host.unwritten_unmaps += load_u8(host.mapped + page) != 0 and load_u8(host.mapped_written + page) == 0
    store_u8(host.mapped + page, 0)


@implementation(machine_host.log_page, HOST)
def log_page(host: Any, page: int) -> None:
    """The page goes to the next sync with KVM's own."""
    check_page(host, page)
    store_u8(host.logged + page, 1)


@implementation(machine_host.work_for_guest, HOST)
def work_for_guest(host: Any, cost: int) -> None:
    """The work itself takes the time."""


@implementation(machine_host.host_price, HOST)
def host_price(host: Any, slot: int, index: int) -> int:
    """The work itself takes the time."""
    return 0


@implementation(iommu_hypervisor.invalidate_for_guest, HOST)
def invalidate_for_guest(host: Any, iova: int) -> None:
    """Queue an IOTLB invalidation, and wait until the device has honoured it (VT-d 6.5.2.8).

    A device that waits for the caller honours it before it does anything else.
    """
    queue_invalidation(host, iova)
    if host.device_waits:
        return
    for _ in range(LONGEST_INVALIDATION_STEPS):
        if host.invalidations_seen == host.invalidations or not host.running:
            break
        sleep_us(INVALIDATION_STEP_US)


@kernel
def hypercall(host: Any, device_waits: bool) -> None:
    """What the guest asks for in its mailbox: the handler of the mechanism in a slot, a reason, an argument."""
    slot = argument(host, ARGUMENT_0)
    host.device_waits = device_waits
    call_hook(host.hypercall[slot], host, slot, argument(host, ARGUMENT_1), argument(host, ARGUMENT_2))


@kernel
def serve_pending_call(host: Any) -> int:
    """On the host thread.

    A call that the guest made without leaving for user space; it waits for the word to be 0.
    """
    if load_i64(host.memory + CALL_PENDING) == 0:
        return 0
    hypercall(host, True)
    store_i64(host.memory + CALL_PENDING, 0)
    return 1


# -- the observer


@kernel
def deliver(host: Any, wire: Any, pair: Any) -> None:
    """The application was handed the packet of a slot, and is told what it may know of it."""
    slot = argument(host, ARGUMENT_0) & (MOST_DESCRIPTORS - 1)
    note_handed_over(pair, slot, argument(host, ARGUMENT_1), wire.time_ps)
    shown = host.guest_port + _SLOTS + _SLOT_BYTES * slot
    store_i64(shown, pair.oracle.slot[slot].flow)
    store_i64(shown + 8, pair.oracle.slot[slot].tag)


@kernel
def consume(host: Any, wire: Any, pair: Any) -> None:
    """The application reads a packet that it kept: every byte of it is checked."""
    position = argument(host, ARGUMENT_0)
    address, length_bytes = host.memory + argument(host, ARGUMENT_1), argument(host, ARGUMENT_2)
    check_address(host, argument(host, ARGUMENT_1))
    check_address(host, argument(host, ARGUMENT_1) + BUFFER_BYTES - 1)
    sequence = pair.oracle.held[position].sequence
    if sequence == NOTHING:
        if content_sequence(load_i64(address)) == NOTHING:
            pair.oracle.rx_phantom += 1
        else:
            pair.oracle.rx_duplicated += 1
    elif length_bytes == pair.oracle.held[position].length and holds_payload(
        address, length_bytes, wire.seed, sequence
    ):
        pair.oracle.rx_delivered += 1
        pair.oracle.rx_delivered_bytes += length_bytes + WIRE_OVERHEAD_BYTES
    else:
        pair.oracle.rx_corrupted += 1


@kernel
def swap_slots(pair: Any, first: int, second: int) -> None:
    """Exchange what the observer knows of two descriptors."""
    a, b = pair.oracle.slot[first], pair.oracle.slot[second]
    a.pending, b.pending = b.pending, a.pending
    a.sequence, b.sequence = b.sequence, a.sequence
    a.length, b.length = b.length, a.length
    a.arrival_ps, b.arrival_ps = b.arrival_ps, a.arrival_ps
    a.flow, b.flow = b.flow, a.flow
    a.tag, b.tag = b.tag, a.tag


@kernel
def reverse_slots(pair: Any, first: int, end: int) -> None:
    """Reverse the order from ``first`` up to ``end``."""
    for i in range((end - first) >> 1):
        swap_slots(pair, first + i, end - 1 - i)


@kernel
def rotate_slots(host: Any, pair: Any, rx_head: int) -> None:
    """What the observer knows of each descriptor moves along with the rings (three reversals)."""
    reverse_slots(pair, 0, rx_head)
    reverse_slots(pair, rx_head, host.rx_size)
    reverse_slots(pair, 0, host.rx_size)


@kernel
def take_note(host: Any, wire: Any, pair: Any, register: int) -> None:
    """The guest told the observer something."""
    if register == HANDED_OVER:
        deliver(host, wire, pair)
    elif register == CONSUMED:
        consume(host, wire, pair)
    elif register == SENDING:
        note_sending(pair, argument(host, ARGUMENT_0), argument(host, ARGUMENT_1))
    elif register == REFUSED:
        note_refused(pair)
    elif register == SOCKET_FULL:
        note_socket_full(pair, argument(host, ARGUMENT_0))
    elif register == RINGS_ROTATED:
        rotate_slots(host, pair, argument(host, ARGUMENT_0))


# -- the exits


@kernel
def take_interrupt(host: Any, wire: Any, pair: Any) -> int:
    """INTERRUPT if the queue's interrupt is due, else 0.

    It is not waited for where the wire's clock stands still.
    """
    if pair.interrupt_pending == 0 or (pair.interrupt_ps > wire.time_ps and not is_held_up(host, wire, pair)):
        return 0
    pair.last_interrupt_ps = pair.interrupt_ps
    pair.interrupt_pending = 0
    return INTERRUPT


@kernel
def take_transmit_interrupt(pair: Any) -> int:
    """TRANSMIT_INTERRUPT if the virtio transmit queue's interrupt is there, else 0; nothing throttles it."""
    if pair.tx_interrupt_pending == 0:
        return 0
    pair.tx_interrupt_pending = 0
    return TRANSMIT_INTERRUPT


@kernel
def take_interrupts(host: Any, wire: Any, pair: Any) -> int:
    """What woke a guest that slept: one of the two, both, or neither."""
    return take_interrupt(host, wire, pair) | take_transmit_interrupt(pair)


@kernel
def idle(host: Any, wire: Any, pair: Any) -> int:
    """The guest sleeps.

    Until an interrupt, a command, its own timer, or 5 ms, so that a kick finds it running.
    """
    for _ in range(LONGEST_IDLE_STEPS):
        if has_work(host, wire, pair):
            break
        sleep_us(IDLE_STEP_US)
    return take_interrupts(host, wire, pair)


@kernel
def read(pair: Any, register: int) -> int:
    """The value of a device's register."""
    index = QUEUE_REGISTER_OF[register]
    return read_register(pair, index) if index != NO_REGISTER else 0


@kernel
def serve_write(host: Any, wire: Any, pair: Any, register: int, value: int) -> None:
    """The guest wrote a served register."""
    if register >= PORTS:
        index = QUEUE_REGISTER_OF[register]
        if index != NO_REGISTER:
            set_register(pair, index, value, wire.time_ps)
    elif register == HYPERCALL:
        hypercall(host, wire.lockstep != 0)
    elif register == INVALIDATE:
        host.device_waits = wire.lockstep != 0
        iommu_hypervisor.invalidate_for_guest(host, argument(host, ARGUMENT_0))
    else:
        take_note(host, wire, pair, register)


@kernel
def serve_idle(host: Any, wire: Any, source: Any, frames: Any, pair: Any) -> int:
    """The guest sleeps; returns INTERRUPT if that is what woke it."""
    if not wire.lockstep:
        return idle(host, wire, pair)
    sleep_till_work(host, wire, source, frames, pair)
    return 0 if host.leaves else take_interrupts(host, wire, pair)


@kernel
def serve(
    host: Any,
    wire: Any,
    source: Any,
    frames: Any,
    pair: Any,
    register: int,
    value: int,
    is_write: int,
) -> int:
    """One exit of the guest; returns the value of a read."""
    if register == IDLE and not is_write:
        return serve_idle(host, wire, source, frames, pair)
    if is_write:
        serve_write(host, wire, pair, register, value)
    else:
        value = read(pair, register)
    if wire.lockstep:
        pass_exit(host, wire, source, frames, pair)
    return value
