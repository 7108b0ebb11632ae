"""Source and destination at the stop, byte for byte: every page that the experiment has, by what it holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfbench.layout import GuestLayout
from vfbench.migration.comparison import Comparison, page_classes
from vfbench.testbeds.kvm.migrate.dirty_pages import OWN_PAGES

PAGES_AT_ONCE = 1024


def differing_pages(
    source: npt.NDArray[np.uint8], destination: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """One bool per page: some byte differs. Both have a row for each page."""
    differs = np.zeros(len(source), np.bool_)
    for first in range(0, len(source), PAGES_AT_ONCE):
        one, other = (side[first : first + PAGES_AT_ONCE].view(np.int64) for side in (source, destination))
        if not np.array_equal(one, other):
            differs[first : first + PAGES_AT_ONCE] = (one != other).any(axis=1)
    return differs


def compare(
    source: npt.NDArray[np.uint8], destination: npt.NDArray[np.uint8], layout: GuestLayout
) -> Comparison:
    """Compare two memories, without the testbed's own pages."""
    stale = differing_pages(source, destination)
    stale[:OWN_PAGES] = False
    payload, descriptor = page_classes(layout, len(stale))
    return Comparison(
        stale_payload=int(np.count_nonzero(stale & payload)),
        stale_descriptor=int(np.count_nonzero(stale & descriptor)),
        stale_other=int(np.count_nonzero(stale & ~payload & ~descriptor)),
        compared=len(source) - OWN_PAGES,
    )
