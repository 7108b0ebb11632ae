"""vDPA: virtqueues that the card serves, and the hypervisor's relay that stands in front of them for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vfbench.linux_guest import LinuxGuest
from vfbench.machine.queue_pair import PATH_RELAY, PATH_VDPA
from vfbench.mechanism import Backend, Trait

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

NO_DEVICE = "a vDPA device that can be suspended is a card's, and there is none here"


@dataclass(frozen=True)
class Vdpa(Backend):
    """A card's virtqueues, straight on the guest's rings: nobody sees its DMA."""

    name: ClassVar[str] = "vdpa"
    driver: ClassVar[str] = "virtio-net"
    device: ClassVar[str] = "vdpa"
    path: ClassVar[int] = PATH_VDPA
    demands: ClassVar[tuple[str, ...]] = ("guest-virtio",)

    queue_size: int = 256
    """Descriptors of each virtqueue."""
    pins: int = 0
    """How many times guest memory is pinned and mapped when the destination's devices start."""

    @property
    def memory_pins(self) -> int:
        return self.pins

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("vdpa",)

    @property
    def switch_costs(self) -> tuple[str, str]:
        return "svq_suspend_pair", "svq_create_pair"

    @property
    def driver_fields(self) -> Mapping[str, int]:
        return {"virtqueue_size": self.queue_size}

    def refusals(self, testbed: str) -> tuple[str, ...]:
        return () if testbed == "model" else (NO_DEVICE,)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(primary="virtio-net", refusals=(NO_DEVICE,))


@dataclass(frozen=True)
class Relay(Backend):
    """The same device behind rings of the hypervisor's own: a thread relays each buffer and logs its page."""

    name: ClassVar[str] = "relay"
    driver: ClassVar[str] = "virtio-net"
    device: ClassVar[str] = "vdpa-relay"
    path: ClassVar[int] = PATH_RELAY
    costs: ClassVar[tuple[str, ...]] = ("svq_relay", "svq_relay_kick")
    demands: ClassVar[tuple[str, ...]] = ("host-core",)

    logs: bool = True
    """Whether it logs what it passes back; a relay that does not is a fault."""

    @property
    def words(self) -> tuple[int, ...]:
        return (int(self.logs),)

    @property
    def switch_costs(self) -> tuple[str, str]:
        return "", "svq_resume_pair"

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "host-relay"}

    @property
    def faults(self) -> tuple[int, ...]:
        return () if self.logs else (18,)
