"""Functions of the machine whose meaning depends on the side on which they run.

A record's type says on which: it has exactly one marker field. ``side_model``: guest, host and observer stand in one
process and in virtual time. ``side_host``: beside a real guest, whose memory is mapped here. ``side_guest``: inside
it, as machine code. ``side_device``: the VF of a guest that has a driver of its own, in whose memory bytes are real.
numba picks the implementation by the type of the first argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from vfbench.kernels import Kernel, implements

MODEL, HOST, GUEST, DEVICE = "side_model", "side_host", "side_guest", "side_device"
"""The names of the marker fields."""


def is_on(side: str, record: Any) -> bool:
    """Whether a numba type is that of a record of ``side``."""
    return isinstance(record, types.Record) and side in record.fields


def implementation(stub: Any, side: str) -> Callable[[Kernel], Kernel]:
    """Decorator: the function below is what ``stub`` means when its first argument is a record of ``side``."""

    def register(function: Kernel) -> Kernel:
        def implement(*arguments: Any) -> Any:
            return function if is_on(side, arguments[0]) else None

        implements(stub, side, function)(implement)
        return function

    return register


def primitive(function: Kernel) -> Kernel:
    """``function`` as it stands is the model's implementation; other sides add theirs (:func:`implementation`)."""
    return implementation(function, MODEL)(function)
