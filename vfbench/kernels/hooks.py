"""Calling a kernel by its address, so that one compiled machine serves every strategy and workload."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.typing.typeof import typeof
from numba.extending import intrinsic

from vfbench.kernels.decorator import COMPILED, Kernel, implements

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
    entry = function.entry  # type: ignore[attr-defined]
    entry.compile(signature)
    compiled = entry.overloads[signature]
    # A function without a result stores a null pointer where the result would be: it reads as 0.
    if types.unliteral(compiled.signature.return_type) not in (types.int64, types.none):
        raise TypeError(
            f"{function.__name__} returns {compiled.signature.return_type}, a hook an int64 or nothing"
        )
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


@intrinsic  # type: ignore[untyped-decorator]
def _call_address(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call by numba's own convention; what the function raises goes on to whoever called the caller."""
    signature = types.int64(types.int64, arguments)

    def codegen(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        convention = context.call_conv
        function_type = convention.get_function_type(types.int64, tuple(arguments))
        function = builder.inttoptr(values[0], function_type.as_pointer())
        unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        status, result = convention.call_function(builder, function, types.int64, tuple(arguments), unpacked)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return result

    return signature, codegen


def call_hook(address: int, *arguments: Any) -> int:
    """Call the kernel at ``address`` (from :func:`address_of`); the arguments are records and int64 only.

    Nothing is called, and the result is 0, for :data:`NO_KERNEL`.
    """
    return _python_functions[int(address)](*arguments) or 0 if address != NO_KERNEL else 0


@implements(call_hook)
def _call_hook(address: Any, *arguments: Any) -> Any:
    def call(address: Any, *arguments: Any) -> Any:
        return _call_address(address, arguments) if address != NO_KERNEL else 0

    return call
