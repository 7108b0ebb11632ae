"""The two memories at the stop, page by page: what the destination has that the source no longer has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vfbench.layout import GuestLayout
from vfbench.machine.memory.guest_memory import BLOCKS_PER_PAGE, PAGE_SHIFT, WORDS_PER_PAGE, Memory


@dataclass(frozen=True)
class Comparison:
    """Pages that differ, by what they hold, and how many were compared."""

    stale_payload: int
    stale_descriptor: int
    stale_other: int
    compared: int


def page_classes(layout: GuestLayout, pages: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Two masks over the backed pages: what holds packets, mechanisms' pools included, and rings of either device."""
    payload = np.zeros(pages, dtype=np.bool_)
    descriptor = np.zeros(pages, dtype=np.bool_)
    for queue in layout.queues:
        payload[queue.packets.first_page : queue.dma_end >> PAGE_SHIFT] = True
        for ring in queue.rings:
            descriptor[ring.first_page : ring.first_page + ring.pages] = True
    return payload, descriptor


def structure_pages(layout: GuestLayout, slot: int, name: str, pages: int) -> npt.NDArray[np.bool_]:
    """A mask over the backed pages: a structure of the mechanism in ``slot``, of all queues."""
    mask = np.zeros(pages, dtype=np.bool_)
    for queue in layout.queues:
        region = queue.mechanisms[slot][name]
        mask[region.first_page : region.first_page + region.pages] = True
    return mask


def compare(source: Memory, destination: Memory, layout: GuestLayout) -> Comparison:
    """Compare the contents of every backed page."""
    words = source.structure_bytes >> 3
    differs = source.words != destination.words
    stale = np.concatenate(
        [
            differs[:words].reshape(-1, WORDS_PER_PAGE).any(axis=1),
            differs[words:].reshape(-1, BLOCKS_PER_PAGE).any(axis=1),
        ]
    )
    payload, descriptor = page_classes(layout, len(stale))
    return Comparison(
        stale_payload=int(np.count_nonzero(stale & payload)),
        stale_descriptor=int(np.count_nonzero(stale & descriptor)),
        stale_other=int(np.count_nonzero(stale & ~payload & ~descriptor)),
        compared=source.backed_bytes >> PAGE_SHIFT,
    )
