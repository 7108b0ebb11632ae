"""What serves a guest's packets, each with the guest's driver for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vfbench.linux_guest import LinuxGuest
from vfbench.machine.port import PATH_VF, PATH_VIRTIO
from vfbench.mechanism import Backend, Trait


@dataclass(frozen=True)
class Vf(Backend):
    """An assigned 82599 VF, and ixgbevf."""

    name: ClassVar[str] = "vf"
    driver: ClassVar[str] = "ixgbevf"
    device: ClassVar[str] = "vf"
    path: ClassVar[int] = PATH_VF
    queues_limit: ClassVar[str] = "queues_per_vf"

    def linux(self) -> LinuxGuest:
        return LinuxGuest(primary="vf")


@dataclass(frozen=True)
class VirtioNet(Backend):
    """virtio-net served by vhost, which logs what it writes."""

    name: ClassVar[str] = "virtio-net"
    driver: ClassVar[str] = "virtio-net"
    device: ClassVar[str] = "virtio"
    path: ClassVar[int] = PATH_VIRTIO
    demands: ClassVar[tuple[str, ...]] = ("guest-virtio",)

    queue_size: int = 256
    """Descriptors of each virtqueue."""
    suppress_kicks: bool = True
    napi_tx: bool = True
    """Whether the driver is interrupted for frames that were sent."""
    arm_after_kick: bool = False
    """Whether it asks for that interrupt after the kick, as Linux 6.15 does, or before a frame is queued."""

    @property
    def driver_fields(self) -> Mapping[str, int]:
        return {
            "virtqueue_size": self.queue_size,
            "kick_suppression": int(self.suppress_kicks),
            "transmit_interrupts": int(self.napi_tx) * (1 + int(self.arm_after_kick)),
        }

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "host-copy"}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(primary="virtio-net")
