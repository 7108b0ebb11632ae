"""Loads and stores by address that LLVM neither drops, nor merges, nor moves: one x86-64 instruction each.

For what somebody else changes or watches: kvm_run, a register that another thread reads, memory under a
dirty log, device registers in a guest. (`vfbench.machine.memory.words` is for memory that is the kernel's own.)

They are inline assembly because llvmlite's builder knows no volatile access, plain ones may be optimised
away (`ram[a] = ram[a]` is), and an idempotent atomic may become a fenced load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

# numba does not do this, and LLVM aborts the process at the first inline assembly without it.
binding.initialize_native_asmparser()

CLOBBERS = "~{memory},~{dirflag},~{fpsr},~{flags}"
_I64 = ir.IntType(64)


def _loader(instruction: str) -> Callable[[int], int]:
    """`instruction` in AT&T syntax: $0 is where the value goes, $1 holds the address."""

    def load(_typing: Any, address: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            function = ir.FunctionType(_I64, [_I64])
            return builder.asm(function, instruction, f"=r,r,{CLOBBERS}", args, side_effect=True)

        return types.int64(types.int64), codegen

    return cast("Callable[[int], int]", intrinsic(load))


def _storer(instruction: str) -> Callable[[int, int], None]:
    """`instruction` in AT&T syntax: $0 holds the address, $1 the value."""

    def store(_typing: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            function = ir.FunctionType(ir.VoidType(), [_I64, _I64])
            builder.asm(function, instruction, f"r,r,{CLOBBERS}", args, side_effect=True)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return cast("Callable[[int, int], None]", intrinsic(store))


def _fence(_typing: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        builder.asm(ir.FunctionType(ir.VoidType(), []), "mfence", CLOBBERS, [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), codegen


# fence(): what was stored before is seen by other processors before anything is loaded after it.
fence = cast("Callable[[], None]", intrinsic(_fence))
# load_*(address) gives an int64, zero-extended; store_*(address, value) takes the value's low bits.
load_u8 = _loader("movzbl ($1), ${0:k}")
load_u16 = _loader("movzwl ($1), ${0:k}")
load_u32 = _loader("movl ($1), ${0:k}")
load_i64 = _loader("movq ($1), $0")
store_u8 = _storer("movb ${1:b}, ($0)")
store_u16 = _storer("movw ${1:w}, ($0)")
store_u32 = _storer("movl ${1:k}, ($0)")
store_i64 = _storer("movq $1, ($0)")
