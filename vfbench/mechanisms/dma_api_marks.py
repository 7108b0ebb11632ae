"""The DMA API marks pages: where a mapping that the device may write ends, or is synced for the CPU.

An atomic addition of nothing to a word of each page, in the kernel's DMA layer: no driver changes. It is always on, for
the guest does not know of migrations. Memory that is never synced, the rings, is left to the stop: the driver marks
their pages once more when it quiesces.

Source: Alexander Duyck, linux-kernel, 13 December 2015, "x86: Add support for guest DMA dirty page tracking"
(dma_mark_dirty).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import dummy_write
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES
from vfbench.mechanism import Mechanism, Trait, hook


@hook
def mark_synced(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    """``dma_sync_single_range_for_cpu``: the first word, and whether it is in the cache nobody knows."""
    dummy_write(cpu, address & -8, True, False)


@hook
def mark_unmapped(cpu: Any, slot: int, iova: int, address: int, length_bytes: int, direction: int) -> None:
    """``dma_unmap_page``: each mapping lies within one page here."""
    if direction & WRITE:
        dummy_write(cpu, address & -8, True, False)


@kernel
def mark_ring(cpu: Any, ring: int, size: int) -> None:
    """Every page of a ring."""
    for offset in range(0, size * DESCRIPTOR_BYTES, PAGE_BYTES):
        dummy_write(cpu, ring + offset, True, False)


@hook
def mark_rings(cpu: Any, slot: int) -> None:
    """The driver stands still: no descriptor is written back any more."""
    mark_ring(cpu, cpu.rx_ring, cpu.rx_size)
    mark_ring(cpu, cpu.tx_ring, cpu.tx_size)


@dataclass(frozen=True)
class DmaApiMarks(Mechanism):
    """Pages are marked where the DMA API hands them back to the CPU."""

    name: ClassVar[str] = "dma-api-marks"
    demands: ClassVar[tuple[str, ...]] = ("guest-dma-api",)
    sync_for_cpu: ClassVar[Kernel | None] = mark_synced
    unmap: ClassVar[Kernel | None] = mark_unmapped

    rings_at_stop: bool = True
    """Whether the driver marks its rings when it quiesces."""

    @property
    def quiesce(self) -> Kernel | None:  # type: ignore[override]
        return mark_rings if self.rings_at_stop else None

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "dma-api"}

    @property
    def faults(self) -> tuple[int, ...]:
        return () if self.rings_at_stop else (8,)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("marking in the DMA API: the patches of December 2015 were never merged",)
        )
