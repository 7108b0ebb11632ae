"""The drivers under test: what QEMU is to emulate for each, how the guest opens it, and what its design is.

``design`` are the settings that make the model's driver one of the same design, each read in the driver's source
(Linux 6.12). igb and igbvf refill at the end of every poll, which for one packet a poll is a batch of one;
virtio-net refills once more than half a poll's budget of descriptors is free, that is 33 at a time. Since 6.15 it asks
for its transmit interrupt after the kick (drivers/net/virtio_net.c, ``start_xmit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAC = "02:00:00:00:00:01"
PEER_MAC = "02:00:00:00:00:99"
IGB = ("-device", "pcie-root-port,id=downstream", "-device", f"igb,bus=downstream,netdev=wire,mac={MAC}")
VIRTIO_NET = ("-device", f"virtio-net-pci,netdev=wire,mac={MAC},disable-legacy=on")
VF_SWITCHED_ON = (
    "ifconfig eth0 up",
    "echo 1 > /sys/class/net/eth0/device/sriov_numvfs",
    "insmod /modules/igbvf.ko",
)


@dataclass(frozen=True)
class NicDriver:
    """One Linux driver; ``interrupts`` names its handlers with ``{}`` for the interface, receive then transmit."""

    name: str
    modules: tuple[str, ...]
    device: tuple[str, ...]
    interrupts: tuple[str, str]
    kicks: tuple[str, str]
    """QEMU's trace events of a notification, receive then transmit."""
    messages: str = ""
    """QEMU's trace event of an interrupt, where the handler's count has repetitions in it."""
    interface: str = "eth0"
    setup: tuple[str, ...] = ()
    path: str = "vf"
    design: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[tuple[int, int], Mapping[str, str]] = field(default_factory=dict)
    """What is different in the driver from a version of the kernel on: parameters of the strategy that has it."""

    def of_kernel(self, version: tuple[int, int]) -> NicDriver:
        """The driver of this version of the kernel."""
        known = (changes for since, changes in sorted(self.since.items()) if since <= version)
        return replace(self, of_strategy={name: text for changes in known for name, text in changes.items()})

    of_strategy: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the strategy, without its name, for the kernel that was asked about."""

    @property
    def races_for_interrupts(self) -> bool:
        """Whether a frame sent is an interrupt only where the device is later than the driver, so nobody can tell."""
        return "arm-after-kick" in self.of_strategy

    @property
    def behind_iommu(self) -> tuple[str, ...]:
        """The device, with its accesses translated: a virtio device's are only where it says so."""
        *before, device = self.device
        return (*before, f"{device},iommu_platform=on" if self.path == "virtio" else device)


TAIL_WRITES = ("e1000e_core_write 0xc018", "e1000e_core_write 0xe018")
MESSAGES = "e1000e_irq_msix_notify_vec"
_REFILLS_EACH_POLL = {"driver.rx-ring": "256", "driver.tx-ring": "256", "driver.refill-batch": "1"}

DRIVERS: dict[str, NicDriver] = {
    driver.name: driver
    for driver in (
        NicDriver(
            "igb",
            ("dca", "i2c-algo-bit", "igb"),
            IGB,
            ("{}-rx-0", "{}-tx-0"),
            TAIL_WRITES,
            MESSAGES,
            design={**_REFILLS_EACH_POLL, "driver.page-reuse": "flip"},
        ),
        NicDriver(
            "igbvf",
            ("dca", "i2c-algo-bit", "igb"),
            IGB,
            ("{}-rx-0", "{}-tx-0"),
            TAIL_WRITES,
            MESSAGES,
            interface="eth1",
            setup=VF_SWITCHED_ON,
            design={**_REFILLS_EACH_POLL, "driver.page-reuse": "none"},
        ),
        NicDriver(
            "virtio-net",
            ("failover", "net_failover", "virtio_net"),
            VIRTIO_NET,
            ("virtio0-input.0", "virtio0-output.0"),
            ("virtio_queue_notify 0", "virtio_queue_notify 1"),
            path="virtio",
            design={"driver.rx-ring": "256", "driver.tx-ring": "256", "driver.refill-batch": "33"},
            since={(6, 15): {"arm-after-kick": "true"}},
        ),
    )
}
TRACED = (
    "vtd_inv_desc_iotlb_*",
    "virtio_queue_notify",
    "virtio_notify",
    "e1000e_core_write",
    "e1000e_irq_msix_notify_*",
)
INVALIDATIONS = ("vtd_inv_desc_iotlb_pages", "vtd_inv_desc_iotlb_domain", "vtd_inv_desc_iotlb_global")


@dataclass(frozen=True)
class GuestIommu:
    """An emulated intel-iommu. ``kernel`` are the kernel's options, ``mode`` the model's word for what they lead to."""

    name: str
    device: tuple[str, ...]
    kernel: str
    mode: str
    told_of_maps: bool = False

    @property
    def lazy(self) -> bool:
        """Whether invalidations wait for a timer, so that their number depends on when frames come."""
        return self.mode == "deferred"


def _intel(caching_mode: str) -> tuple[str, ...]:
    return ("-device", f"intel-iommu,intremap=off,caching-mode={caching_mode}")


LAZY, STRICT, PASSTHROUGH = "iommu.strict=0", "iommu.strict=1", "iommu.passthrough=1"
IOMMUS: dict[str, GuestIommu] = {
    iommu.name: iommu
    for iommu in (
        # Lazy invalidation is asked for, and refused by the kernel.
        GuestIommu("caching-mode", _intel("on"), LAZY, "strict", told_of_maps=True),
        GuestIommu("lazy", _intel("off"), LAZY, "deferred"),
        GuestIommu("strict", _intel("off"), STRICT, "strict"),
        GuestIommu("passthrough", _intel("on"), PASSTHROUGH, "static", told_of_maps=True),
    )
}
