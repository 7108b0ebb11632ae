"""A log in the device: it writes down each page that it writes, once until the host asks.

The host starts the log with ranges of addresses and a page size. For the first write to a page since the last report
the device puts an entry into a ring in host memory; a ring that is full makes the device wait until the host has read
it. A report asks for one span of addresses after the other, whatever is dirty in them. After an error the device can't
list them any more, and every page counts as dirty.

Sources: Linux 7.3, VFIO_DEVICE_FEATURE_DMA_LOGGING_START and _REPORT; vfio_combine_iova_ranges (the smallest gap is
closed first); drivers/vfio/pci/mlx5 (messages of 512 entries of 8 bytes, a ring of 2 MiB, one query for 64 GiB at
4 KiB); QEMU 11.1, hw/vfio/listener.c (a range below 4 GiB and one above).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.host import hold_dma, host_area, host_price
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.memory.words import load_word, store_word
from vfbench.mechanism import DirtySource, Found, HostView, Pages, QueueSizes, Trait, hook
from vfbench.mechanisms.page_marks import is_marked, mark, mark_words, take_marks

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

COVERS = ("memory", "dma", "payload")
MOST_RANGES = 256
RING_ENTRIES = 262_144
LOW_MEMORY_BYTES = 1 << 32

LOGGED, LOG, RANGES = range(3)
"""Its structures on the host."""
ON, RANGE_COUNT, PAGE_BITS, CAPACITY, FAILS_AT, WRITTEN, READ, FAILED, WAITS = range(9)
"""Words of LOG; WRITTEN and READ count entries, and only the device writes the one, only the host the other."""
ENTRY_PRICE = 0


@kernel
def covers(log: int, ranges: int, address: int) -> bool:
    """Whether ``address`` lies in one of the ranges that are logged."""
    for i in range(load_word(log, RANGE_COUNT)):
        if load_word(ranges, 2 * i) <= address < load_word(ranges, 2 * i + 1):
            return True
    return False


@kernel
def add_entry(host: Any, log: int) -> None:
    """One more entry in the ring; the device waits when it was the last that fits, and logs no more after an error."""
    written = load_word(log, WRITTEN) + 1
    store_word(log, WRITTEN, written)
    if written == load_word(log, FAILS_AT):
        store_word(log, FAILED, 1)
    if written - load_word(log, READ) >= load_word(log, CAPACITY):
        store_word(log, WAITS, load_word(log, WAITS) + 1)
        hold_dma(host)


@hook
def log_write(host: Any, slot: int, address: int, time_ps: int) -> int:
    """The device wrote to ``address``: an entry, if the page has none since the last report."""
    log = host_area(host, slot, LOG)
    if load_word(log, ON) == 0 or load_word(log, FAILED) != 0:
        return 0
    page = address >> load_word(log, PAGE_BITS)
    if is_marked(host, slot, LOGGED, page) or not covers(log, host_area(host, slot, RANGES), address):
        return 0
    mark(host, slot, LOGGED, page)
    add_entry(host, log)
    return host_price(host, slot, ENTRY_PRICE)


def runs_of(pages: Pages) -> list[tuple[int, int]]:
    """Ranges of addresses, in bytes, that these pages form."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], pages, [False]]).astype(np.int8)))
    return [(int(a) * PAGE_BYTES, int(b) * PAGE_BYTES) for a, b in edges.reshape(-1, 2)]


def merged_ranges(ranges: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most ``most`` ranges that cover these: the smallest gap is closed first, and is logged from then on."""
    merged = sorted(ranges)
    while len(merged) > most:
        gaps = [after[0] - before[1] for before, after in itertools.pairwise(merged)]
        i = gaps.index(min(gaps))
        merged[i : i + 2] = [(merged[i][0], merged[i + 1][1])]
    return merged


@dataclass(frozen=True)
class DeviceLog(DirtySource):
    """The device logs the pages that it writes, while the hypervisor tracks."""

    name: ClassVar[str] = "device-log"
    dma_written: ClassVar[Kernel | None] = log_write
    costs: ClassVar[tuple[str, ...]] = ("device_log_entry",)

    page_bytes: int = PAGE_BYTES
    ranges: int = MOST_RANGES
    covers: str = "memory"
    """``memory``: all of it; ``dma``: rings, packet memory and pools, a range each; ``payload``: without the rings."""
    ring_entries: int = RING_ENTRIES
    fails_at: int = 0
    """After so many entries the device reports an error; 0: never."""
    heeds_errors: bool = True

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("device_dirty_log",)

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"logged": mark_words(sizes), "log": 16, "ranges": 2 * MOST_RANGES}

    def arm(self, view: HostView) -> int:
        ranges = self._ranges(view)
        view.host_structure("ranges")[: 2 * len(ranges)] = np.array(ranges, np.int64).reshape(-1)
        view.host_structure("logged")[:] = 0
        log = view.host_structure("log")
        log[:] = 0
        log[RANGE_COUNT], log[PAGE_BITS] = len(ranges), self.page_bytes.bit_length() - 1
        log[CAPACITY], log[FAILS_AT] = self.ring_entries, self.fails_at
        log[ON] = 1
        return view.picoseconds("device_log_start")

    def disarm(self, view: HostView) -> int:
        view.host_structure("log")[ON] = 0
        view.release_dma()
        return view.picoseconds("device_log_start")

    def sync(self, view: HostView, last: bool) -> Found:
        log = view.host_structure("log")
        if not log[ON]:
            return Found()
        entries = int(log[WRITTEN] - log[READ])
        pages, _ = take_marks(view, "logged", (self.page_bytes.bit_length() - 1) - PAGE_SHIFT)
        log[READ] += entries
        view.release_dma()
        time_ps = self._queries(view) * view.picoseconds("device_log_query")
        time_ps += entries * view.picoseconds("device_log_read")
        return Found(pages, time_ps, failed=bool(log[FAILED]) and self.heeds_errors)

    def _ranges(self, view: HostView) -> list[tuple[int, int]]:
        if self.covers == "memory":
            end = max(view.memory_bytes, view.pages * PAGE_BYTES)
            found = [(0, min(end, LOW_MEMORY_BYTES)), (LOW_MEMORY_BYTES, end)]
            return merged_ranges([each for each in found if each[0] < each[1]], self.ranges)
        pages = view.dma_pages if self.covers == "dma" else view.dma_pages & ~view.ring_pages
        return merged_ranges(runs_of(pages), self.ranges)

    def _queries(self, view: HostView) -> int:
        """One for each span of addresses that a range reaches into; a larger page covers more with one."""
        span = int(view.figure("device_log_span")) * (self.page_bytes // PAGE_BYTES)
        count = int(view.host_structure("log")[RANGE_COUNT])
        bounds = view.host_structure("ranges")[: 2 * count].reshape(-1, 2)
        return sum(-(-int(end - begin) // span) for begin, end in bounds) if span else count

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "device-log", "granularity_bytes": self.page_bytes, "guest_unchanged": True}

    @property
    def faults(self) -> tuple[int, ...]:
        switched_on = {8: self.covers == "payload", 9: self.fails_at > 0 and not self.heeds_errors}
        return tuple(number for number, on in switched_on.items() if on)

    def reports(self, view: HostView) -> Mapping[str, float]:
        log = view.host_structure("log")
        return {"entries": float(log[WRITTEN]), "waits": float(log[WAITS])}

    def linux(self) -> LinuxGuest:
        refused = []
        if self.page_bytes != PAGE_BYTES:
            refused.append(f"a device log in pages of {self.page_bytes} bytes: that of vhost-user has 4096")
        if self.covers != "memory" or self.ranges != MOST_RANGES:
            refused.append("a device log of some of the memory: that of vhost-user covers all of it")
        if self.fails_at or not self.heeds_errors:
            refused.append(
                "a device log with errors: that of vhost-user is a bitmap in shared memory, which has none"
            )
        if self.ring_entries != RING_ENTRIES:
            refused.append(
                "a device log of so many entries: that of vhost-user is a bitmap, which never fills"
            )
        return LinuxGuest(device_log="dma", refusals=tuple(refused))
