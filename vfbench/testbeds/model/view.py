"""What the host's side of one mechanism sees of the modelled machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel
from vfbench.machine.memory.guest_memory import MAPPED
from vfbench.mechanism import Pages
from vfbench.migration.comparison import page_classes

if TYPE_CHECKING:
    from vfbench.testbeds.model.machine import Machine


class ModelView:
    """`vfbench.mechanism.HostView` for the mechanism in ``slot``."""

    def __init__(self, machine: Machine, slot: int) -> None:
        self._machine = machine
        self._slot = slot

    @property
    def queues(self) -> int:
        return self._machine.queues

    @property
    def memory_bytes(self) -> int:
        return self._machine.layout.memory_bytes

    @property
    def mapped(self) -> Pages:
        mapped: Pages = self._machine.memory.marks & MAPPED != 0
        return mapped

    @property
    def dma_pages(self) -> Pages:
        payload, descriptor = page_classes(self._machine.layout, self._machine.memory.pages)
        return payload | descriptor

    def host_structure(self, name: str) -> npt.NDArray[np.int64]:
        return self._machine.host_structures.by_slot[self._slot][name]

    def guest_structure(self, queue: int, name: str) -> npt.NDArray[np.int64]:
        region = self._machine.layout.queues[queue].mechanisms[self._slot][name]
        return self._machine.memory.words[region.base >> 3 : region.end >> 3]

    def run(self, function: Kernel) -> list[int]:
        return [int(function(cpu, self._slot)) for cpu in self._machine.cpus[: self._machine.queues]]

    def picoseconds(self, cost: str) -> int:
        return self._machine.ps(cost)
