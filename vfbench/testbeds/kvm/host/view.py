"""What the host's side of one mechanism sees of a real VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel
from vfbench.mechanism import Pages
from vfbench.migration.comparison import page_classes, structure_pages

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.host.endpoint import Endpoint


class KvmView:
    """`vfbench.mechanism.HostView` for the mechanism in ``slot``; what the host does takes its own time here."""

    def __init__(self, endpoint: Endpoint, slot: int) -> None:
        self._endpoint = endpoint
        self._slot = slot

    @property
    def queues(self) -> int:
        return 1

    @property
    def memory_bytes(self) -> int:
        return self._endpoint.layout.memory_bytes

    @property
    def now_ps(self) -> int:
        return int(self._endpoint.bench.wire.time_ps)

    @property
    def mapped(self) -> Pages:
        return self._endpoint.mapped != 0

    @property
    def pages(self) -> int:
        return len(self._endpoint.mapped)

    @property
    def dma_pages(self) -> Pages:
        payload, descriptor = page_classes(self._endpoint.layout, self.pages)
        return payload | descriptor

    @property
    def ring_pages(self) -> Pages:
        return page_classes(self._endpoint.layout, self.pages)[1]

    @property
    def in_flight(self) -> Pages:
        return np.zeros(self.pages, np.bool_)

    def packet_pages(self, queue: int) -> npt.NDArray[np.int64]:
        packets = self._endpoint.layout.queues[queue].packets
        return np.arange(packets.first_page, packets.first_page + packets.pages)

    def structure_pages(self, name: str) -> Pages:
        return structure_pages(self._endpoint.layout, self._slot, name, self.pages)

    def host_structure(self, name: str) -> npt.NDArray[np.int64]:
        return self._endpoint.host_structures.by_slot[self._slot][name]

    def guest_structure(self, queue: int, name: str) -> npt.NDArray[np.int64]:
        region = self._endpoint.layout.queues[queue].mechanisms[self._slot][name]
        return self._endpoint.word(region.base, region.size_bytes >> 3)

    def run(self, function: Kernel) -> list[int]:
        with self._endpoint.work_held():
            return [int(function(self._endpoint.host, self._slot))]

    def withhold(self, pages: Pages) -> None:
        self._endpoint.mapped[:] = pages

    def release_dma(self) -> None:
        self._endpoint.host.dma_held = 0

    def picoseconds(self, cost: str) -> int:
        return 0

    def figure(self, name: str) -> float:
        return 0.0
