"""Run the vCPU until a register access that is to stop it; every other exit is served here, compiled.

Source: Documentation/virt/kvm/api.rst, KVM_RUN and struct kvm_run. An I/O or MMIO access is only complete
once KVM_RUN is entered again: the value that a read returns is taken from kvm_run at that moment.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from vfbench.errors import UserError
from vfbench.kernels import COMPILED, call_hook, kernel
from vfbench.testbeds.kvm.host.service import Service
from vfbench.testbeds.kvm.migrate.outcome import (
    BAD_ACCESS,
    CONTINUE,
    EXIT_REASON,
    FAILED,
    INTERRUPTED,
    LAST_ACCESS,
    LAST_REGISTER,
    LAST_VALUE,
    STOPPED,
    SYSTEM_ERROR,
    TOTAL_EXITS,
    UNSERVED,
)
from vfbench.testbeds.kvm.sys import abi
from vfbench.testbeds.kvm.sys.raw_memory import (
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    store_u8,
    store_u16,
    store_u32,
)
from vfbench.testbeds.kvm.sys.registers import MMIO_BASE, MMIO_BYTES, PORTS, READ_ONLY, SERVED, STOP

_ioctl: Any = types.ExternalFunction("ioctl", types.int32(types.int32, types.uint64, types.uint64))
_errno_location: Any = types.ExternalFunction("__errno_location", types.int64())

_EINTR = errno.EINTR
_KVM_RUN = abi.KVM_RUN
_EXIT_IO, _EXIT_MMIO, _IO_OUT = abi.KVM_EXIT_IO, abi.KVM_EXIT_MMIO, abi.KVM_EXIT_IO_OUT

_REASON = abi.kvm_run.exit_reason.offset
_UNION = abi.kvm_run.exit.offset
_IO_DIRECTION = _UNION + abi.kvm_run_io.direction.offset
_IO_SIZE = _UNION + abi.kvm_run_io.size.offset
_IO_PORT = _UNION + abi.kvm_run_io.port.offset
_IO_COUNT = _UNION + abi.kvm_run_io.count.offset
_IO_DATA_OFFSET = _UNION + abi.kvm_run_io.data_offset.offset
_MMIO_ADDRESS = _UNION + abi.kvm_run_mmio.phys_addr.offset
_MMIO_DATA = _UNION + abi.kvm_run_mmio.data.offset
_MMIO_LENGTH = _UNION + abi.kvm_run_mmio.len.offset
_MMIO_IS_WRITE = _UNION + abi.kvm_run_mmio.is_write.offset


@kernel
def _load(address: int, size_bytes: int) -> int:
    if size_bytes == 1:
        return load_u8(address)
    if size_bytes == 2:
        return load_u16(address)
    return load_u32(address)


@kernel
def _store(address: int, size_bytes: int, value: int) -> None:
    if size_bytes == 1:
        store_u8(address, value)
    elif size_bytes == 2:
        store_u16(address, value)
    else:
        store_u32(address, value)


@kernel
def _serve(service: Any, register: int, value: int, is_write: int) -> int:
    """Call the service with its records; returns the value of a read."""
    address, host, wire, source, frames, port = service
    return call_hook(address, host, wire, source, frames, port, register, value, is_write)


@kernel
def _access(
    registers: Any, service: Any, register: int, address: int, size_bytes: int, is_write: bool, record: Any
) -> int:
    """Serve one access: `address` is where kvm_run holds the data, or is to hold it."""
    values, reads, writes, actions = registers
    if is_write:
        value = _load(address, size_bytes)
        writes[register] += 1
        if not actions[register] & READ_ONLY:
            values[register] = value
        if actions[register] & SERVED:
            _serve(service, register, value, 1)
    else:
        value = values[register]
        if actions[register] & SERVED:
            value = _serve(service, register, 0, 0)
        reads[register] += 1
        _store(address, size_bytes, value)
    record[LAST_REGISTER] = register
    record[LAST_VALUE] = value
    return STOPPED if actions[register] & STOP else CONTINUE


@kernel
def _port_exit(run: int, registers: Any, service: Any, record: Any) -> Any:
    port = load_u16(run + _IO_PORT)
    record[LAST_ACCESS] = port
    if port >= PORTS or load_u32(run + _IO_COUNT) != 1:
        return BAD_ACCESS
    data = run + load_i64(run + _IO_DATA_OFFSET)
    is_write = load_u8(run + _IO_DIRECTION) == _IO_OUT
    return _access(registers, service, port, data, load_u8(run + _IO_SIZE), is_write, record)


@kernel
def _mmio_exit(run: int, registers: Any, service: Any, record: Any) -> Any:
    address = load_i64(run + _MMIO_ADDRESS)
    record[LAST_ACCESS] = address
    offset = address - MMIO_BASE
    if offset < 0 or offset >= MMIO_BYTES or offset % 4 or load_u32(run + _MMIO_LENGTH) != 4:
        return BAD_ACCESS
    is_write = load_u8(run + _MMIO_IS_WRITE) != 0
    return _access(registers, service, PORTS + offset // 4, run + _MMIO_DATA, 4, is_write, record)


@kernel
def _run_until_stop(vcpu_fd: int, run: int, registers: Any, service: Any, record: Any) -> Any:
    while True:
        if _ioctl(vcpu_fd, _KVM_RUN, 0) < 0:
            record[SYSTEM_ERROR] = load_u32(_errno_location())
            return INTERRUPTED if record[SYSTEM_ERROR] == _EINTR else FAILED
        reason = load_u32(run + _REASON)
        record[EXIT_REASON] = reason
        record[TOTAL_EXITS] += 1
        if reason == _EXIT_IO:
            outcome = _port_exit(run, registers, service, record)
        elif reason == _EXIT_MMIO:
            outcome = _mmio_exit(run, registers, service, record)
        else:
            outcome = UNSERVED
        if outcome != CONTINUE:
            return outcome


def exit_loop(
    vcpu_fd: int, run: int, registers: tuple[NDArray[Any], ...], service: Service, record: NDArray[np.int64]
) -> int:
    """KVM_RUN again and again until something ends it; returns one of the codes of `outcome`.

    run: address of kvm_run; registers: the arrays (values, reads, writes, actions) of `Registers`; service:
    what serves the registers whose action is SERVED; record: the fields of `outcome`, brought up to date. No
    GIL is held.
    """
    if not COMPILED:
        raise UserError("the kvm testbed needs numba's compiler, which NUMBA_DISABLE_JIT switches off")
    return int(_run_until_stop(vcpu_fd, run, registers, service.arguments, record))
