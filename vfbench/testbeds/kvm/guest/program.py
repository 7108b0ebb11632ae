"""The guest's program.

The driver's poll, the application, the guest's other work, and what the hypervisor asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types

from vfbench.kernels import content_key, kernel
from vfbench.machine.cpu import store
from vfbench.machine.driver.application import consume_due, next_due_ps
from vfbench.machine.driver.poll import poll_one
from vfbench.machine.driver.quiesce import quiesce
from vfbench.machine.driver.vf_open import close_vf, open_vf, restore_rings
from vfbench.machine.driver.virtio_receive import virtio_refill
from vfbench.machine.driver.virtio_transmit import virtio_poll_transmitted
from vfbench.machine.hooks import run_hooks
from vfbench.machine.memory.guest_memory import CONTENT, PAGE_SHIFT, SENT
from vfbench.machine.sides import GUEST
from vfbench.machine.slots import ARMED, DISARMED
from vfbench.machine.wire import APPLICATION
from vfbench.testbeds.kvm.guest import code
from vfbench.testbeds.kvm.guest import primitives as _primitives  # noqa: F401 - their overloads
from vfbench.testbeds.kvm.guest.code import GuestCode, compile_guest_cached
from vfbench.testbeds.kvm.guest.guest_abi import (
    ARGUMENT_0,
    ARGUMENT_1,
    ARM,
    CLOSE_VF,
    COMMAND,
    COMMAND_ARGUMENT_0,
    COMMAND_ARGUMENT_1,
    DISARM,
    DRAIN,
    FAULT,
    GUEST_CPU,
    GUEST_PAIR,
    HANG,
    IDLE,
    INTERRUPT,
    LEAVE,
    NO_COMMAND,
    NOTICE,
    OPEN_VF,
    RESTORE_RINGS,
    RINGS_ROTATED,
    SET_PATH,
    TRANSMIT_INTERRUPT,
    WALL_CLOCK,
)
from vfbench.testbeds.kvm.guest.instructions import port_in, port_out
from vfbench.testbeds.kvm.guest.primitives import go_on_counting, stop_counting
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, store_i64
from vfbench.workload import next_random

if TYPE_CHECKING:
    from vfbench.workload import Workload

MOST_PAGES_AT_ONCE = 16
OUTSIDE_THE_MAP = -8


@kernel
def write_due_pages(cpu: Any, pair: Any) -> None:
    """The guest's other work, whose time counts for no packet.

    Stores to pages of its working set, drawn evenly, at its own pace on the wall clock.
    """
    if load_i64(WALL_CLOCK) < cpu.writer_next_ps:
        return
    stop_counting(pair)
    write_pages(cpu)
    go_on_counting(pair)


@kernel
def write_pages(cpu: Any) -> None:
    """As many as are due, but no more than MOST_PAGES_AT_ONCE."""
    for _ in range(MOST_PAGES_AT_ONCE):
        if load_i64(WALL_CLOCK) < cpu.writer_next_ps:
            return
        page = cpu.writer_base + ((next_random(cpu) % cpu.writer_pages) << PAGE_SHIFT)
        cpu.writer_count += 1
        store(cpu, page, CONTENT | SENT | cpu.writer_count)
        cpu.writer_next_ps += cpu.writer_gap_ps


@kernel
def drain(cpu: Any, pair: Any, application: Any) -> None:
    """Poll until there is nothing more; the device is stopped, so that is soon."""
    pair.polling = 1
    while pair.polling:
        poll_one(cpu, pair, application)
    quiesce(cpu, pair)


@kernel
def obey_vf(cpu: Any, pair: Any, command: int) -> None:
    """Open, close, or restore the VF's queue."""
    if command == OPEN_VF:
        open_vf(cpu, pair)
    elif command == CLOSE_VF:
        close_vf(cpu, pair)
        quiesce(cpu, pair)
    elif command == RESTORE_RINGS:
        rx_head = load_i64(COMMAND_ARGUMENT_0)
        restore_rings(cpu, pair, rx_head, load_i64(COMMAND_ARGUMENT_1))
        store_i64(ARGUMENT_0, rx_head)
        port_out(RINGS_ROTATED, 0)


@kernel
def obey_tracking(cpu: Any, command: int) -> None:
    """The hypervisor begins to track, or tracks no more."""
    if command == ARM:
        run_hooks(cpu, ARMED)
    elif command == DISARM:
        run_hooks(cpu, DISARMED)


@kernel
def misbehave(command: int) -> None:
    """A guest that hangs or faults, to see what becomes of the other side."""
    if command == HANG:
        # Whatever it is asked for from here on.
        while load_i64(COMMAND) != NO_COMMAND:
            pass
    elif command == FAULT:
        store_i64(OUTSIDE_THE_MAP, 0)


@kernel
def obey(cpu: Any, pair: Any, application: Any, command: int) -> None:
    """Do what the hypervisor asks for, then say that it is done."""
    if command == NOTICE:
        pair.quiesce_requested = 1
    elif command == DRAIN:
        drain(cpu, pair, application)
    elif command == SET_PATH:
        pair.path = load_i64(COMMAND_ARGUMENT_0)
        pair.polling = 1
    obey_vf(cpu, pair, command)
    obey_tracking(cpu, command)
    misbehave(command)
    store_i64(COMMAND, NO_COMMAND)


@kernel
def rest(cpu: Any, pair: Any) -> None:
    """Sleep until an interrupt, a command, or the time when the application is done with a packet."""
    store_i64(ARGUMENT_0, next_due_ps(cpu))
    store_i64(ARGUMENT_1, cpu.writer_next_ps)
    stop_counting(pair)
    woken_by = port_in(IDLE)
    go_on_counting(pair)
    if woken_by & INTERRUPT:
        pair.polling = 1
    if woken_by & TRANSMIT_INTERRUPT:
        virtio_poll_transmitted(cpu)
    consume_due(cpu, pair)


@kernel
def bring_up(cpu: Any, pair: Any, vf: int, virtio: int) -> None:
    """Bring up the devices that the guest has."""
    if vf:
        open_vf(cpu, pair)
    if virtio:
        virtio_refill(cpu, pair)


@kernel
def guest_main(cpu: Any, pair: Any, application: Any, vf: int, virtio: int) -> None:
    """Everything that the guest does, until it is told to leave."""
    go_on_counting(pair)
    bring_up(cpu, pair, vf, virtio)
    command = NO_COMMAND
    while command != LEAVE:
        write_due_pages(cpu, pair)
        if pair.polling and not pair.quiesce_requested:
            poll_one(cpu, pair, application)
        else:
            rest(cpu, pair)
        command = load_i64(COMMAND)
        if command != NO_COMMAND:
            obey(cpu, pair, application, command)


def record_type(dtype: np.dtype[Any]) -> Any:
    """numba's type of one record."""
    return numba.typeof(np.recarray(1, dtype)[0])


def _compiled(function: Callable[..., Any], *argument_types: Any) -> GuestCode:
    return compile_guest_cached(function, argument_types, content_key(function, code, sides=(GUEST,)))


def compile_main() -> GuestCode:
    """The guest's entry: three records, then whether it has a VF and a virtio-net device."""
    records = (record_type(GUEST_CPU), record_type(GUEST_PAIR), record_type(APPLICATION))
    return _compiled(guest_main, *records, types.int64, types.int64)


def compile_hook(function: Callable[..., Any], arguments: int) -> GuestCode:
    """A mechanism's hook that takes ``arguments`` words after the processor and the slot."""
    return _compiled(function, record_type(GUEST_CPU), *[types.int64] * (1 + arguments))


def compile_delivered(workload: Workload) -> GuestCode:
    """The workload's ``delivered``."""
    word = types.int64
    return _compiled(type(workload).delivered, record_type(GUEST_CPU), record_type(APPLICATION), word, word)
