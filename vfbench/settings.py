"""What of a run can be set, by subject: the guest, its link, driver and device, the migration, the phases.

Every default is what the users of 2015 had: an Intel 82599 at 10 Gb/s, its driver's ring sizes, and a
migration link as fast as the guest's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.errors import UserError
from vfbench.parameters import changed, parameter, validate
from vfbench.units import format_quantity

PAGE_BYTES = 4096
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
US = 10**3
MS = 10**6
S = 10**9

RING_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Settings:
    """Base of the groups; `name` is what stands before the dot in `--set guest.memory=4GiB`."""

    name: ClassVar[str]
    left_out_of_identity_at_default: ClassVar[bool] = False
    """Whether a group that is wholly at its defaults is no part of an experiment's digest: true for a group that came
    later than the records that people keep."""

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Guest(Settings):
    """The virtual machine."""

    name: ClassVar[str] = "guest"

    memory_bytes: int = parameter(
        GIB, unit="bytes", low=64 * MIB, high=4 * TIB, multiple_of=PAGE_BYTES, help="the guest's memory"
    )
    queues: int = parameter(1, unit="count", low=1, high=16, help="queue pairs, each with a vCPU of its own")
    packet_memory_bytes: int = parameter(
        64 * MIB,
        unit="bytes",
        low=MIB,
        high=2 * TIB,
        multiple_of=PAGE_BYTES,
        help="memory from which packet pages are allocated",
    )
    dirty_log: str = parameter(
        "write-protect",
        choices=("write-protect", "pml"),
        help="how the hypervisor sees the guest's stores: write faults, or the CPU's page modification log",
    )
    host_pages: str = parameter(
        "2MiB",
        choices=("2MiB", "4KiB"),
        in_identity_at_default=False,
        help="pages in which the host backs guest memory and its own IOMMU maps it for a VF",
    )
    zero_memory_bytes: int = parameter(
        0,
        unit="bytes",
        high=4 * TIB,
        multiple_of=PAGE_BYTES,
        in_identity_at_default=False,
        help="of the memory that nothing touches, how much holds zeros; acts with migration.zero-pages",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.packet_memory_bytes > self.memory_bytes:
            raise UserError(
                f"guest.packet-memory: {format_quantity(self.packet_memory_bytes, 'bytes')} is over half of "
                f"guest.memory ({format_quantity(self.memory_bytes, 'bytes')})"
            )


@dataclass(frozen=True)
class Link(Settings):
    """The wire between the guest's port and its peer."""

    name: ClassVar[str] = "link"

    rate_bps: int = parameter(
        10 * 10**9, unit="bps", low=10**6, high=400 * 10**9, help="speed of the link, both ways"
    )
    peer_turnaround_ns: int = parameter(
        20 * US, unit="ns", high=S, help="time the peer takes from a response to its next request"
    )
    mtu_bytes: int = parameter(
        1500,
        unit="bytes",
        low=576,
        high=9710,
        in_identity_at_default=False,
        help="largest IP packet: what a send over it is cut to; frames over a buffer of 2 KiB take several",
    )


@dataclass(frozen=True)
class Driver(Settings):
    """The guest's network driver."""

    name: ClassVar[str] = "driver"

    rx_ring: int = parameter(
        512, unit="count", choices=RING_SIZES, help="receive descriptors of 16 bytes per queue"
    )
    tx_ring: int = parameter(
        1024, unit="count", choices=RING_SIZES, help="transmit descriptors of 16 bytes per queue"
    )
    rx_mode: str = parameter(
        "build",
        choices=("build", "copybreak"),
        help="every packet built in place as today, or packets of 256 B or less copied out as in 2015",
    )
    page_reuse: str = parameter(
        "flip",
        choices=("flip", "none"),
        help="receive pages stay mapped and their halves take turns, or every packet gets a new page",
    )
    refill_batch: int = parameter(
        16, unit="count", low=1, high=256, help="receive buffers given to the device per tail write"
    )
    poll_budget: int = parameter(64, unit="count", low=1, high=1024, help="packets taken per poll at most")
    page_order: str = parameter(
        "lifo",
        choices=("lifo", "fifo"),
        help="which free packet page is taken next: the one freed last, or the one freed longest ago",
    )
    gro: str = parameter(
        "off",
        choices=("off", "on"),
        in_identity_at_default=False,
        help="full frames of a flow that follow one another in a poll pass through the stack as one",
    )
    segmentation: str = parameter(
        "off",
        choices=("off", "on"),
        in_identity_at_default=False,
        help="a send over the MTU is cut into frames by the card (TSO), or by the stack before the driver sees it",
    )
    segment_bytes: int = parameter(
        64 * KIB,
        unit="bytes",
        low=2 * KIB,
        high=64 * KIB,
        in_identity_at_default=False,
        help="with segmentation: the largest send that the stack hands over at once (gso_max_size)",
    )
    send_pages: str = parameter(
        "order-3",
        choices=("order-3", "order-0"),
        in_identity_at_default=False,
        help="with segmentation: a send's bytes lie in runs of 32 KiB, or in pages of 4 KiB; each is mapped once",
    )

    virtio_buffers: str = parameter(
        "single",
        choices=("single", "mergeable", "big"),
        in_identity_at_default=False,
        help="virtio-net's receive buffers: one for a frame; as many as a packet takes (VIRTIO_NET_F_MRG_RXBUF); or "
        "of 64 KiB each",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.refill_batch >= self.rx_ring:
            raise UserError(
                f"driver.refill-batch: {self.refill_batch} is not below driver.rx-ring ({self.rx_ring})"
            )
        if self.segmentation == "off":
            self._refuse_without_segmentation()

    def _refuse_without_segmentation(self) -> None:
        """What shapes large sends does nothing where there are none."""
        given = changed(self)
        for name in ("segment", "send-pages"):
            if name in given:
                raise UserError(f"driver.{name}: {given[name]} cannot act without driver.segmentation=on")


@dataclass(frozen=True)
class Device(Settings):
    """The virtual function; what it costs and how deep its FIFO is stands in the profile."""

    name: ClassVar[str] = "device"

    writeback_batch: int = parameter(
        1, unit="count", low=1, high=32, help="descriptors that the device writes back at once"
    )
    interrupt_interval_ns: int = parameter(
        50 * US, unit="ns", high=10 * MS, help="least time between two interrupts (0: no throttling)"
    )
    moderation: str = parameter(
        "auto",
        choices=("auto", "adaptive", "fixed"),
        in_identity_at_default=False,
        help="interrupt moderation: by the load as ixgbevf adapts it, or by interrupt-interval; auto: adaptive unless "
        "interrupt-interval is set",
    )

    @property
    def adapts(self) -> bool:
        """Whether the driver adapts the interval to the load."""
        given = self.interrupt_interval_ns != 50 * US
        return self.moderation == "adaptive" or (self.moderation == "auto" and not given)


_THROTTLE = (
    "cpu-throttle-initial",
    "cpu-throttle-increment",
    "cpu-throttle-most",
    "cpu-throttle-tailslow",
    "throttle-trigger",
)
"""What shapes auto-converge, and does nothing without it."""


@dataclass(frozen=True)
class Precopy(Settings):
    """QEMU's pre-copy and its switchover rule."""

    name: ClassVar[str] = "migration"

    bandwidth_bps: int = parameter(
        10 * 10**9,
        unit="bps",
        low=10**6,
        high=10**12,
        help="what the migration may send while the guest runs: its share of each 100 ms, at migration.line-rate",
    )
    line_rate_bps: int = parameter(
        10 * 10**9,
        unit="bps",
        low=10**6,
        high=10**12,
        help="speed of the line that carries the migration; after the stop it is the only limit",
    )
    downtime_limit_ns: int = parameter(
        300 * MS, unit="ns", high=2000 * S, help="switch over once what is pending can be sent in this time"
    )
    max_rounds: int = parameter(
        30, unit="count", low=1, high=100_000, help="give up (not-converged) after this many dirty-log syncs"
    )
    vf_state: str = parameter(
        "sysfs",
        choices=("sysfs", "self-emulated"),
        help="VF registers read and written through the PF driver, or recorded by the VF driver and replayed",
    )
    multifd_channels: int = parameter(
        0,
        unit="count",
        high=255,
        in_identity_at_default=False,
        help="QEMU's multifd: channels that carry the pages, each with a thread at both ends (0: the one stream)",
    )
    zero_pages: str = parameter(
        "filled",
        choices=("filled", "none", "legacy", "multifd"),
        in_identity_at_default=False,
        help="QEMU's zero-page-detection: by the migration thread (legacy), by the channels (multifd), or none, so "
        "that zeros go in full; filled: no page of the guest counts as zero",
    )
    auto_converge: bool = parameter(
        False,
        in_identity_at_default=False,
        help="slow the vCPUs down while memory is dirtied faster than it is sent (QEMU's auto-converge)",
    )
    cpu_throttle_initial_ratio: float = parameter(
        0.2,
        unit="ratio",
        low=0.01,
        high=0.99,
        in_identity_at_default=False,
        help="with auto-converge: the first throttle, a share of the vCPUs' time",
    )
    cpu_throttle_increment_ratio: float = parameter(
        0.1,
        unit="ratio",
        low=0.01,
        high=0.99,
        in_identity_at_default=False,
        help="with auto-converge: each further step, a share of the vCPUs' time",
    )
    cpu_throttle_most_ratio: float = parameter(
        0.99,
        unit="ratio",
        low=0.01,
        high=0.99,
        in_identity_at_default=False,
        help="with auto-converge: QEMU's max-cpu-throttle, a share of the vCPUs' time",
    )
    cpu_throttle_tailslow: bool = parameter(
        False,
        in_identity_at_default=False,
        help="with auto-converge: steps no larger than the dirty rate asks for (QEMU's cpu-throttle-tailslow)",
    )
    throttle_trigger_ratio: float = parameter(
        0.5,
        unit="ratio",
        low=0.01,
        high=1.0,
        in_identity_at_default=False,
        help="with auto-converge: bytes dirtied to bytes sent, over which a period counts as too fast",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse_what_cannot_act()
        if self.bandwidth_bps > self.line_rate_bps:
            bandwidth, line = (
                format_quantity(each, "bps") for each in (self.bandwidth_bps, self.line_rate_bps)
            )
            raise UserError(
                f"migration.bandwidth: {bandwidth} is over migration.line-rate ({line}), the speed of the line "
                f"that carries it; set migration.line-rate={bandwidth} if the line is as fast"
            )

    def _refuse_what_cannot_act(self) -> None:
        given = changed(self)
        if self.zero_pages == "multifd" and not self.multifd_channels:
            raise UserError("migration.zero-pages: multifd cannot act without migration.multifd-channels")
        if not self.auto_converge:
            for name in _THROTTLE:
                if name in given:
                    raise UserError(
                        f"migration.{name}: {given[name]} cannot act without migration.auto-converge=true"
                    )
        if self.cpu_throttle_initial_ratio > self.cpu_throttle_most_ratio:
            initial, most = (
                format_quantity(each, "ratio")
                for each in (self.cpu_throttle_initial_ratio, self.cpu_throttle_most_ratio)
            )
            raise UserError(
                f"migration.cpu-throttle-initial: {initial} is over migration.cpu-throttle-most ({most})"
            )


@dataclass(frozen=True)
class Kvm(Settings):
    """What only the kvm testbed has."""

    name: ClassVar[str] = "kvm"

    clock: str = parameter(
        "wall",
        choices=("wall", "lockstep"),
        help="what migration, wire and the guest's other writes go by: the wall clock, or one that waits for the "
        "guest and for the migration, so that what a run counts does not depend on the host's speed",
    )


@dataclass(frozen=True)
class Qemu(Settings):
    """What only the qemu testbed has: a stock QEMU with a real Linux."""

    name: ClassVar[str] = "qemu"
    left_out_of_identity_at_default: ClassVar[bool] = True

    accelerator: str = parameter(
        "auto",
        choices=("auto", "kvm", "tcg"),
        help="auto takes kvm where /dev/kvm runs guests natively; under tcg times don't count",
    )
    binary: str = parameter("auto", help="qemu-system-x86_64; auto: the fetched one, else the host's own")
    kernel: str = parameter(
        "auto",
        help="the guest's kernel: a file, a version like 6.12, newest, or auto (6.12 where it is there)",
    )
    device_id: str = parameter(
        "82599",
        choices=("82599", "X540", "X550"),
        help="which VF the guest's ixgbevf sees; for the X540 and X550 it builds packets in place",
    )
    memory_bytes: int = parameter(
        256 * MIB, unit="bytes", low=128 * MIB, high=64 * GIB, multiple_of=MIB, help="the real guest's memory"
    )
    pace_per_s: int = parameter(
        0,
        unit="count",
        high=10**7,
        help="packets a second at most, the workload's clock slowed down to that (0: 600 under tcg, 20000 under kvm)",
    )
    device_log: bool = parameter(
        False,
        help="QEMU is told of each page that the VF writes, as by VFIO's DMA logging, whatever the strategy does",
    )
    xdp_control: bool = parameter(
        False,
        help="an XDP program that reads a byte of each packet and writes none: the control of dummy writes",
    )
    rings: str = parameter(
        "auto",
        choices=("auto", "copied", "left"),
        help="whether ring pages are rewritten at the stop so that they are sent; left: receive may be dead afterwards",
    )


@dataclass(frozen=True)
class Host(Settings):
    """The host's network stack, between its NIC and the tap that vhost serves."""

    name: ClassVar[str] = "host"
    left_out_of_identity_at_default: ClassVar[bool] = True

    gro: str = parameter(
        "off",
        choices=("off", "on"),
        help="the host's NIC driver joins frames of a flow; for a guest with single buffers they are cut again",
    )
    segmentation: str = parameter(
        "on",
        choices=("off", "on"),
        help="large sends of the guest are cut by the host's card, or by the host's stack before it",
    )


@dataclass(frozen=True)
class Phases(Settings):
    """How long each part of a run lasts."""

    name: ClassVar[str] = "phases"

    warmup_ns: int = parameter(5 * MS, unit="ns", high=60 * S, help="time before anything is measured")
    steady_ns: int = parameter(
        50 * MS, unit="ns", low=10 * US, high=3600 * S, help="steady state before the migration"
    )
    packets: int = parameter(
        0, unit="count", help="end the steady state after this many offered packets instead (0: by time)"
    )
    after_ns: int = parameter(
        50 * MS, unit="ns", high=3600 * S, help="time the guest runs on at the destination"
    )
    interval_ns: int = parameter(
        10 * MS, unit="ns", low=100 * US, high=60 * S, help="length of an interval in the timeline"
    )
