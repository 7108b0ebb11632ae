"""What serves a guest's packets, each with the guest's driver for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from vfbench.linux_guest import LinuxGuest
from vfbench.machine.queue_pair import PATH_VF, PATH_VIRTIO
from vfbench.mechanism import Backend, DeviceState, Trait

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need


@dataclass(frozen=True)
class Vf(Backend):
    """An assigned 82599 VF, and ixgbevf."""

    name: ClassVar[str] = "vf"
    driver: ClassVar[str] = "ixgbevf"
    device: ClassVar[str] = "vf"
    path: ClassVar[int] = PATH_VF
    queues_limit: ClassVar[str] = "queues_per_vf"

    unplugs_by: str = "vf_hot_unplug"
    """The cost of giving it up: how long the guest takes, by the kind of hot-plug."""
    link_watch: str = ""
    """The cost of the wait for its link after it was plugged in; none where the driver needs no watch."""
    kept: bool = False
    """Whether the guest keeps it though it is asked to give it up."""

    @property
    def unplug_costs(self) -> tuple[str, str]:
        return self.unplugs_by, self.link_watch

    @property
    def refuses_unplug(self) -> bool:
        return self.kept

    def refusals(self, testbed: str) -> tuple[str, ...]:
        if testbed != "kvm" or not (self.kept or self.unplugs_by == "unplug_native"):
            return ()
        return ("a real guest gives its VF up in its own way and time: neither refused nor by a button",)

    def linux(self) -> LinuxGuest:
        refused = []
        if self.kept:
            refused.append("a guest that keeps its VF: a stock one gives it up when QEMU asks")
        elif self.unplugs_by != Vf.unplugs_by and not self.link_watch:
            refused.append(
                "a VF that carries traffic before its driver has seen the link: ixgbevf watches it for 2 s"
            )
        return LinuxGuest(
            primary="vf", native_hotplug=self.unplugs_by == "unplug_native", refusals=tuple(refused)
        )


@dataclass(frozen=True)
class MigratableVf(Vf):
    """A VF whose variant driver saves and loads its state (mlx5, pds, hisi_acc, …)."""

    name: ClassVar[str] = "migratable-vf"

    state: DeviceState = field(default_factory=lambda: DeviceState(0))

    @property
    def devices(self) -> int:
        return self.state.vfs

    @property
    def device_state(self) -> DeviceState:
        return self.state

    @property
    def needs(self) -> tuple[Need, ...]:
        several = (("vfs_per_guest", self.state.vfs), "p2p") if self.state.vfs > 1 else ()
        early = ("vf_state_precopy",) if self.state.precopy_bytes else ()
        together = ("parallel_load",) if self.state.parallel else ()
        return ("vf_state", *early, *several, *together)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"device_state": "variant-driver", "vfs": self.state.vfs}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(
            primary="vf", refusals=("a variant driver for the VF: the emulated 82599 VF has none",)
        )


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
        refused = []
        if not self.suppress_kicks:
            refused.append("every kick: Linux's virtio_net and its device agree on VIRTIO_F_EVENT_IDX")
        if not self.napi_tx:
            refused.append(
                "another driver's interrupts for sent frames: what virtio_net does is the guest kernel's"
            )
        return LinuxGuest(primary="virtio-net", refusals=tuple(refused))


@dataclass(frozen=True)
class Standby(VirtioNet):
    """virtio-net with the address of a VF, to which a stock guest fails over by itself (net_failover)."""

    demands: ClassVar[tuple[str, ...]] = ("guest-standby",)

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("failover",)
