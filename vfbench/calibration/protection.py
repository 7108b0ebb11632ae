"""What a store to a write-protected page costs a process: the fault, the signal, mprotect, and the store again.

It is not what a guest pays for the first store after a sync of the dirty log. There the fault is an exit to KVM,
which finds the entry, notes the page and lifts the protection without any signal. So this figure is shown beside
the profile and stands for none of its costs.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numba
import numpy as np
from numba import types

from vfbench.calibration.loops import store_to_pages
from vfbench.calibration.measurement import Probe
from vfbench.calibration.memory import PAGE_BYTES, timed_ns
from vfbench.testbeds.kvm.sys.raw_memory import load_i64

PAGES: Final = 512
SA_SIGINFO: Final = 4
SI_ADDR_OFFSET: Final = 16
"""Of the faulting address in siginfo_t, on 64-bit Linux."""
READ_WRITE: Final = 3
SIG_DFL: Final = 0

_mprotect = types.ExternalFunction("mprotect", types.int32(types.int64, types.int64, types.int32))
_signal = types.ExternalFunction("signal", types.int64(types.int32, types.int64))


class SigAction(ctypes.Structure):
    """struct sigaction of the C library on x86-64 Linux."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def _lift(number: int, info: int, _context: int) -> None:
    """Make the page writable; a fault that has another reason ends the process as it would have."""
    if _mprotect(load_i64(info + SI_ADDR_OFFSET) & -PAGE_BYTES, PAGE_BYTES, READ_WRITE) != 0:
        _signal(number, SIG_DFL)


@contextmanager
def _lifting_protection() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    lift: Any = numba.cfunc(types.void(types.int32, types.int64, types.int64))(_lift)
    new, old = SigAction(handler=lift.address, flags=SA_SIGINFO), SigAction()
    libc.sigaction(signal.SIGSEGV, ctypes.byref(new), ctypes.byref(old))
    try:
        yield
    finally:
        libc.sigaction(signal.SIGSEGV, ctypes.byref(old), None)


def store_to_protected_ns() -> float:
    """One store to each of 512 protected pages, per store."""
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, PAGES * PAGE_BYTES) as memory:
        view = np.frombuffer(memory, dtype=np.uint8)
        view[::PAGE_BYTES] = 1
        base = int(view.ctypes.data)
        del view
        store_to_pages(base, PAGES, PAGE_BYTES)
        with _lifting_protection():
            libc.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(PAGES * PAGE_BYTES), mmap.PROT_READ)
            return timed_ns(lambda: store_to_pages(base, PAGES, PAGE_BYTES)) / PAGES


def protection_probe() -> Probe:
    """The cost of a write fault that a process handles itself."""
    method = (
        "store under mprotect, SIGSEGV, mprotect in the handler, the store again; no EPT fault of a guest"
    )
    return Probe("store_to_protected_page", "ns", method, store_to_protected_ns, belongs=False)
