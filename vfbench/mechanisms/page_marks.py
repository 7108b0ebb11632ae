"""A byte for each page of the guest, kept by a mechanism on the host: set by kernels, taken by the migration thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vfbench.kernels import kernel
from vfbench.machine.host import host_area
from vfbench.machine.memory.words import load_byte, store_byte
from vfbench.mechanism import HostView, Pages, QueueSizes

SPARE_PAGES = 1024
"""Page numbers begin above 0, and a testbed keeps pages of its own below the guest's."""


def mark_words(sizes: QueueSizes) -> int:
    """64-bit words that such a structure takes."""
    return (sizes.memory_pages + SPARE_PAGES) // 8


@kernel
def mark(host: Any, slot: int, index: int, number: int) -> None:
    """Set the mark of page, or group of pages, ``number`` in the mechanism's host structure ``index``."""
    store_byte(host_area(host, slot, index), number, 1)


@kernel
def unmark(host: Any, slot: int, index: int, number: int) -> None:
    """Take it away."""
    store_byte(host_area(host, slot, index), number, 0)


@kernel
def is_marked(host: Any, slot: int, index: int, number: int) -> bool:
    """Whether it is set."""
    return load_byte(host_area(host, slot, index), number) != 0


def marks_of(view: HostView, name: str) -> npt.NDArray[np.uint8]:
    """The marks themselves, writable."""
    return view.host_structure(name).view(np.uint8)


def take_marks(view: HostView, name: str, shift: int = 0) -> tuple[Pages, int]:
    """Pages that are marked, in groups of ``1 << shift``, and how many marks that were; they are cleared.

    A mark that is set meanwhile stays for the next time: only what was seen is cleared.
    """
    marks = marks_of(view, name)
    found = np.flatnonzero(marks)
    marks[found] = 0
    pages = np.zeros(view.pages, np.bool_)
    if shift == 0:
        pages[found[found < view.pages]] = True
    else:
        groups = np.zeros((view.pages >> shift) + 1, np.bool_)
        groups[found[found < len(groups)]] = True
        pages |= np.repeat(groups, 1 << shift)[: view.pages]
    return pages, len(found)
