"""Dummy writes while a migration is under way, and none before: the driver looks whether the hypervisor tracks.

A page that was written before tracking began is sent by the first pass whatever happened to it, so nothing is lost.
What it costs before a migration is the look, at a word that the driver's own state keeps in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.kernels import Kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import area, load_field, store_field
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.mechanism import Mechanism, QueueSizes, Trait, hook
from vfbench.mechanisms.dummy_writes import rewrite_descriptor, rewrite_first_byte

ARMED = 0
"""Its one structure in guest memory: a word, whether the hypervisor tracks."""


@hook
def rewrite_if_tracked(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    if load_field(cpu, area(cpu, slot, ARMED)) != 0:
        rewrite_first_byte(cpu, slot, iova, address, length_bytes)


@hook
def rewrite_descriptor_if_tracked(cpu: Any, slot: int, descriptor: int, length_bytes: int) -> None:
    if load_field(cpu, area(cpu, slot, ARMED)) != 0:
        rewrite_descriptor(cpu, slot, descriptor, length_bytes)


@hook
def arm_writes(cpu: Any, slot: int) -> None:
    store_field(cpu, area(cpu, slot, ARMED), 1)


@hook
def disarm_writes(cpu: Any, slot: int) -> None:
    store_field(cpu, area(cpu, slot, ARMED), 0)


@dataclass(frozen=True)
class ArmedDummyWrites(Mechanism):
    """The first byte of each packet, and of each descriptor, is read and written back while the hypervisor tracks."""

    name: ClassVar[str] = "armed-dummy-writes"
    demands: ClassVar[tuple[str, ...]] = ("guest-driver",)
    sync_for_cpu: ClassVar[Kernel | None] = rewrite_if_tracked
    descriptor_done: ClassVar[Kernel | None] = rewrite_descriptor_if_tracked
    armed: ClassVar[Kernel | None] = arm_writes
    disarmed: ClassVar[Kernel | None] = disarm_writes

    @property
    def words(self) -> tuple[int, ...]:
        return (0,)

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"armed": PAGE_BYTES}

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "guest-store", "marks_only_migrating": True}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            refusals=("dummy writes that begin with a migration: nothing tells an XDP program of one",)
        )
