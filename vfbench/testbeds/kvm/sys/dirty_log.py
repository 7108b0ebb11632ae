"""The kernel's dirty log of one memory slot.

Source: Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG and
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2. Without manual protection a get clears and protects every page again; with
it a get only reads, and a clear protects the pages of a given bitmap. A page must be copied after it was
cleared: a store between its get and its clear is in the get's bitmap or lost.
"""

from __future__ import annotations

import fcntl

import numpy as np
from numpy.typing import NDArray

from vfbench.testbeds.kvm.sys import abi

_PAGES_PER_WORD = 64


def enable_manual_protect(vm_fd: int) -> None:
    """KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, without KVM_DIRTY_LOG_INITIALLY_SET: a log starts empty."""
    capability = abi.kvm_enable_cap(cap=abi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
    capability.args[0] = abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
    fcntl.ioctl(vm_fd, abi.KVM_ENABLE_CAP, capability)


class DirtyLog:
    """One bit per page of a slot, in 64-bit words; `pages` is a multiple of 64."""

    def __init__(self, vm_fd: int, slot: int, pages: int, *, manual_protect: bool) -> None:
        self._vm_fd = vm_fd
        self._slot = slot
        self._pages = pages
        self.manual_protect = manual_protect

    def get(self) -> NDArray[np.uint64]:
        """Pages stored to since they were last cleared. Clears them where there is no manual protection."""
        bitmap = np.zeros(self._pages // _PAGES_PER_WORD, np.uint64)
        log = abi.kvm_dirty_log(slot=self._slot, dirty_bitmap=bitmap.ctypes.data)
        fcntl.ioctl(self._vm_fd, abi.KVM_GET_DIRTY_LOG, log)
        return bitmap

    def clear(self, bitmap: NDArray[np.uint64], first_page: int = 0) -> None:
        """Clear and protect the pages of `bitmap`, whose first bit is `first_page` (a multiple of 64).

        Does nothing where there is no manual protection, since the get has done it.
        """
        if not self.manual_protect:
            return
        bitmap = np.ascontiguousarray(bitmap)
        log = abi.kvm_clear_dirty_log(
            slot=self._slot,
            num_pages=bitmap.size * _PAGES_PER_WORD,
            first_page=first_page,
            dirty_bitmap=bitmap.ctypes.data,
        )
        fcntl.ioctl(self._vm_fd, abi.KVM_CLEAR_DIRTY_LOG, log)


def as_pages(bitmap: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """The bitmap with one bool per page."""
    return np.unpackbits(bitmap.view(np.uint8), bitorder="little").view(np.bool_)
