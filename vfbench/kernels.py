"""How a kernel is compiled, cached and called by address.

Kernels are plain functions. With the compiler on they become machine code, cached on disk; with
``NUMBA_DISABLE_JIT=1`` they run as the Python they are written in, which is how they are cross-checked.

numba's disk cache watches the file a function stands in, not the files of the functions it calls. So the
cache folder is keyed by a hash of every source of vfbench that has kernels, and inside it a strategy's or a
workload's by a hash of the sources beside it: a stale kernel cannot be loaded, and who edits a strategy does not
wait for the machine to be compiled again, which calls it by address.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.typeof import typeof
from numba.extending import intrinsic, overload
from platformdirs import user_cache_path

Kernel = Callable[..., Any]

COMPILED = not numba.config.DISABLE_JIT

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "vfbench/*.py",
    "vfbench/calibration/loops.py",
    "vfbench/validation/known/parts.py",
    "vfbench/validation/linux/played.py",
    "vfbench/machine/**/*.py",
    "vfbench/testbeds/**/*.py",
)
"""Where kernels of vfbench may stand; a test sees to it that none stands elsewhere."""
ALL_SOURCES = ("vfbench/**/*.py", "strategies/*.py", "workloads/*.py")
KEPT_CACHES = 24


def source_hash(patterns: tuple[str, ...] = SOURCES) -> str:
    """Sixteen hex digits over the sources that match ``patterns``, and over numba's version."""
    return _hash_of([path for pattern in patterns for path in sorted(ROOT.glob(pattern))])


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in paths:
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        digest.update(name.as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _select_cache_folder() -> Path:
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_path("vfbench") / "kernels")
    folder = base / source_hash()
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        caches = [p for p in base.iterdir() if len(p.name) == 16 and p.is_dir()]
        by_age = sorted(caches, key=lambda p: p.stat().st_mtime)
        for old in by_age[:-KEPT_CACHES]:
            shutil.rmtree(old, ignore_errors=True)
    # One that is in use is not old.
    os.utime(folder)
    return folder


CACHE_FOLDER = _select_cache_folder()
numba.config.CACHE_DIR = str(CACHE_FOLDER)


@functools.cache
def cache_folder_beside(folder: Path) -> Path:
    """The cache of kernels that stand in ``folder``, outside vfbench; another one after any change there."""
    return CACHE_FOLDER / _hash_of(sorted(folder.glob("*.py")))


@contextmanager
def _cached_for(function: Kernel) -> Iterator[None]:
    """numba notes a function's cache folder when it is decorated."""
    source = Path(function.__code__.co_filename)
    if source.exists() and not source.resolve().is_relative_to(ROOT / "vfbench"):
        numba.config.CACHE_DIR = str(cache_folder_beside(source.resolve().parent))
    try:
        yield
    finally:
        numba.config.CACHE_DIR = str(CACHE_FOLDER)


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` on its first call with given types, without the GIL, cached on disk.

    Division by zero is numpy's, not Python's: a kernel has no way to raise.
    """
    small = len(inspect.getsource(function).splitlines()) <= FORCED_INLINE_LINES
    with _cached_for(function):
        compiled: Kernel = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=small)(
            function
        )
    return compiled


FORCED_INLINE_LINES = 14
"""Longer functions are inlined where LLVM sees fit: forced everywhere, they multiply the code to compile."""

NO_KERNEL = 0
"""The address that stands for a hook that does nothing."""

_python_functions: dict[int, Kernel] = {}


def address_of(function: Kernel, *arguments: Any) -> int:
    """The address by which :func:`call_hook` reaches ``function`` when called with ``arguments`` like these.

    A record keeps such addresses in its fields, so one compiled machine serves every strategy and workload.
    With the compiler off the address is a number that stands for the Python function.
    """
    if not COMPILED:
        _python_functions[id(function)] = function
        return id(function)
    signature = tuple(typeof(a) for a in arguments)
    function.compile(signature)  # type: ignore[attr-defined]
    compiled = function.overloads[signature]  # type: ignore[attr-defined]
    # A function without a result stores a null pointer where the result would be: it reads as 0.
    if types.unliteral(compiled.signature.return_type) not in (types.int64, types.none):
        raise TypeError(
            f"{function.__name__} returns {compiled.signature.return_type}, a hook an int64 or nothing"
        )
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


@intrinsic  # type: ignore[untyped-decorator]
def _call_address(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call by numba's native convention: result pointer, exception pointer, then the arguments."""
    signature = types.int64(types.int64, arguments)

    def codegen(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        result = cgutils.alloca_once(builder, ir.IntType(64))
        exception = cgutils.alloca_once(builder, ir.IntType(8).as_pointer())
        unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        call = [result, exception, *unpacked]
        function = ir.FunctionType(ir.IntType(32), [value.type for value in call])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), call)
        return builder.load(result)

    return signature, codegen


def call_hook(address: int, *arguments: Any) -> int:
    """Call the kernel at ``address`` (from :func:`address_of`); the arguments are records and int64 only.

    Nothing is called, and the result is 0, for :data:`NO_KERNEL`.
    """
    return _python_functions[int(address)](*arguments) or 0 if address != NO_KERNEL else 0


@overload(call_hook, strict=False)  # type: ignore[untyped-decorator]
def _call_hook(address: Any, *arguments: Any) -> Any:
    def call(address: Any, *arguments: Any) -> Any:
        return _call_address(address, arguments) if address != NO_KERNEL else 0

    return call
