"""Accesses that no memory answers: guest code, or the host on its behalf, went where the guest has none.

On the model each access is checked, as an MMU would; inside a real guest its page tables do it. Page 0 is nobody's, so
that an address that was never set is found out.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel, rare_kernel
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT


class OutsideMemoryError(Exception):
    """An access outside guest memory; ``fault_address`` of the record on which it happened says where."""


@rare_kernel
def refuse(record: Any, address: int) -> None:
    """End the run: the guest has no memory at ``address``."""
    record.fault_address = address
    raise OutsideMemoryError


@kernel
def check_address(record: Any, address: int) -> None:
    """Guest-physical ``address`` is one whose contents are held."""
    if not PAGE_BYTES <= address < record.backed_bytes:
        refuse(record, address)


@kernel
def check_structure(record: Any, address: int) -> None:
    """Guest-physical ``address`` lies among the structures, which are held word for word."""
    if not PAGE_BYTES <= address < record.structure_bytes:
        refuse(record, address)


@kernel
def check_page(record: Any, page: int) -> None:
    """``page`` is one of the guest's."""
    if not 0 <= page < record.backed_bytes >> PAGE_SHIFT:
        refuse(record, page << PAGE_SHIFT)


def explain_fault(records: Any, strategy: str) -> str:
    """One line on an :class:`OutsideMemoryError` that ended a run of ``strategy``."""
    (address, end), *_ = [
        (int(each.fault_address), int(each.backed_bytes)) for each in records if each.fault_address
    ] or [(0, int(records[0].backed_bytes))]
    return (
        f"strategy {strategy!r}: access outside guest memory at {address & (1 << 64) - 1:#x} "
        f"(memory begins at {PAGE_BYTES:#x} and ends at {end:#x})"
    )
