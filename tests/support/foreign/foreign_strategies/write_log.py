"""A device that logs each page it writes into a ring, and must wait for the host when the ring is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.machine.cpu import word
from vfbench.machine.host import host_area
from vfbench.machine.memory.words import load_word, store_word
from vfbench.mechanism import DirtySource, Found, hook

LOGGED, RING = 0, 1
WAIT_PS = 20_000_000


@hook
def log_write(host: Any, slot: int, address: int, time_ps: int) -> int:
    page, ring = address >> 12, host_area(host, slot, RING)
    if load_word(host_area(host, slot, LOGGED), page):
        return 0
    store_word(host_area(host, slot, LOGGED), page, 1)
    store_word(ring, 0, load_word(ring, 0) + 1)
    if load_word(ring, 0) < word(host, slot, 0):
        return 0
    store_word(ring, 0, 0)
    store_word(ring, 1, load_word(ring, 1) + 1)
    return WAIT_PS


@dataclass(frozen=True)
class WriteLog(DirtySource):
    name: ClassVar[str] = "write-log"
    dma_written = log_write
    entries: int = 64
    words = property(lambda self: (self.entries,))
    traits = property(lambda self: {"dma_visible_by": "device-log"})

    def host_structures(self, sizes):
        return {"logged": sizes.memory_pages, "ring": 2}

    def sync(self, view, last):
        logged = view.host_structure("logged")
        found = logged[: view.pages] != 0
        logged[:] = 0
        return Found(found)

    def reports(self, view):
        return {"waits": float(view.host_structure("ring")[1])}
