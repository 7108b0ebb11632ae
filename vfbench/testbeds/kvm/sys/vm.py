"""A virtual machine with one vCPU, memory from a memfd and the kernel's own dirty log.

Source: Documentation/virt/kvm/api.rst, VM ioctls.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfbench.errors import UserError
from vfbench.testbeds.kvm.host.device import KvmDevice
from vfbench.testbeds.kvm.migrate.outcome import GuestFault, Stop
from vfbench.testbeds.kvm.sys import abi, boot, dirty_log
from vfbench.testbeds.kvm.sys.mapping import GuestMemory
from vfbench.testbeds.kvm.sys.registers import MMIO_BASE, RETURN_PORT
from vfbench.testbeds.kvm.sys.vcpu import DEFAULT_SILENCE_LIMIT_S, Vcpu

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.guest.code import GuestCode

_SLOT = 0
# Pages that KVM on Intel may need for itself: high in the address space, below 4 GiB and not in any slot.
_IDENTITY_MAP_GPA = 0xFFFB_C000
_TSS_GPA = 0xFFFB_D000

# call *%rax; out %eax, $RETURN_PORT; hlt; jmp to the hlt
_ENTRY_STUB = bytes([0xFF, 0xD0, 0xE7, RETURN_PORT, 0xF4, 0xEB, 0xFD])
_CODE_ALIGNMENT = 64

# numba's native convention, status in eax: 0 for a value, -2 for None; anything else is an exception.
_STATUS_OK = (0, 0xFFFF_FFFE)


def _set_tss_address(vm_fd: int) -> None:
    """KVM_SET_TSS_ADDR; the address is the argument itself, and Python's fcntl takes no more than 31 bits."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(vm_fd, ctypes.c_ulong(abi.KVM_SET_TSS_ADDR), ctypes.c_ulong(_TSS_GPA)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"KVM_SET_TSS_ADDR: {os.strerror(code)}")


class VirtualMachine:
    """`with VirtualMachine(memory_bytes) as vm:` - every descriptor is closed at the end of the block.

    memory_bytes: a multiple of 2 MiB, below 3.25 GiB, where the device registers lie. The guest program has
    what lies from `boot.FREE_BASE` on. manual_protect: None takes what the kernel has. memory_fd: a memfd to
    use, which becomes the VM's.
    """

    def __init__(
        self, memory_bytes: int, *, manual_protect: bool | None = None, memory_fd: int | None = None
    ) -> None:
        if memory_bytes % boot.LARGE_PAGE_BYTES or not boot.FREE_BASE < memory_bytes <= MMIO_BASE:
            raise UserError(
                f"a KVM guest of {memory_bytes} bytes: must be a multiple of 2 MiB, "
                f"over {boot.FREE_BASE >> 20} MiB and at most {MMIO_BASE >> 20} MiB"
            )
        with KvmDevice() as kvm, ExitStack() as stack:
            self._open(stack, kvm, memory_bytes, manual_protect, memory_fd)
            self._resources = stack.pop_all()

    def _open(
        self, stack: ExitStack, kvm: KvmDevice, memory_bytes: int, manual: bool | None, memory_fd: int | None
    ) -> None:
        modes = kvm.check_extension(abi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
        has_manual = bool(modes & abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
        if manual and not has_manual:
            raise UserError("this kernel has no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2")
        self.memory = GuestMemory(memory_bytes, memory_fd)
        stack.callback(self.memory.close)
        self.fd = kvm.create_vm()
        stack.callback(os.close, self.fd)
        manual_protect = has_manual if manual is None else manual
        if manual_protect:
            dirty_log.enable_manual_protect(self.fd)
        self.log = dirty_log.DirtyLog(
            self.fd, _SLOT, memory_bytes // boot.PAGE_BYTES, manual_protect=manual_protect
        )
        self._set_memory_region(flags=0)
        fcntl.ioctl(self.fd, abi.KVM_SET_IDENTITY_MAP_ADDR, _IDENTITY_MAP_GPA.to_bytes(8, "little"))
        _set_tss_address(self.fd)
        run_bytes = fcntl.ioctl(kvm.fd, abi.KVM_GET_VCPU_MMAP_SIZE)
        self.vcpu = Vcpu(self.fd, run_bytes, kvm.supported_cpuid())
        stack.callback(self.vcpu.close)
        boot.write_page_tables(self.memory.bytes)
        boot.write_exception_handlers(self.memory.bytes)
        self.memory.view(boot.CODE_BASE, np.uint8, len(_ENTRY_STUB))[:] = list(_ENTRY_STUB)
        self._next_code = boot.CODE_BASE + _CODE_ALIGNMENT

    def __enter__(self) -> VirtualMachine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _set_memory_region(self, flags: int) -> None:
        region = abi.kvm_userspace_memory_region(
            slot=_SLOT,
            flags=flags,
            guest_phys_addr=0,
            memory_size=self.memory.size_bytes,
            userspace_addr=self.memory.address,
        )
        fcntl.ioctl(self.fd, abi.KVM_SET_USER_MEMORY_REGION, region)

    def set_dirty_logging(self, on: bool) -> None:
        """Switch the log on (it starts empty) or off (it is lost)."""
        self._set_memory_region(abi.KVM_MEM_LOG_DIRTY_PAGES if on else 0)

    def dirty_log(self) -> NDArray[np.bool_]:
        """One bool per page: stored to by the guest since the last call. Get and clear; see `DirtyLog`."""
        bitmap = self.log.get()
        self.log.clear(bitmap)
        return dirty_log.as_pages(bitmap)

    def assign_ioeventfd(self, port: int, eventfd: int) -> None:
        """KVM_IOEVENTFD: 32-bit writes to `port` count up `eventfd` in the kernel, and the guest runs on."""
        assignment = abi.kvm_ioeventfd(addr=port, len=4, fd=eventfd, flags=abi.KVM_IOEVENTFD_FLAG_PIO)
        fcntl.ioctl(self.fd, abi.KVM_IOEVENTFD, assignment)

    def load(self, code: GuestCode) -> int:
        """Copy code into the guest; returns the guest-physical address by which it is called."""
        start = self._next_code
        if start + len(code.image) > boot.CODE_END:
            raise UserError(f"{code.name}: {len(code.image)} bytes of guest code do not fit any more")
        self.memory.bytes[start : start + len(code.image)] = np.frombuffer(code.image, np.uint8)
        used_bytes = -(-len(code.image) // _CODE_ALIGNMENT) * _CODE_ALIGNMENT
        self._next_code = start + used_bytes
        return start + code.entry_offset

    def start(self, entry: int, *arguments: int) -> None:
        """Make the next `run` call guest code at `entry` (from `load`) with these 64-bit arguments."""
        words = (entry, boot.RESULT_GPA, boot.EXCEPTION_GPA, *arguments)
        stack_pointer, *on_stack = self.vcpu.start(words)
        self.memory.view(stack_pointer, np.int64, len(on_stack))[:] = on_stack
        self.memory.view(boot.RESULT_GPA, np.int64)[0] = 0

    def run(self, silence_limit_s: float = DEFAULT_SILENCE_LIMIT_S) -> Stop:
        """Run the vCPU; see `Vcpu.run`."""
        return self.vcpu.run(silence_limit_s)

    def returned(self, stop: Stop) -> bool:
        """Whether `stop` is the return of the function that was started. GuestFault if it raised."""
        if stop.reason != "register" or stop.register != RETURN_PORT:
            return False
        if stop.value not in _STATUS_OK:
            raise GuestFault(f"the guest's function ended with status {stop.value:#x}")
        return True

    @property
    def result(self) -> int:
        """What the function that returned last gave back; 0 for None."""
        return int(self.memory.view(boot.RESULT_GPA, np.int64)[0])

    def call(self, entry: int, *arguments: int, silence_limit_s: float = DEFAULT_SILENCE_LIMIT_S) -> int:
        """Start, run to the return, and give the result. GuestFault if the guest stopped anywhere else."""
        self.start(entry, *arguments)
        stop = self.run(silence_limit_s)
        if not self.returned(stop):
            raise GuestFault(f"the guest stopped before its function returned: {stop}")
        return self.result
