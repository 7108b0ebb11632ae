"""What the host's side of one mechanism sees of a real VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel
from vfbench.mechanism import Pages
from vfbench.migration.comparison import page_classes

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.host.endpoint import Site


class KvmView:
    """`vfbench.mechanism.HostView` for the mechanism in ``slot``; what the host does takes its own time here."""

    def __init__(self, site: Site, slot: int) -> None:
        self._site = site
        self._slot = slot

    @property
    def queues(self) -> int:
        return 1

    @property
    def memory_bytes(self) -> int:
        return self._site.layout.memory_bytes

    @property
    def mapped(self) -> Pages:
        return self._site.mapped != 0

    @property
    def dma_pages(self) -> Pages:
        payload, descriptor = page_classes(self._site.layout, len(self._site.mapped))
        return payload | descriptor

    def host_structure(self, name: str) -> npt.NDArray[np.int64]:
        return self._site.host_structures.by_slot[self._slot][name]

    def guest_structure(self, queue: int, name: str) -> npt.NDArray[np.int64]:
        region = self._site.layout.queues[queue].mechanisms[self._slot][name]
        return self._site.word(region.base, region.size_bytes >> 3)

    def run(self, function: Kernel) -> list[int]:
        return [int(function(self._site.host, self._slot))]

    def picoseconds(self, cost: str) -> int:
        return 0
