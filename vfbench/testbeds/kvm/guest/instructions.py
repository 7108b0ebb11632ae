"""What a guest program does and a host program doesn't: the dummy write that counts, port I/O, its own time, halting.

Kernels call these by name; the calls become inline assembly in the guest's code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vfbench.testbeds.kvm.sys.raw_memory import CLOBBERS, load_u8, store_u8

_I64, _I32, _I16 = ir.IntType(64), ir.IntType(32), ir.IntType(16)


def _touch(address: int) -> None:
    store_u8(address, load_u8(address))


def _port_out(_typing: Any, pair: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [_I16, _I32])
        operands = [builder.trunc(args[0], _I16), builder.trunc(args[1], _I32)]
        builder.asm(function, "outl %eax, %dx", f"{{dx}},{{ax}},{CLOBBERS}", operands, side_effect=True)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _port_in(_typing: Any, pair: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = ir.FunctionType(_I32, [_I16])
        pair = [builder.trunc(args[0], _I16)]
        value = builder.asm(function, "inl %dx, %eax", f"={{ax}},{{dx}},{CLOBBERS}", pair, side_effect=True)
        return builder.zext(value, _I64)

    return types.int64(types.int64), codegen


def _time_stamp(_typing: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.LiteralStructType([_I64, _I64]), [])
        halves = builder.asm(function, "rdtsc", f"={{ax}},={{dx}},{CLOBBERS}", args, side_effect=True)
        high = builder.shl(builder.extract_value(halves, 1), ir.Constant(_I64, 32))
        return builder.or_(builder.extract_value(halves, 0), high)

    return types.int64(), codegen


def _halt(_typing: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        builder.asm(ir.FunctionType(ir.VoidType(), []), "hlt", CLOBBERS, [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), codegen


_inline: Any = numba.njit(inline="always", error_model="numpy")

# touch(address): read the byte there and write it back, so that the CPU's store marks its page dirty.
touch = cast("Callable[[int], None]", _inline(_touch))
# port_out(port, value): OUT, the low 32 bits of the value. Leaves the guest.
port_out = cast("Callable[[int, int], None]", intrinsic(_port_out))
# port_in(port): IN, 32 bits. Leaves the guest.
port_in = cast("Callable[[int], int]", intrinsic(_port_in))
# time_stamp(): RDTSC, ticks at the counter's own rate. Does not leave the guest, unless the host makes it.
time_stamp = cast("Callable[[], int]", intrinsic(_time_stamp))
# halt(): HLT; there are no interrupts, so it ends the run.
halt = cast("Callable[[], None]", intrinsic(_halt))
