"""The ioctl numbers and struct sizes are those of linux/kvm.h, as a C compiler on x86-64 prints them."""

from __future__ import annotations

import ctypes

import pytest

from vfbench.testbeds.kvm.sys import abi


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("KVM_GET_API_VERSION", 0xAE00),
        ("KVM_CREATE_VM", 0xAE01),
        ("KVM_CHECK_EXTENSION", 0xAE03),
        ("KVM_GET_VCPU_MMAP_SIZE", 0xAE04),
        ("KVM_GET_SUPPORTED_CPUID", 0xC008AE05),
        ("KVM_CREATE_VCPU", 0xAE41),
        ("KVM_GET_DIRTY_LOG", 0x4010AE42),
        ("KVM_SET_USER_MEMORY_REGION", 0x4020AE46),
        ("KVM_SET_TSS_ADDR", 0xAE47),
        ("KVM_SET_IDENTITY_MAP_ADDR", 0x4008AE48),
        ("KVM_IOEVENTFD", 0x4040AE79),
        ("KVM_RUN", 0xAE80),
        ("KVM_GET_REGS", 0x8090AE81),
        ("KVM_SET_REGS", 0x4090AE82),
        ("KVM_GET_SREGS", 0x8138AE83),
        ("KVM_SET_SREGS", 0x4138AE84),
        ("KVM_SET_SIGNAL_MASK", 0x4004AE8B),
        ("KVM_SET_CPUID2", 0x4008AE90),
        ("KVM_ENABLE_CAP", 0x4068AEA3),
        ("KVM_CLEAR_DIRTY_LOG", 0xC018AEC0),
    ],
)
def test_ioctl_numbers_are_the_kernels(name: str, number: int) -> None:
    assert getattr(abi, name) == number


def test_the_exit_union_lies_where_the_kernel_writes_it() -> None:
    assert ctypes.sizeof(abi.kvm_run) == 2352
    assert abi.kvm_run.exit.offset + abi.kvm_run_io.data_offset.offset == 40
    assert abi.kvm_run.immediate_exit.offset == 1
