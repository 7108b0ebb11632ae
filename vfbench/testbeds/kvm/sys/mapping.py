"""Shared memory mappings that numpy can look at and that `with` can let go of.

Python's own mmap keeps a duplicate of the file descriptor for as long as it lives, and refuses to close while
an array looks at it. Here the descriptor stays the caller's, and the pages are unmapped when the last array
that looks at them is gone.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PROT_READ_WRITE = 0x1 | 0x2
_MAP_SHARED = 0x01
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class _Pages:
    """Owns the mapping; every array made from it holds it by reference."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        address = _libc.mmap(None, size_bytes, _PROT_READ_WRITE, _MAP_SHARED, fd, 0)
        if address == _MAP_FAILED:
            code = ctypes.get_errno()
            raise OSError(code, f"mmap of {size_bytes} bytes: {os.strerror(code)}")
        weakref.finalize(self, _libc.munmap, address, size_bytes)
        self.__array_interface__ = {
            "shape": (size_bytes,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


def map_shared(fd: int, size_bytes: int) -> NDArray[np.uint8]:
    """Map `size_bytes` of `fd`, read and write, as bytes. The caller keeps `fd` and may close it at once."""
    return np.asarray(_Pages(fd, size_bytes))


class GuestMemory:
    """Memory of a guest: a memfd that KVM, host threads and other processes map.

    `fd` is valid until `close`; it may be given, and then becomes this object's to close. `bytes` and `view`
    give arrays over the host's mapping; a store through them reaches the guest like DMA and does not show in
    its dirty log.
    """

    def __init__(self, size_bytes: int, fd: int | None = None) -> None:
        self.size_bytes = size_bytes
        self.fd = os.memfd_create("vfbench-guest", os.MFD_CLOEXEC) if fd is None else fd
        try:
            os.ftruncate(self.fd, size_bytes)
            self.bytes = map_shared(self.fd, size_bytes)
        except BaseException:
            os.close(self.fd)
            raise

    @property
    def address(self) -> int:
        """Where guest-physical address 0 lies in this process."""
        return self.bytes.ctypes.data

    def view(self, gpa: int, dtype: Any, count: int = 1) -> NDArray[Any]:
        """`count` elements of `dtype` at guest-physical address `gpa`, as an array over the memory itself."""
        size_bytes = np.dtype(dtype).itemsize * count
        if gpa < 0 or gpa + size_bytes > self.size_bytes:
            raise ValueError(
                f"{size_bytes} bytes at {gpa:#x} do not lie in a memory of {self.size_bytes:#x} bytes"
            )
        return self.bytes[gpa : gpa + size_bytes].view(dtype)

    def close(self) -> None:
        """Close the memfd; the pages go when the last array over them goes."""
        os.close(self.fd)
        self.bytes = np.empty(0, np.uint8)
