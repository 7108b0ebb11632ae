"""The part of linux/kvm.h (x86-64) that this testbed uses: ioctls, structs, constants, by their own names.

Sizes and offsets are asserted on import against the kernel's; a struct that does not fit fails here and not
as a corrupted VM later.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64
from typing import Any

_KVMIO = 0xAE
_IOC_WRITE = 1
_IOC_READ = 2


def _ioc(direction: int, number: int, size_bytes: int) -> int:
    """asm-generic/ioctl.h: direction in bits 30 and 31, size from bit 16, type from bit 8, number below."""
    return direction << 30 | size_bytes << 16 | _KVMIO << 8 | number


def _each(kind: Any, names: str) -> list[tuple[str, Any]]:
    """Fields of one type, by their names with spaces between them."""
    return [(name, kind) for name in names.split()]


class kvm_userspace_memory_region(ctypes.Structure):
    _fields_ = [
        ("slot", c_uint32),
        ("flags", c_uint32),
        ("guest_phys_addr", c_uint64),
        ("memory_size", c_uint64),
        ("userspace_addr", c_uint64),
    ]


class kvm_regs(ctypes.Structure):
    _fields_ = _each(c_uint64, "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags")


class kvm_segment(ctypes.Structure):
    _fields_ = [
        ("base", c_uint64),
        ("limit", c_uint32),
        ("selector", c_uint16),
        *_each(c_uint8, "type present dpl db s l g avl unusable padding"),
    ]


class kvm_dtable(ctypes.Structure):
    _fields_ = [("base", c_uint64), ("limit", c_uint16), ("padding", c_uint16 * 3)]


class kvm_sregs(ctypes.Structure):
    _fields_ = [
        *_each(kvm_segment, "cs ds es fs gs ss tr ldt"),
        ("gdt", kvm_dtable),
        ("idt", kvm_dtable),
        *_each(c_uint64, "cr0 cr2 cr3 cr4 cr8 efer apic_base"),
        ("interrupt_bitmap", c_uint64 * 4),
    ]


class kvm_run_io(ctypes.Structure):
    """KVM_EXIT_IO; the data lies at `data_offset` from the start of kvm_run."""

    _fields_ = [
        ("direction", c_uint8),
        ("size", c_uint8),
        ("port", c_uint16),
        ("count", c_uint32),
        ("data_offset", c_uint64),
    ]


class kvm_run_mmio(ctypes.Structure):
    """KVM_EXIT_MMIO."""

    _fields_ = [
        ("phys_addr", c_uint64),
        ("data", c_uint8 * 8),
        ("len", c_uint32),
        ("is_write", c_uint8),
    ]


class kvm_run_fail_entry(ctypes.Structure):
    """KVM_EXIT_FAIL_ENTRY."""

    _fields_ = [("hardware_entry_failure_reason", c_uint64), ("cpu", c_uint32)]


class kvm_run_internal(ctypes.Structure):
    """KVM_EXIT_INTERNAL_ERROR."""

    _fields_ = [("suberror", c_uint32), ("ndata", c_uint32), ("data", c_uint64 * 16)]


class kvm_run_exit(ctypes.Union):
    """The union that says more about `exit_reason`."""

    _fields_ = [
        ("io", kvm_run_io),
        ("mmio", kvm_run_mmio),
        ("fail_entry", kvm_run_fail_entry),
        ("internal", kvm_run_internal),
        ("padding", c_uint8 * 256),
    ]


class kvm_run(ctypes.Structure):
    """The page that the vCPU's fd maps (KVM_GET_VCPU_MMAP_SIZE bytes)."""

    _anonymous_ = ("exit",)
    _fields_ = [
        ("request_interrupt_window", c_uint8),
        ("immediate_exit", c_uint8),
        ("padding1", c_uint8 * 6),
        ("exit_reason", c_uint32),
        ("ready_for_interrupt_injection", c_uint8),
        ("if_flag", c_uint8),
        ("flags", c_uint16),
        ("cr8", c_uint64),
        ("apic_base", c_uint64),
        ("exit", kvm_run_exit),
        ("kvm_valid_regs", c_uint64),
        ("kvm_dirty_regs", c_uint64),
        ("s", c_uint8 * 2048),
    ]


class kvm_dirty_log(ctypes.Structure):
    _fields_ = [("slot", c_uint32), ("padding1", c_uint32), ("dirty_bitmap", c_uint64)]


class kvm_clear_dirty_log(ctypes.Structure):
    _fields_ = [
        ("slot", c_uint32),
        ("num_pages", c_uint32),
        ("first_page", c_uint64),
        ("dirty_bitmap", c_uint64),
    ]


class kvm_enable_cap(ctypes.Structure):
    _fields_ = [("cap", c_uint32), ("flags", c_uint32), ("args", c_uint64 * 4), ("pad", c_uint8 * 64)]


class kvm_ioeventfd(ctypes.Structure):
    _fields_ = [
        ("datamatch", c_uint64),
        ("addr", c_uint64),
        ("len", c_uint32),
        ("fd", ctypes.c_int32),
        ("flags", c_uint32),
        ("pad", c_uint8 * 36),
    ]


class kvm_cpuid_entry2(ctypes.Structure):
    _fields_ = [
        *_each(c_uint32, "function index flags eax ebx ecx edx"),
        ("padding", c_uint32 * 3),
    ]


KVM_MAX_CPUID_ENTRIES = 256


class kvm_cpuid2(ctypes.Structure):
    """Ends in a flexible array; here it is given the most entries the kernel takes."""

    _fields_ = [
        ("nent", c_uint32),
        ("padding", c_uint32),
        ("entries", kvm_cpuid_entry2 * KVM_MAX_CPUID_ENTRIES),
    ]


class kvm_signal_mask(ctypes.Structure):
    """Ends in a flexible array: one kernel sigset_t, 8 bytes."""

    _pack_ = 1
    _fields_ = [("len", c_uint32), ("sigset", c_uint64)]


_SIZES_BYTES: dict[type[ctypes.Structure], int] = {
    kvm_userspace_memory_region: 32,
    kvm_regs: 144,
    kvm_segment: 24,
    kvm_dtable: 16,
    kvm_sregs: 312,
    kvm_run: 2352,
    kvm_dirty_log: 16,
    kvm_clear_dirty_log: 24,
    kvm_enable_cap: 104,
    kvm_ioeventfd: 64,
    kvm_cpuid_entry2: 40,
    kvm_cpuid2: 8 + 40 * KVM_MAX_CPUID_ENTRIES,
    kvm_signal_mask: 4 + 8,
}
for _struct, _size in _SIZES_BYTES.items():
    assert ctypes.sizeof(_struct) == _size, f"{_struct.__name__}: {ctypes.sizeof(_struct)}, not {_size}"
assert kvm_run.exit.offset == 32
assert kvm_run.kvm_valid_regs.offset == 288
assert kvm_run_io.data_offset.offset == 8
assert kvm_run_mmio.len.offset == 16

# On /dev/kvm
KVM_GET_API_VERSION = _ioc(0, 0x00, 0)
KVM_CREATE_VM = _ioc(0, 0x01, 0)
KVM_CHECK_EXTENSION = _ioc(0, 0x03, 0)
KVM_GET_VCPU_MMAP_SIZE = _ioc(0, 0x04, 0)
KVM_GET_SUPPORTED_CPUID = _ioc(_IOC_READ | _IOC_WRITE, 0x05, 8)

# On a VM
KVM_CREATE_VCPU = _ioc(0, 0x41, 0)
KVM_GET_DIRTY_LOG = _ioc(_IOC_WRITE, 0x42, ctypes.sizeof(kvm_dirty_log))
KVM_SET_USER_MEMORY_REGION = _ioc(_IOC_WRITE, 0x46, ctypes.sizeof(kvm_userspace_memory_region))
KVM_SET_TSS_ADDR = _ioc(0, 0x47, 0)
KVM_SET_IDENTITY_MAP_ADDR = _ioc(_IOC_WRITE, 0x48, 8)
KVM_IOEVENTFD = _ioc(_IOC_WRITE, 0x79, ctypes.sizeof(kvm_ioeventfd))
KVM_ENABLE_CAP = _ioc(_IOC_WRITE, 0xA3, ctypes.sizeof(kvm_enable_cap))
KVM_CLEAR_DIRTY_LOG = _ioc(_IOC_READ | _IOC_WRITE, 0xC0, ctypes.sizeof(kvm_clear_dirty_log))

# On a vCPU
KVM_RUN = _ioc(0, 0x80, 0)
KVM_GET_REGS = _ioc(_IOC_READ, 0x81, ctypes.sizeof(kvm_regs))
KVM_SET_REGS = _ioc(_IOC_WRITE, 0x82, ctypes.sizeof(kvm_regs))
KVM_GET_SREGS = _ioc(_IOC_READ, 0x83, ctypes.sizeof(kvm_sregs))
KVM_SET_SREGS = _ioc(_IOC_WRITE, 0x84, ctypes.sizeof(kvm_sregs))
KVM_SET_SIGNAL_MASK = _ioc(_IOC_WRITE, 0x8B, 4)
KVM_SET_CPUID2 = _ioc(_IOC_WRITE, 0x90, 8)

KVM_API_VERSION = 12

KVM_CAP_USER_MEMORY = 3
KVM_CAP_SET_TSS_ADDR = 4
KVM_CAP_IOEVENTFD = 36
KVM_CAP_SET_IDENTITY_MAP_ADDR = 37
KVM_CAP_MAX_VCPUS = 66
KVM_CAP_IMMEDIATE_EXIT = 136
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168
KVM_CAP_DIRTY_LOG_RING = 192
KVM_CAP_DIRTY_LOG_RING_ACQ_REL = 223

KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1
KVM_DIRTY_LOG_INITIALLY_SET = 2

KVM_MEM_LOG_DIRTY_PAGES = 1

KVM_IOEVENTFD_FLAG_PIO = 2
KVM_IOEVENTFD_FLAG_DEASSIGN = 4

KVM_EXIT_IO = 2
KVM_EXIT_HLT = 5
KVM_EXIT_MMIO = 6
KVM_EXIT_SHUTDOWN = 8
KVM_EXIT_FAIL_ENTRY = 9
KVM_EXIT_INTERNAL_ERROR = 17

KVM_EXIT_IO_IN = 0
KVM_EXIT_IO_OUT = 1

KVM_INTERNAL_ERROR_EMULATION = 1
