"""A fence at the stop: what the device did before it counts, what it began is undone, and each packet has its fate.

The device stands still and its posted writes have landed before the driver takes what is done: that is the fence.
Behind it the driver marks both rings, and gives the descriptors that the device may have begun a fresh start: posted as
if it had never seen them, their buffers marked, because half a packet may lie in them. So a packet received before the
fence is delivered, one past it is lost, or comes again if its sender sends it again, and none arrives as another.
Frames to send that the device has not sent stay posted, and go out at the destination.

Source: ours, from what docs/model.md says of the dummy write; 82599 datasheet: it holds up to 64 descriptors of a
receive queue on die (from memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import area, dummy_write, load_field, store_field
from vfbench.machine.driver.state import NEXT_TO_CLEAN, NEXT_TO_USE, TX_NEXT_TO_CLEAN, TX_TAIL_WRITTEN
from vfbench.machine.driver.vf_receive import device_address
from vfbench.machine.host import host_area
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT
from vfbench.mechanism import DirtySource, Found, HostView, QueueSizes, Trait, hook
from vfbench.mechanisms.dma_api_marks import mark_ring

ON_DIE = 64
"""Receive descriptors past the last one done that the device may have begun."""

FATES = 0
"""Its structure in guest memory."""
RESET, SENT_AGAIN = (8 * i for i in range(2))
"""Offsets in FATES: receive descriptors that were reset; frames to send that go out at the destination."""
COUNTS = 0
"""Its structure on the host."""
LANDED, WRITTEN_BACK, SETTLED = range(3)
"""Words of COUNTS, of all queues; after the stop nothing is counted."""


@kernel
def reset_descriptor(cpu: Any, slot: int) -> None:
    """Post a receive descriptor as if the device had never seen it, and mark its buffer."""
    entry, descriptor = cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT), cpu.rx_ring + (slot << DESCRIPTOR_SHIFT)
    buffer = load_field(cpu, entry)
    if buffer != 0:
        dummy_write(cpu, buffer, True, False)
        store_field(cpu, descriptor, device_address(cpu, entry))
        store_field(cpu, descriptor + 8, 0)


@kernel
def reset_past_the_fence(cpu: Any) -> int:
    """Every descriptor that the device may have begun; returns how many."""
    mask = cpu.rx_size - 1
    slot, end = load_field(cpu, cpu.driver + NEXT_TO_CLEAN), load_field(cpu, cpu.driver + NEXT_TO_USE)
    count = 0
    while slot != end and count < ON_DIE:
        reset_descriptor(cpu, slot)
        slot = (slot + 1) & mask
        count += 1
    return count


@hook
def settle_fates(cpu: Any, slot: int) -> None:
    """The driver stands still and has taken what was done before the fence."""
    fates = area(cpu, slot, FATES)
    mark_ring(cpu, cpu.rx_ring, cpu.rx_size)
    mark_ring(cpu, cpu.tx_ring, cpu.tx_size)
    store_field(cpu, fates + RESET, reset_past_the_fence(cpu))
    unsent = load_field(cpu, cpu.driver + TX_TAIL_WRITTEN) - load_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN)
    store_field(cpu, fates + SENT_AGAIN, unsent & (cpu.tx_size - 1))


@hook
def count_writes(host: Any, slot: int, address: int, time_ps: int) -> int:
    """The VF's own counts: payloads that landed, receive descriptors written back."""
    counts = host_area(host, slot, COUNTS)
    if load_word(counts, SETTLED):
        return 0
    if address >= host.first_page:
        store_word(counts, LANDED, load_word(counts, LANDED) + 1)
    elif host.rx_ring <= address < host.rx_ring + (host.rx_size << DESCRIPTOR_SHIFT):
        store_word(counts, WRITTEN_BACK, load_word(counts, WRITTEN_BACK) + 1)
    return 0


@dataclass(frozen=True)
class Fence(DirtySource):
    """What the device began and did not finish before the stop is undone."""

    name: ClassVar[str] = "fence"
    demands: ClassVar[tuple[str, ...]] = ("guest-driver",)
    dma_written: ClassVar[Kernel | None] = count_writes

    resets: bool = True

    @property
    def quiesce(self) -> Kernel | None:  # type: ignore[override]
        return settle_fates if self.resets else None

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"fates": PAGE_BYTES}

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"counts": 8}

    def sync(self, view: HostView, last: bool) -> Found:
        view.host_structure("counts")[SETTLED] = int(last)
        return Found()

    def reports(self, view: HostView) -> Mapping[str, float]:
        """The fate of each packet that the device had at the stop: by the device's counts and the driver's."""
        counts = view.host_structure("counts")
        fates = [view.guest_structure(queue, "fates") for queue in range(view.queues)]
        return {
            "delivered": float(counts[WRITTEN_BACK]),
            "lost_past_the_fence": float(counts[LANDED] - counts[WRITTEN_BACK]),
            "come_again": float(sum(each[SENT_AGAIN >> 3] for each in fates)),
            "descriptors_reset": float(sum(each[RESET >> 3] for each in fates)),
        }

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"fenced": True}

    @property
    def faults(self) -> tuple[int, ...]:
        return () if self.resets else (17,)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("descriptors that are reset at the stop: ixgbevf does not know of migrations",)
        )
