"""What the host's side of one mechanism sees of the modelled machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel
from vfbench.machine.memory.guest_memory import MAPPED, MAPPED_WRITTEN, PAGE_SHIFT
from vfbench.machine.vf.device import address_in_flight
from vfbench.mechanism import Pages
from vfbench.migration.comparison import page_classes, structure_pages

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
    def now_ps(self) -> int:
        return self._machine.now_ps

    @property
    def mapped(self) -> Pages:
        mapped: Pages = self._machine.memory.marks & MAPPED != 0
        return mapped

    @property
    def pages(self) -> int:
        return self._machine.memory.pages

    @property
    def dma_pages(self) -> Pages:
        payload, descriptor = page_classes(self._machine.layout, self.pages)
        return payload | descriptor

    @property
    def ring_pages(self) -> Pages:
        return page_classes(self._machine.layout, self.pages)[1]

    @property
    def in_flight(self) -> Pages:
        machine = self._machine
        pages = np.zeros(self.pages, np.bool_)
        for cpu, pair in zip(machine.cpus[: machine.queues], machine.pairs, strict=True):
            address = int(address_in_flight(cpu, pair, machine.now_ps))
            if address >= 0:
                pages[address >> PAGE_SHIFT] = True
        return pages

    def packet_pages(self, queue: int) -> npt.NDArray[np.int64]:
        packets = self._machine.layout.queues[queue].packets
        return np.arange(packets.first_page, packets.first_page + packets.pages)

    def structure_pages(self, name: str) -> Pages:
        return structure_pages(self._machine.layout, self._slot, name, self.pages)

    def host_structure(self, name: str) -> npt.NDArray[np.int64]:
        return self._machine.host_structures.by_slot[self._slot][name]

    def guest_structure(self, queue: int, name: str) -> npt.NDArray[np.int64]:
        region = self._machine.layout.queues[queue].mechanisms[self._slot][name]
        return self._machine.memory.words[region.base >> 3 : region.end >> 3]

    def run(self, function: Kernel) -> list[int]:
        return [int(function(cpu, self._slot)) for cpu in self._machine.cpus[: self._machine.queues]]

    def withhold(self, pages: Pages) -> None:
        marks = self._machine.memory.marks
        marks &= 0xFF ^ (MAPPED | MAPPED_WRITTEN)
        marks[pages] |= MAPPED

    def release_dma(self) -> None:
        machine = self._machine
        for cpu, pair in zip(machine.cpus[: machine.queues], machine.pairs, strict=True):
            if cpu.dma_held:
                cpu.dma_held = 0
                pair.nic.rx_ready_ps = max(int(pair.nic.rx_ready_ps), machine.now_ps)
                pair.nic.tx_ready_ps = max(int(pair.nic.tx_ready_ps), machine.now_ps)

    def picoseconds(self, cost: str) -> int:
        return self._machine.ps(cost)

    def figure(self, name: str) -> float:
        return self._machine.profile.value(name)
