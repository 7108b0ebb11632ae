"""/dev/kvm: opened, and asked what it can do.

Source: Documentation/virt/kvm/api.rst, system ioctls.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType

from vfbench.errors import UserError
from vfbench.testbeds.kvm.sys import abi

PATH = "/dev/kvm"


class KvmDevice:
    """/dev/kvm as a context manager. UserError, in one line, where it can't be had."""

    def __init__(self, path: str = PATH) -> None:
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise UserError(
                f"{path} does not exist: the kvm testbed needs a Linux whose kernel has KVM"
            ) from None
        except PermissionError:
            raise UserError(f"no permission to open {path}: its group (mostly `kvm`) has it") from None
        except OSError as error:
            raise UserError(f"{path} can't be opened: {error.strerror}") from None
        try:
            self._check_version(path)
        except BaseException:
            os.close(self.fd)
            raise

    def _check_version(self, path: str) -> None:
        try:
            self.api_version = fcntl.ioctl(self.fd, abi.KVM_GET_API_VERSION)
        except OSError as error:
            raise UserError(f"{path} does not answer as KVM: {error.strerror}") from None
        if self.api_version != abi.KVM_API_VERSION:
            raise UserError(f"{path} speaks API version {self.api_version}, not {abi.KVM_API_VERSION}")

    def __enter__(self) -> KvmDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def check_extension(self, capability: int) -> int:
        """KVM_CHECK_EXTENSION: 0 for none, else 1 or flags."""
        return fcntl.ioctl(self.fd, abi.KVM_CHECK_EXTENSION, capability)

    def create_vm(self) -> int:
        """KVM_CREATE_VM: a new descriptor, the caller's to close."""
        try:
            return fcntl.ioctl(self.fd, abi.KVM_CREATE_VM, 0)
        except OSError as error:
            raise UserError(f"KVM can't create a VM here: {error.strerror}") from None

    def supported_cpuid(self) -> abi.kvm_cpuid2:
        """KVM_GET_SUPPORTED_CPUID."""
        cpuid = abi.kvm_cpuid2(nent=abi.KVM_MAX_CPUID_ENTRIES)
        fcntl.ioctl(self.fd, abi.KVM_GET_SUPPORTED_CPUID, cpuid)
        return cpuid
