"""One vCPU: its registers, and runs of it that end with a reason.

Source: Documentation/virt/kvm/api.rst, vCPU ioctls.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import threading

import numpy as np

from vfbench.testbeds.kvm.host.service import Service
from vfbench.testbeds.kvm.migrate import outcome
from vfbench.testbeds.kvm.migrate.outcome import GuestFault, OutsideMemory, Stop
from vfbench.testbeds.kvm.sys import abi, boot
from vfbench.testbeds.kvm.sys.mapping import map_shared
from vfbench.testbeds.kvm.sys.registers import FAULT_HIGH_PORT, FAULT_LOW_PORT, FAULT_PORT, Registers
from vfbench.testbeds.kvm.sys.watchdog import KICK_SIGNAL, Ticks, mask_while_running, take_pending_kick

_ARGUMENT_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_RFLAGS_RESERVED = 0x2
_SILENT_TICKS = 4

# A silent guest is found out after this time and at most a quarter more: within 5 s.
DEFAULT_SILENCE_LIMIT_S = 3.6


class Vcpu:
    """`fd` is closed by `close`. `registers` is what the guest reads and writes when it exits;
    `service` is called for those whose action is SERVED."""

    def __init__(self, vm_fd: int, run_bytes: int, cpuid: abi.kvm_cpuid2) -> None:
        self.fd = fcntl.ioctl(vm_fd, abi.KVM_CREATE_VCPU, 0)
        try:
            self._run_pages = map_shared(self.fd, run_bytes)
            fcntl.ioctl(self.fd, abi.KVM_SET_CPUID2, cpuid)
            sregs = self.get_sregs()
            boot.enter_long_mode(sregs)
            fcntl.ioctl(self.fd, abi.KVM_SET_SREGS, sregs)
        except BaseException:
            self.close()
            raise
        self.kvm_run = abi.kvm_run.from_address(self._run_pages.ctypes.data)
        self.registers = Registers()
        self.service = Service()
        self._record = np.zeros(outcome.RECORD_FIELDS, np.int64)
        self._mask: int | None = None
        self._runner: int | None = None
        self._runner_lock = threading.Lock()
        self._kicked = threading.Event()

    @property
    def exits(self) -> int:
        """How often the guest has left for user space since the vCPU was made."""
        return int(self._record[outcome.TOTAL_EXITS])

    def get_regs(self) -> abi.kvm_regs:
        """KVM_GET_REGS."""
        regs = abi.kvm_regs()
        fcntl.ioctl(self.fd, abi.KVM_GET_REGS, regs)
        return regs

    def get_sregs(self) -> abi.kvm_sregs:
        """KVM_GET_SREGS."""
        sregs = abi.kvm_sregs()
        fcntl.ioctl(self.fd, abi.KVM_GET_SREGS, sregs)
        return sregs

    def save(self) -> bytes:
        """The state that makes another vCPU, over a copy of the memory, go on from here.

        kvm_regs and kvm_sregs; guest code uses no FPU. An access that stopped the run is completed first.
        """
        self._complete_access()
        return bytes(self.get_regs()) + bytes(self.get_sregs())

    def restore(self, state: bytes) -> None:
        """Take over what `save` gave. ValueError if the length is another."""
        regs_bytes = ctypes.sizeof(abi.kvm_regs)
        if len(state) != regs_bytes + ctypes.sizeof(abi.kvm_sregs):
            raise ValueError(f"vCPU state of {len(state)} bytes")
        sregs = abi.kvm_sregs.from_buffer_copy(state, regs_bytes)
        fcntl.ioctl(self.fd, abi.KVM_SET_SREGS, sregs)
        fcntl.ioctl(self.fd, abi.KVM_SET_REGS, abi.kvm_regs.from_buffer_copy(state))

    def start(self, words: tuple[int, ...]) -> list[int]:
        """Point the vCPU at the entry stub with `words[0]` to be called and the rest as its arguments.

        System V calling convention; returns the words that go on the stack, from the stack pointer up.
        """
        entry, *arguments = words
        in_registers = arguments[: len(_ARGUMENT_REGISTERS)]
        on_stack = arguments[len(_ARGUMENT_REGISTERS) :]
        regs = abi.kvm_regs(rip=boot.CODE_BASE, rflags=_RFLAGS_RESERVED, rax=entry)
        # 16-byte aligned at the call, as the convention wants it.
        regs.rsp = (boot.RESULT_GPA - 8 * len(on_stack)) & ~0xF
        for name, value in zip(_ARGUMENT_REGISTERS, in_registers, strict=False):
            setattr(regs, name, value & (1 << 64) - 1)
        self._complete_access()
        fcntl.ioctl(self.fd, abi.KVM_SET_REGS, regs)
        return [regs.rsp, *on_stack]

    def _complete_access(self) -> None:
        """Enter and leave at once, so that a port or MMIO access under way is done (api.rst, KVM_RUN)."""
        self.kvm_run.immediate_exit = 1
        try:
            fcntl.ioctl(self.fd, abi.KVM_RUN, 0)
        except InterruptedError:
            pass
        finally:
            self.kvm_run.immediate_exit = 0

    def run(self, silence_limit_s: float = DEFAULT_SILENCE_LIMIT_S) -> Stop:
        """Run until a STOP register, a halt, or a kick; no GIL is held meanwhile.

        A guest that does not exit for `silence_limit_s` (looked at four times in it, so up to a quarter
        later), triple-faults, or accesses what is not there ends with GuestFault.
        """
        with self._runner_lock:
            self._runner = threading.get_ident()
        try:
            with Ticks(silence_limit_s / _SILENT_TICKS):
                self._let_kicks_in()
                return self._run_watched(silence_limit_s)
        finally:
            with self._runner_lock:
                self._runner = None

    def _run_watched(self, silence_limit_s: float) -> Stop:
        from vfbench.testbeds.kvm.host.exit_loop import exit_loop

        registers = self.registers
        arrays = (registers.values, registers.reads, registers.writes, registers.actions)
        exits_seen, silent_ticks = self.exits, 0
        while not self._kicked.is_set():
            code = exit_loop(self.fd, self._run_pages.ctypes.data, arrays, self.service, self._record)
            if code != outcome.INTERRUPTED:
                return self._ended(code)
            if take_pending_kick() and not self._kicked.is_set():
                silent_ticks = 0 if self.exits != exits_seen else silent_ticks + 1
                exits_seen = self.exits
            if silent_ticks >= _SILENT_TICKS:
                raise GuestFault(f"the guest did not exit for {silence_limit_s:g} s")
        self._kicked.clear()
        return Stop("kicked")

    def _ended(self, code: int) -> Stop:
        if code == outcome.STOPPED and self._record[outcome.LAST_REGISTER] == FAULT_PORT:
            raise self._fault(int(self._record[outcome.LAST_VALUE]))
        if code == outcome.STOPPED:
            return Stop(
                "register", int(self._record[outcome.LAST_REGISTER]), int(self._record[outcome.LAST_VALUE])
            )
        if code == outcome.UNSERVED and self._record[outcome.EXIT_REASON] == abi.KVM_EXIT_HLT:
            return Stop("halted")
        raise GuestFault(outcome.explain(code, self._record, self.kvm_run))

    def _fault(self, vector: int) -> GuestFault:
        """What an exception's handler told."""
        values = self.registers.values
        address = (
            int(values[FAULT_LOW_PORT]) & 0xFFFF_FFFF | (int(values[FAULT_HIGH_PORT]) & 0xFFFF_FFFF) << 32
        )
        if vector == boot.PAGE_FAULT:
            return OutsideMemory(f"access outside guest memory at {address:#x}")
        kind = "an invalid opcode" if vector == boot.INVALID_OPCODE else "a general protection fault"
        return GuestFault(f"{kind} at the instruction at {address:#x}")

    def _let_kicks_in(self) -> None:
        """KVM_SET_SIGNAL_MASK, if this thread's mask is another than at the last run."""
        mask = mask_while_running()
        if mask != self._mask:
            fcntl.ioctl(self.fd, abi.KVM_SET_SIGNAL_MASK, abi.kvm_signal_mask(len=8, sigset=mask))
            self._mask = mask

    def kick(self) -> None:
        """From another thread: end the run under way, or the next one, with reason `kicked`."""
        self._kicked.set()
        with self._runner_lock:
            if self._runner is not None:
                # A runner that has not blocked the signal yet ignores it, and then looks at the event.
                signal.pthread_kill(self._runner, KICK_SIGNAL)

    def close(self) -> None:
        """Close the vCPU's descriptor and unmap kvm_run."""
        os.close(self.fd)
        self._run_pages = np.empty(0, np.uint8)
