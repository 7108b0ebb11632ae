"""What the compiled exit loop reports: a code, and a record of the last exit in words that people read."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfbench.errors import RunFailed
from vfbench.testbeds.kvm.sys import abi

# Why the loop came back.
CONTINUE = 0
STOPPED = 1
INTERRUPTED = 2
FAILED = 3
BAD_ACCESS = 4
UNSERVED = 5

# Fields of the record, an int64 array.
TOTAL_EXITS = 0
LAST_REGISTER = 1
LAST_VALUE = 2
LAST_ACCESS = 3
EXIT_REASON = 4
SYSTEM_ERROR = 5
RECORD_FIELDS = 6


class GuestFault(RunFailed):
    """The guest can't go on; the message says why, in one line."""


class OutsideMemory(GuestFault):
    """The guest's page tables have nothing at an address that it accessed."""


@dataclass(frozen=True)
class Stop:
    """A run that ended as it should.

    reason: `register` (a register whose action is STOP), `halted`, or `kicked` (`VirtualMachine.kick`).
    register, value: the access that stopped it; -1 and 0 for the other reasons.
    """

    reason: str
    register: int = -1
    value: int = 0


def explain(outcome: int, record: NDArray[np.int64], run: abi.kvm_run) -> str:
    """One line on why the guest could not go on."""
    if outcome == FAILED:
        return f"KVM_RUN failed: {os.strerror(int(record[SYSTEM_ERROR]))}"
    if outcome == BAD_ACCESS:
        kind = "port" if record[EXIT_REASON] == abi.KVM_EXIT_IO else "address"
        return f"the guest accessed {kind} {int(record[LAST_ACCESS]):#x}, where no register is"
    reason = int(record[EXIT_REASON])
    if reason == abi.KVM_EXIT_SHUTDOWN:
        return "the guest triple-faulted"
    if reason == abi.KVM_EXIT_FAIL_ENTRY:
        return f"the vCPU could not be entered: {run.fail_entry.hardware_entry_failure_reason:#x}"
    if reason == abi.KVM_EXIT_INTERNAL_ERROR:
        return _explain_internal_error(run.internal)
    return f"the guest left with exit reason {reason}, which nothing here serves"


def _explain_internal_error(internal: abi.kvm_run_internal) -> str:
    """KVM_INTERNAL_ERROR_EMULATION carries the instruction: flags, size, then up to 15 bytes."""
    message = f"KVM gave up on the guest with internal error {internal.suberror}"
    if internal.suberror == abi.KVM_INTERNAL_ERROR_EMULATION and internal.ndata > 2 and internal.data[0] & 1:
        raw = bytes(ctypes.string_at(ctypes.addressof(internal.data) + 8, 16))
        message += f": it can't emulate the instruction {raw[1 : 1 + raw[0]].hex(' ')}"
    return message
