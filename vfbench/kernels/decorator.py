"""What ``@kernel`` makes of a function: code for the kernels that call it, or an entry for Python and for addresses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba.core import types
from numba.extending import overload

from vfbench.kernels.cache import KernelCache
from vfbench.kernels.content import IMPLEMENTATIONS
from vfbench.kernels.interrupts import interrupts_kept
from vfbench.kernels.libraries import EntryCompiler, InnerCompiler, RareCompiler

Kernel = Callable[..., Any]

COMPILED = not numba.config.DISABLE_JIT

FORCED_INLINE_LINES = 6
"""Longer functions are inlined where LLVM sees fit: forced everywhere, they multiply the code to compile. With 14 lines
a clean cache costs three times as much processor time, and no row of ``benchmarks/speed.py`` is faster."""

INNER: dict[str, Any] = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": InnerCompiler,
}
ENTRY: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": EntryCompiler,
}


class CompiledKernel:
    """A kernel with the compiler on. Other kernels call ``inner``; Python, and addresses, lead to ``entry``.

    Each is compiled when it is first wanted, for most kernels are only ever one of the two.
    """

    def __init__(self, function: Kernel, *, rare: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._rare = rare

    def __call__(self, *arguments: Any) -> Any:
        return self.entry(*arguments)

    def __reduce__(self) -> str:
        # Pickled as functions are: by its name.
        return self.py_func.__qualname__

    @functools.cached_property
    def inner(self) -> Any:
        """numba's dispatcher for calls from kernels."""
        if self._rare:
            return numba.njit(**{**INNER, "pipeline_class": RareCompiler})(self.py_func)
        short = _source_lines(self.py_func) <= FORCED_INLINE_LINES
        return numba.njit(**INNER, forceinline=short)(self.py_func)

    @functools.cached_property
    def entry(self) -> Any:
        """numba's dispatcher for calls from Python, cached on disk."""
        dispatcher = numba.njit(**ENTRY)(self.py_func)
        dispatcher._cache = KernelCache(self, "entry", _announce)
        dispatcher.compile = _interruptible(dispatcher.compile)
        return dispatcher

    @property
    def _numba_type_(self) -> Any:
        """What numba takes the kernel for where another kernel calls it."""
        return types.Dispatcher(self.inner)


def _source_lines(function: Kernel) -> int:
    """How many lines it takes, decorator and docstring included; its file need not be there."""
    code = function.__code__
    return max(line for _, _, line in code.co_lines() if line is not None) - code.co_firstlineno + 1


def _interruptible(compile_signature: Kernel) -> Kernel:
    def compile_it(signature: Any) -> Any:
        with interrupts_kept():
            return compile_signature(signature)

    return compile_it


_listener: Callable[[], None] | None = None


def when_compiling(listener: Callable[[], None]) -> None:
    """Call ``listener`` when the first kernel of this process that is not in the cache is about to be compiled."""
    global _listener
    if _listener is not _said:
        _listener = listener


def _said() -> None:
    """In a listener's place once one has been called."""


def _announce() -> None:
    global _listener
    if _listener is not None:
        listener, _listener = _listener, _said
        listener()


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` on its first call with given types, without the GIL, cached on disk.

    Division by zero is numpy's, not Python's.
    """
    return CompiledKernel(function) if COMPILED else function


def rare_kernel(function: Kernel) -> Kernel:
    """A kernel for what hardly ever happens: its code stays out of what calls it."""
    return CompiledKernel(function, rare=True) if COMPILED else function


def is_kept(function: Kernel, *sides: str) -> bool:
    """Whether the cache holds machine code of this kernel, as it stands, for records of these sides."""
    return not COMPILED or function.entry._cache.is_kept(sides)  # type: ignore[attr-defined]


def implements(stub: Kernel, side: str = "", function: Kernel | None = None) -> Callable[[Kernel], Kernel]:
    """Decorator: what the function below returns for given types of arguments is what ``stub`` means for them.

    ``numba.extending.overload``, compiled as kernels are. ``function``: what it returns where records have the field
    ``side``, so that the cache knows it as part of what calls ``stub``.
    """
    if function is not None:
        IMPLEMENTATIONS.setdefault(stub, {})[side] = function
    return overload(stub, strict=False, jit_options={**INNER, "forceinline": True})
