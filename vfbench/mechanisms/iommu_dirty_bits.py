"""Dirty bits in the host's IOMMU: a device's write sets the bit of the entry that translated it.

To arm it walks the table and clears all bits. Each sync walks, notes and clears, then flushes the IOTLB: an entry that
the IOTLB holds as dirty already sets no bit again. A bit stands for what the entry maps, 4 KiB or 2 MiB. The bit is set
when the address is translated and the data lands later, so what is copied must have been read after a fence; the flush
waits for the writes under way and is that fence. Unmapping an entry takes its bit away: it has to be read first.

Sources: Linux 7.3, iommufd (IOMMU_HWPT_SET_DIRTY_TRACKING, IOMMU_HWPT_GET_DIRTY_BITMAP) and
drivers/iommu/iommufd/io_pagetable.c, iopt_unmap; AMD I/O Virtualization 3.x, host dirty bits; VT-d 4.x, second stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vfbench.kernels import Kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.host import host_area, log_page
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.memory.words import load_word, store_word
from vfbench.mechanism import DirtySource, Found, HostView, Pages, QueueSizes, Trait, hook
from vfbench.mechanisms.page_marks import is_marked, mark, mark_words, marks_of, take_marks, unmark

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

LARGE_BYTES = 2 << 20
GIB = 1 << 30
MOST_CACHED = 4096
CACHED_BY_DEFAULT = 64

BITS, PASSED, IOMMU, CACHED = range(4)
"""Its structures on the host: dirty bits; pages whose bit was read before the data landed; state; the IOTLB."""
ON, ENTRY_BITS, CACHE_SIZE, READS_ON_UNMAP = range(4)
"""Words of IOMMU."""


@hook
def set_bit(host: Any, slot: int, address: int, time_ps: int) -> int:
    """The device's write landed: its entry's bit was set on the way, unless the IOTLB held the entry as dirty."""
    iommu, cached = host_area(host, slot, IOMMU), host_area(host, slot, CACHED)
    if load_word(iommu, ON) == 0:
        return 0
    page = address >> PAGE_SHIFT
    if is_marked(host, slot, PASSED, page):
        unmark(host, slot, PASSED, page)
        return 0
    entry = address >> load_word(iommu, ENTRY_BITS)
    place = entry % load_word(iommu, CACHE_SIZE)
    if load_word(cached, place) != entry + 1:
        store_word(cached, place, entry + 1)
        mark(host, slot, BITS, entry)
    return 0


@hook
def read_bit_first(host: Any, slot: int, page: int) -> None:
    """An entry goes, and its bit with it; what it said is kept, if it is read before."""
    iommu, cached = host_area(host, slot, IOMMU), host_area(host, slot, CACHED)
    if load_word(iommu, ON) == 0:
        return
    if is_marked(host, slot, BITS, page) and load_word(iommu, READS_ON_UNMAP):
        log_page(host, page)
    unmark(host, slot, BITS, page)
    place = page % load_word(iommu, CACHE_SIZE)
    if load_word(cached, place) == page + 1:
        store_word(cached, place, 0)


@dataclass(frozen=True)
class DirtyBits(DirtySource):
    """The host's IOMMU notes which entries the device wrote through."""

    name: ClassVar[str] = "iommu-bits"
    dma_written: ClassVar[Kernel | None] = set_bit
    unmapped: ClassVar[Kernel | None] = read_bit_first

    entry_bytes: int = LARGE_BYTES
    """What an entry of the host's table maps."""
    splits: bool = False
    """Whether large entries are split into pages of 4 KiB when tracking begins."""
    flushes: bool = True
    fences: bool = True
    """Whether what is under way has landed before anything is copied."""
    reads_on_unmap: bool = True
    follows_guest: bool = False
    """Whether the host's table maps what a guest's IOMMU maps, page by page, and not all memory."""

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("iommu_dirty_bits",)

    def refusals(self, testbed: str) -> tuple[str, ...]:
        if testbed == "model" or self.fences:
            return ()
        return ("without a fence: when a real thread's store lands can't be told from when it began",)

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        marks = mark_words(sizes)
        return {"bits": marks, "passed": marks, "iommu": 8, "cached": MOST_CACHED}

    @property
    def _tracked_bytes(self) -> int:
        return PAGE_BYTES if self.splits or self.follows_guest else self.entry_bytes

    def arm(self, view: HostView) -> int:
        iommu = view.host_structure("iommu")
        marks_of(view, "bits")[:] = 0
        view.host_structure("cached")[:] = 0
        iommu[ENTRY_BITS] = self._tracked_bytes.bit_length() - 1
        iommu[CACHE_SIZE] = min(MOST_CACHED, int(view.figure("iotlb_entries")) or CACHED_BY_DEFAULT)
        iommu[READS_ON_UNMAP] = int(self.reads_on_unmap)
        iommu[ON] = 1
        split_ps = view.picoseconds("log_split_per_gib") if self._tracked_bytes < self.entry_bytes else 0
        return self._walk_ps(view) + round(self._mapped_gib(view) * split_ps)

    def disarm(self, view: HostView) -> int:
        view.host_structure("iommu")[ON] = 0
        return 0

    def sync(self, view: HostView, last: bool) -> Found:
        if not view.host_structure("iommu")[ON]:
            return Found()
        pages, entries = take_marks(view, "bits", (self._tracked_bytes.bit_length() - 1) - PAGE_SHIFT)
        if self.flushes:
            view.host_structure("cached")[:] = 0
        time_ps = self._walk_ps(view) + entries * view.picoseconds("iommu_dirty_page")
        return Found(pages, time_ps, at_once=None if self.fences else self._under_way(view, pages))

    def _under_way(self, view: HostView, pages: Pages) -> Pages:
        """Without a fence: what was found is sent as it is, with pages whose bit is there and whose data is not."""
        under_way = view.in_flight
        marks_of(view, "passed")[np.flatnonzero(under_way)] = 1
        return pages | under_way

    def _mapped_gib(self, view: HostView) -> float:
        mapped = int(np.count_nonzero(view.mapped)) * PAGE_BYTES if self.follows_guest else view.memory_bytes
        return mapped / GIB

    def _walk_ps(self, view: HostView) -> int:
        small = self._tracked_bytes == PAGE_BYTES
        walk = "iommu_dirty_walk_per_gib" if small else "iommu_dirty_walk_large_per_gib"
        flush = view.picoseconds("iommu_dirty_flush") if self.flushes else 0
        return round(self._mapped_gib(view) * view.picoseconds(walk)) + flush

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {
            "dma_visible_by": "iommu-bits",
            "granularity_bytes": self._tracked_bytes,
            "guest_unchanged": not self.follows_guest,
        }

    @property
    def faults(self) -> tuple[int, ...]:
        lost_on_unmap = self.follows_guest and not self.reads_on_unmap
        switched_on = {10: not self.fences, 11: lost_on_unmap, 12: not self.flushes}
        return tuple(number for number, on in switched_on.items() if on)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("dirty bits in the IOMMU: the emulated ones of QEMU have none for a test device",)
        )
