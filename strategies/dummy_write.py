"""Dummy write.

DMA does not show in the dirty log; the CPU's stores do. So when the driver takes a buffer or a descriptor back
from the device, it reads one byte of it and writes the same byte back: the page turns dirty and is sent again.

What the dummy write marks is a page, and a page of the ring holds 256 descriptors: it also carries neighbours
that the device has written back and whose buffers nobody has rewritten yet. Hence the driver drains the ring
between the device's stop and its own.

Source: Lan Tianyu, linux-pci, 21 October 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.dummy_writes import BYTES, DummyWrites
from vfbench.parameters import parameter
from vfbench.strategy import FAULT_OF_STOP_ORDER, Migration, Strategy, stop_and_copy, stop_order


@dataclass(frozen=True)
class DummyWrite(Strategy):
    """The driver rewrites a byte of all that the device wrote, so that the page shows in the dirty log."""

    name: ClassVar[str] = "dummy-write"
    linux_defaults: ClassVar[Mapping[str, object]] = {"descriptors": False}

    byte: str = parameter(
        "first", choices=tuple(BYTES), help="which bytes of a packet a dummy write rewrites"
    )
    descriptors: bool = parameter(True, help="dummy-write descriptors too, not only buffers")
    atomic: bool = parameter(False, help="read and write in one locked instruction")
    ahead: bool = parameter(
        False, help="also rewrite the next buffer while the device may write it; fault 7 unless atomic"
    )
    when: str = parameter(
        "synced",
        choices=("synced", "given"),
        help="rewrite a buffer when it is back from the device, or already when it is given to it (fault 2)",
    )
    stop_order: str = stop_order("device-first")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), DummyWrites(self.byte, self.descriptors, self.atomic, self.ahead, self.when))

    @property
    def faults(self) -> tuple[int, ...]:
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
