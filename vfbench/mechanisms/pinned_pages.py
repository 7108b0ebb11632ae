"""No tracking: whatever is mapped for the device counts as dirty, because nobody can say that it is not.

Without an IOMMU that the guest sees all memory is mapped; with one, what it maps at the moment, and what it unmapped
since the last sync.

Sources: Linux, drivers/vfio/vfio_iommu_type1.c (all pinned pages are reported dirty); QEMU,
docs/devel/migration/vfio.rst (``x-pre-copy-dirty-page-tracking``: off leaves it all to the stop).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.linux_guest import LinuxGuest
from vfbench.mechanism import DirtySource, Found, HostView, Trait


@dataclass(frozen=True)
class PinnedPages(DirtySource):
    """Every page that the device may write is dirty at every sync, or only at the last."""

    name: ClassVar[str] = "pinned-pages"
    demands: ClassVar[tuple[str, ...]] = ("host-forced",)

    every_round: bool = True
    only_mapped: bool = False
    """Whether a guest's IOMMU says what is mapped; otherwise it is all memory."""

    def sync(self, view: HostView, last: bool) -> Found:
        if not (self.every_round or last):
            return Found()
        return Found(dirty=view.mapped) if self.only_mapped else Found(everything=True)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "assumed", "guest_unchanged": not self.only_mapped}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("all pinned pages dirty: QEMU's vfio-user client takes no part in dirty tracking",)
        )
