"""What QEMU maps for the device: device addresses, and where in the guest's memory they lie."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vfbench.machine.cpu import INVALIDATIONS
from vfbench.machine.host import INVALIDATE_ALL
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.testbeds.qemu.device.records import MAPPING_BEGIN, MAPPING_END, MAPPING_OFFSET, MAPPING_WORDS

MOST_MAPPINGS = 1 << 16


def identity_of(found: os.stat_result) -> tuple[int, int]:
    """What two descriptors of one file have in common."""
    return found.st_dev, found.st_ino


class GuestMemory:
    """The file behind the guest's memory, mapped whole; a second descriptor of the same file is the same memory."""

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self.identity = identity_of(found)
        self.size_bytes = found.st_size
        self._mapping = mmap.mmap(descriptor, found.st_size)
        self.bytes = np.frombuffer(self._mapping, dtype=np.uint8)

    @property
    def address(self) -> int:
        """Where this process maps it."""
        return int(self.bytes.ctypes.data)

    @property
    def pages(self) -> Any:
        """One row a page."""
        return self.bytes.reshape(-1, PAGE_BYTES)


def memory_of_process(process: int) -> GuestMemory:
    """The guest's memory as QEMU's process holds it: the largest memfd that it has open; ValueError if it has none."""
    found: list[tuple[int, Path]] = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith("/memfd:"):
                found.append((link.stat().st_size, link))
    if not found:
        raise ValueError(f"process {process} holds no guest memory")
    descriptor = os.open(max(found)[1], os.O_RDWR)
    try:
        return GuestMemory(descriptor)
    finally:
        os.close(descriptor)


def pages_of(mappings: Any, access: int) -> Any:
    """Pages of the memory's file that mappings with ``access`` cover, each once, in order."""
    pages = [
        np.arange(offset // PAGE_BYTES, (offset + end - begin) // PAGE_BYTES)
        for begin, end, offset, granted in mappings
        if granted & access
    ]
    return np.unique(np.concatenate(pages)) if pages else np.empty(0, dtype=np.int64)


class DmaMap:
    """The device's address space, as an ordered table that the device's kernels search.

    ``devices`` are the records that look into it; ValueError for a mapping that is no whole page, lies outside its
    file, overlaps another or is one too many. Mappings without a descriptor (ROMs, QEMU's own) are left out: the
    device faults there. ``page_unmapped`` gets the pages that the device could write until a mapping's end.
    """

    def __init__(self, devices: Any) -> None:
        self._devices = devices
        self._table = np.zeros((MOST_MAPPINGS, MAPPING_WORDS), dtype=np.int64)
        self._count = 0
        self.memory: GuestMemory | None = None
        self.maps = self.unmaps = 0
        self.page_unmapped: Callable[[Any], None] | None = None
        self.memory_found: Callable[[int], object] = int
        self._publish()

    def map(self, iova: int, size_bytes: int, offset: int, access: int, descriptor: int | None) -> None:
        """DMA_MAP."""
        self.maps += 1
        if iova % PAGE_BYTES or size_bytes % PAGE_BYTES or size_bytes <= 0 or iova + size_bytes >= 1 << 63:
            raise ValueError(f"DMA_MAP of {size_bytes:#x} bytes at {iova:#x}: no whole pages")
        if descriptor is None:
            return
        memory = self.memory_of(descriptor)
        if memory is None:
            return
        if offset < 0 or offset + size_bytes > memory.size_bytes:
            raise ValueError(
                f"DMA_MAP of {size_bytes:#x} bytes at {offset:#x} of a file of {memory.size_bytes:#x}"
            )
        at = self._position(iova)
        if self._count == MOST_MAPPINGS or (
            at < self._count and self._table[at, MAPPING_BEGIN] < iova + size_bytes
        ):
            raise ValueError(f"DMA_MAP at {iova:#x}: something is mapped there, or no room is left")
        self._table[at + 1 : self._count + 1] = self._table[at : self._count].copy()
        self._table[at] = (iova, iova + size_bytes, offset, access)
        self._count += 1
        self._publish()

    def unmap(self, iova: int, size_bytes: int) -> None:
        """DMA_UNMAP: every mapping that lies in the range; the IOTLB forgets it at once."""
        self.unmaps += 1
        table = self._table[: self._count]
        gone = (table[:, MAPPING_BEGIN] >= iova) & (table[:, MAPPING_END] <= iova + size_bytes)
        if self.page_unmapped is not None and gone.any():
            self.page_unmapped(pages_of(table[gone], WRITE))
        kept = table[~gone]
        self._table[: len(kept)] = kept
        self._count = len(kept)
        self._publish()
        self._invalidate(iova, size_bytes)

    def unmap_all(self) -> None:
        """DMA_UNMAP with its flag for all, or the connection is gone."""
        self._count = 0
        self._publish()
        self._invalidate(0, 1 << 62)

    def mapped_pages(self, access: int) -> Any:
        """Pages of the memory's file that are mapped with ``access``, each once, in order."""
        return pages_of(self._table[: self._count], access)

    def offset_of(self, iova: int) -> int | None:
        """Where in the memory's file ``iova`` lies, or None."""
        at = self._position(iova)
        if at == self._count or self._table[at, MAPPING_BEGIN] > iova:
            return None
        return int(self._table[at, MAPPING_OFFSET] + iova - self._table[at, MAPPING_BEGIN])

    def _position(self, iova: int) -> int:
        return int(np.searchsorted(self._table[: self._count, MAPPING_END], iova, side="right"))

    def memory_of(self, descriptor: int) -> GuestMemory | None:
        """The guest's memory, which is the largest file seen; None for a mapping of another, smaller one."""
        found = os.fstat(descriptor)
        if self.memory is not None and identity_of(found) == self.memory.identity:
            return self.memory
        if self.memory is not None and found.st_size <= self.memory.size_bytes:
            return None
        self.memory = GuestMemory(descriptor)
        self._count = 0
        for device in self._devices:
            device.guest_ram, device.ram_bytes = self.memory.address, self.memory.size_bytes
        self.memory_found(self.memory.size_bytes)
        return self.memory

    def _publish(self) -> None:
        for device in self._devices:
            device.mappings, device.mapping_count = self._table.ctypes.data, self._count

    def _invalidate(self, iova: int, size_bytes: int) -> None:
        one_page = size_bytes <= PAGE_BYTES
        for device in self._devices:
            device.invalidated_iova[device.invalidations % INVALIDATIONS] = (
                iova if one_page else INVALIDATE_ALL
            )
            device.invalidations += 1
