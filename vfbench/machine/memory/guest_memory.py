"""Guest memory: what it holds, what is marked, and where things lie.

Memory has contents. Structures (rings, page lists, page tables) are held word for word. Packet memory and the
application's heap are held as one content word per 512-byte block: a content word names the packet and the
block of it that the bytes came from, so a stale, torn or foreign block is seen by comparing words. Pages above
those are cold: written before the run and never during it, so they cost their transfer and hold nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT
HALF_PAGE_BYTES = PAGE_BYTES // 2
BLOCK_SHIFT = 9
BLOCK_BYTES = 1 << BLOCK_SHIFT
BLOCKS_PER_PAGE = PAGE_BYTES // BLOCK_BYTES
WORDS_PER_PAGE = PAGE_BYTES // 8

# One byte of marks for each page.
LOGGED = 1
"""In the hypervisor's dirty log: a guest store, or something that the hypervisor itself marked."""
CPU_WROTE = 2
"""A vCPU stored to it in this interval (what truly happened, whoever logged it)."""
DEVICE_WROTE = 4
"""The VF, or vhost in its place, wrote to it in this interval."""
MAPPED = 8
"""The hypervisor was notified that the page is mapped for the device to write."""
MAPPED_WRITTEN = 16
"""The device wrote to it since it was mapped."""

# Content words. Bit 62 distinguishes content from an address or a zero; the low bits name packet and block.
CONTENT = 1 << 62
TORN = 1 << 61
"""Part of the block's bytes are another packet's."""
SENT = 1 << 60
"""The packet was sent by the guest, not received."""
BLOCKS_SHIFT = 8
"""A frame, or what a card cuts into frames, has at most 256 blocks: 64 KiB and its headers are 129."""


@dataclass(frozen=True)
class Region:
    """A stretch of guest-physical memory, in bytes, on page boundaries."""

    base: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.base + self.size_bytes

    @property
    def first_page(self) -> int:
        return self.base >> PAGE_SHIFT

    @property
    def pages(self) -> int:
        return self.size_bytes >> PAGE_SHIFT


class Allocator:
    """Hands out page-aligned regions from low to high."""

    def __init__(self, base: int = PAGE_BYTES) -> None:
        self.end = base

    def take(self, size_bytes: int) -> Region:
        region = Region(self.end, -(-size_bytes // PAGE_BYTES) * PAGE_BYTES)
        self.end = region.end
        return region


class Memory:
    """The contents and marks of one guest's memory: a source, or the destination's copy of it.

    ``words`` holds ``structure_bytes / 8`` words, then one word for each block up to ``backed_bytes``;
    ``marks`` one byte for each backed page.
    """

    def __init__(self, structure_bytes: int, backed_bytes: int) -> None:
        self.structure_bytes = structure_bytes
        self.backed_bytes = backed_bytes
        blocks = (backed_bytes - structure_bytes) >> BLOCK_SHIFT
        self.words: npt.NDArray[np.int64] = np.zeros((structure_bytes >> 3) + blocks, dtype=np.int64)
        self.marks: npt.NDArray[np.uint8] = np.zeros(backed_bytes >> PAGE_SHIFT, dtype=np.uint8)

    @property
    def pages(self) -> int:
        """Backed pages: those whose contents are held and compared."""
        return len(self.marks)

    def attach(self, record: Any) -> None:
        """Let a processor's or device's record see this memory."""
        record.words = self.words.ctypes.data
        record.marks = self.marks.ctypes.data
        record.structure_bytes = self.structure_bytes
        record.backed_bytes = self.backed_bytes
