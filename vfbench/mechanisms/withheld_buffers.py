"""What changes most goes last: packet memory waits until the rest has been sent, posted buffers wait for the stop.

The driver shows the hypervisor where its list of receive buffers lies. At the first pass all packet memory waits; from
the first sync on only the pages that are posted at that moment, which the device is about to overwrite. It is an order
of sending and nothing else: whether a page is dirty is for others to say, and a list that is out of date costs a page
sent once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.linux_guest import LinuxGuest
from vfbench.machine.host import host_load, note_mapped
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT
from vfbench.mechanism import DirtySource, Found, HostView, Trait, hook


@hook
def withhold_posted(host: Any, slot: int) -> int:
    """Every page in the driver's list of receive buffers waits; returns how long the list is."""
    for i in range(host.rx_size):
        buffer = host_load(host, host.rx_buffers + (i << DESCRIPTOR_SHIFT))
        if buffer != 0:
            note_mapped(host, buffer >> PAGE_SHIFT)
    return host.rx_size


@dataclass(frozen=True)
class WithheldBuffers(DirtySource):
    """Packet memory is sent last, and posted buffers at the stop."""

    name: ClassVar[str] = "withheld-buffers"
    demands: ClassVar[tuple[str, ...]] = ("guest-driver", "host-qemu")

    @property
    def withholds_mapped(self) -> bool:
        return True

    def arm(self, view: HostView) -> int:
        view.withhold(view.dma_pages & ~view.ring_pages)
        return 0

    def disarm(self, view: HostView) -> int:
        view.withhold(np.zeros(view.pages, np.bool_))
        return 0

    def sync(self, view: HostView, last: bool) -> Found:
        view.withhold(np.zeros(view.pages, np.bool_))
        if last:
            return Found()
        entries = sum(view.run(withhold_posted))
        return Found(time_ps=entries * view.picoseconds("iommu_table_walk_entry"))

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"skip_mapped": True}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("a list of buffers that the driver shows its hypervisor: ixgbevf has none",)
        )
