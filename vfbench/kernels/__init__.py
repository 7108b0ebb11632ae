"""How a kernel is compiled, cached and called by address.

Kernels are plain functions. With the compiler on they become machine code, cached on disk; with
``NUMBA_DISABLE_JIT=1`` they run as the Python they are written in, which is how they are cross-checked.
"""

from vfbench.kernels.cache import kept_text
from vfbench.kernels.content import content_key
from vfbench.kernels.decorator import (
    COMPILED,
    Kernel,
    implements,
    is_kept,
    kernel,
    rare_kernel,
    when_compiling,
)
from vfbench.kernels.hooks import NO_KERNEL, address_of, call_hook
from vfbench.kernels.sources import ALL_SOURCES, source_hash

__all__ = [
    "ALL_SOURCES",
    "COMPILED",
    "NO_KERNEL",
    "Kernel",
    "address_of",
    "call_hook",
    "content_key",
    "implements",
    "is_kept",
    "kept_text",
    "kernel",
    "rare_kernel",
    "source_hash",
    "when_compiling",
]
