"""Marking in the DMA API.

Whatever a device may have written comes back to the CPU through the kernel's DMA API: at an unmap, or at a sync for
the CPU. So the API itself marks the page there, for every driver and without changing one. It can't be switched off
while no migration is under way, since the guest does not know of one. Rings are coherent memory, mapped for good and
never synced: they are lost to this, unless the driver marks them when it quiesces.

Source: Alexander Duyck, linux-kernel, 13 December 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.mechanisms.dma_api_marks import DmaApiMarks
from vfbench.parameters import parameter
from vfbench.strategy import FAULT_OF_STOP_ORDER, Migration, Strategy, stop_and_copy, stop_order


@dataclass(frozen=True)
class DmaApiMarking(Strategy):
    """The kernel's DMA API marks each page that it hands back to the CPU, for every driver alike."""

    name: ClassVar[str] = "dma-api-marking"

    rings: str = parameter(
        "at-stop",
        choices=("at-stop", "left-out"),
        help="rings are never synced: the driver marks them at the stop, or nobody does (fault 8)",
    )
    stop_order: str = stop_order("device-first")

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), DmaApiMarks(self.rings == "at-stop"))

    @property
    def faults(self) -> tuple[int, ...]:
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
