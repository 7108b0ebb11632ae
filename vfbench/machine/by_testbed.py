"""Functions of the machine whose meaning depends on the testbed: the model's is written in place, others add theirs.

On the model, the observer and the device stand beside the guest and may be told directly. A real guest has to
leave itself to reach them, so another testbed adds its own implementation for its own records
(``numba.extending.overload``).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from vfbench.kernels import Kernel

MODEL_FIELDS = ("words", "rx_offered")
"""What the model's processor and port have, and a guest's records do not."""


def is_model_record(record: Any) -> bool:
    """Whether a numba type is that of one of the model's records."""
    return isinstance(record, types.Record) and any(field in record.fields for field in MODEL_FIELDS)


def on_model(function: Kernel) -> Kernel:
    """``function`` as it stands is what happens when its first argument is one of the model's records."""

    def implement(*arguments: Any) -> Any:
        return function if is_model_record(arguments[0]) else None

    overload(function, strict=False, jit_options={"error_model": "numpy", "forceinline": True})(implement)
    return function
