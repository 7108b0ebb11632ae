"""Raw memory by address: the one place where a kernel touches bytes.

A base address plus an index, as a processor sees it. Compiled, each is one instruction; with the compiler
off, ctypes reads and writes the same bytes.
"""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vfbench.kernels import implements


def load_word(base: int, index: int) -> int:
    """The signed 64-bit word at ``base + 8 * index``."""
    return ctypes.c_int64.from_address(int(base) + 8 * int(index)).value


def store_word(base: int, index: int, value: int) -> None:
    """Store a signed 64-bit word at ``base + 8 * index``."""
    ctypes.c_int64.from_address(int(base) + 8 * int(index)).value = int(value)


def load_byte(base: int, index: int) -> int:
    """The unsigned byte at ``base + index``."""
    return ctypes.c_uint8.from_address(int(base) + int(index)).value


def store_byte(base: int, index: int, value: int) -> None:
    """Store the low eight bits of ``value`` at ``base + index``."""
    ctypes.c_uint8.from_address(int(base) + int(index)).value = int(value) & 0xFF


def bit_length(value: int) -> int:
    """How many bits a number that is not negative takes; 0 for 0."""
    return int(value).bit_length()


def _pointer(builder: Any, args: Any, bits: int) -> Any:
    base = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
    return builder.gep(base, [args[1]])


def _loader(bits: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def load(typingctx: Any, base: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(_pointer(builder, args, bits))
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64, types.int64), codegen

    return load


def _storer(bits: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def store(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = args[2] if bits == 64 else builder.trunc(args[2], ir.IntType(bits))
            builder.store(value, _pointer(builder, args, bits))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return store


_load_word, _store_word = _loader(64), _storer(64)
_load_byte, _store_byte = _loader(8), _storer(8)


@implements(load_word)
def _overload_load_word(base: Any, index: Any) -> Any:
    return lambda base, index: _load_word(base, index)


@implements(store_word)
def _overload_store_word(base: Any, index: Any, value: Any) -> Any:
    return lambda base, index, value: _store_word(base, index, value)


@implements(load_byte)
def _overload_load_byte(base: Any, index: Any) -> Any:
    return lambda base, index: _load_byte(base, index)


@implements(store_byte)
def _overload_store_byte(base: Any, index: Any, value: Any) -> Any:
    return lambda base, index, value: _store_byte(base, index, value)


@intrinsic  # type: ignore[untyped-decorator]
def _bit_length(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 64), zeros)

    return types.int64(types.int64), codegen


@implements(bit_length)
def _overload_bit_length(value: Any) -> Any:
    return lambda value: _bit_length(value)
