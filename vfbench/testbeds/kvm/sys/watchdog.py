"""A clock that interrupts KVM_RUN, so that a guest which never exits is checked.

A POSIX timer sends SIGURG to the thread that runs the vCPU. The thread keeps the signal blocked; only KVM_RUN
takes it (KVM_SET_SIGNAL_MASK), so that no handler runs, none is needed, and a signal that comes just before
KVM_RUN is not lost. SIGURG because a stray one does nothing.

Source: timer_create(2) with SIGEV_THREAD_ID; api.rst, KVM_SET_SIGNAL_MASK.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from types import TracebackType

KICK_SIGNAL = signal.SIGURG

_SYS_TIMER_CREATE, _SYS_TIMER_SETTIME, _SYS_TIMER_DELETE = 222, 223, 226
_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4

_libc = ctypes.CDLL(None, use_errno=True)


class _sigevent(ctypes.Structure):
    _fields_ = [
        ("sigev_value", ctypes.c_void_p),
        ("sigev_signo", ctypes.c_int),
        ("sigev_notify", ctypes.c_int),
        ("sigev_notify_thread_id", ctypes.c_int),
        ("pad", ctypes.c_uint8 * 44),
    ]


class _itimerspec(ctypes.Structure):
    _fields_ = [
        ("it_interval_s", ctypes.c_long),
        ("it_interval_ns", ctypes.c_long),
        ("it_value_s", ctypes.c_long),
        ("it_value_ns", ctypes.c_long),
    ]


assert ctypes.sizeof(_sigevent) == 64


def _syscall(number: int, *arguments: object) -> None:
    if _libc.syscall(ctypes.c_long(number), *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Ticks:
    """While entered, interrupts KVM_RUN in this thread every `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_ns = int(interval_s * 1e9)
        self._timer = ctypes.c_int()

    def __enter__(self) -> None:
        self._mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, [KICK_SIGNAL])
        event = _sigevent(
            sigev_signo=KICK_SIGNAL,
            sigev_notify=_SIGEV_THREAD_ID,
            sigev_notify_thread_id=threading.get_native_id(),
        )
        seconds, rest_ns = divmod(self._interval_ns, 10**9)
        times = _itimerspec(seconds, rest_ns, seconds, rest_ns)
        clock, flags = ctypes.c_int(_CLOCK_MONOTONIC), ctypes.c_int(0)
        _syscall(_SYS_TIMER_CREATE, clock, ctypes.byref(event), ctypes.byref(self._timer))
        _syscall(_SYS_TIMER_SETTIME, self._timer, flags, ctypes.byref(times), None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _syscall(_SYS_TIMER_DELETE, self._timer)
        take_pending_kick()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)


def take_pending_kick() -> bool:
    """KVM_RUN leaves the signal that interrupted it pending, and the next KVM_RUN would return at once.

    Returns whether there was one; if not, it was another signal that interrupted.
    """
    return signal.sigtimedwait([KICK_SIGNAL], 0) is not None


def mask_while_running() -> int:
    """This thread's signal mask with the kick let in, as the kernel's 64-bit sigset."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return sum(1 << (number - 1) for number in blocked if number != KICK_SIGNAL)
