"""What a mechanism is: what it does in the guest, in the device and on the host, and what it says of itself.

A mechanism is a frozen dataclass, made by a strategy from its own parameters. Where it acts it names a kernel, as a
class attribute or, where parameters decide, as a property. Each kernel's first arguments are the record of the side on
which it runs and the mechanism's slot; parameters are read by ``vfbench.machine.cpu.word(cpu, slot, i)``, structures
in guest memory by ``area(cpu, slot, i)``, structures on the host by ``vfbench.machine.host.host_area(host, slot, i)``,
prices by ``spend_price`` and ``host_price``. Whatever changes while the guest runs lies in a structure: in guest
memory it migrates with the guest, on the host it stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.hooks import MAP_FAILED
from vfbench.machine.iommu.table import READ, WRITE

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

__all__ = [
    "BIDIRECTIONAL",
    "FROM_DEVICE",
    "MAP_FAILED",
    "TO_DEVICE",
    "Backend",
    "DirtySource",
    "Found",
    "HostView",
    "Mechanism",
    "Pages",
    "QueueSizes",
    "Trait",
    "hook",
]

TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL = READ, WRITE, READ | WRITE
"""Directions of a mapping (``enum dma_data_direction``)."""

EXIT_CLASSES = ("none", "user-space", "kernel", "other-core")
"""Who carries out a guest's call: nobody at no cost, QEMU, KVM, or a core that polls."""

HOST_POINTS = {"translate": 3, "hypercall": 2, "dma_written": 2, "work": 1, "unmapped": 1}
"""Where a mechanism may act beside the guest; how many arguments follow (record, slot)."""

Pages = npt.NDArray[np.bool_]
"""One bool for each page whose contents are held."""
Trait = str | bool | int

hook: Callable[[Kernel], Kernel] = kernel
"""Marks a kernel by which a mechanism acts: an int64 or nothing in return."""


@dataclass(frozen=True)
class QueueSizes:
    """What a structure's size may depend on."""

    rx_ring: int
    tx_ring: int
    packet_pages: int
    memory_pages: int
    """Pages up to the highest guest-physical address, cold ones included: a page's number is always less."""
    queues: int


class HostView(Protocol):
    """What the host's side of one mechanism sees of the machine when tracking begins or ends, and at each sync."""

    @property
    def queues(self) -> int:
        """Queues of the device."""

    @property
    def memory_bytes(self) -> int:
        """Guest memory, cold pages included."""

    @property
    def now_ps(self) -> int:
        """The clock by which devices and the host's threads go."""

    @property
    def mapped(self) -> Pages:
        """Pages that the hypervisor knows to be mapped for the device to write."""

    @property
    def pages(self) -> int:
        """How many page numbers there are: every array of pages is so long."""

    @property
    def dma_pages(self) -> Pages:
        """Pages that the device may be given at all: rings, packet memory, mechanisms' payload structures."""

    @property
    def ring_pages(self) -> Pages:
        """Pages of descriptor rings, which stay mapped for as long as the driver is open."""

    @property
    def in_flight(self) -> Pages:
        """Pages whose write by the device has begun and has not landed; none where that is unknown."""

    def packet_pages(self, queue: int) -> npt.NDArray[np.int64]:
        """Numbers of the pages of a queue's packet memory, in order."""

    def structure_pages(self, name: str) -> Pages:
        """Pages of one of its structures in guest memory, of all queues."""

    def host_structure(self, name: str) -> npt.NDArray[np.int64]:
        """One of the mechanism's own structures on the host; writes take effect."""

    def guest_structure(self, queue: int, name: str) -> npt.NDArray[np.int64]:
        """One of its structures in guest memory, as the host reads it."""

    def run(self, function: Kernel) -> list[int]:
        """Run ``function(host, slot)`` beside each queue, its threads at rest; what each returned."""

    def withhold(self, pages: Pages) -> None:
        """From now on these pages, and no others, wait (``withholds_mapped``): the hypervisor takes them for mapped."""

    def release_dma(self) -> None:
        """A device that a mechanism held (``vfbench.machine.host.hold_dma``) goes on from now."""

    def picoseconds(self, cost: str) -> int:
        """One of the profile's times; 0 where the host's work takes its own time."""

    def figure(self, name: str) -> float:
        """One of the profile's counts or sizes, in its unit; 0 where the host's work takes its own time."""


@dataclass(frozen=True)
class Found:
    """What a source found at a sync.

    ``failed``: it lost track, and every page counts as dirty. ``everything``: every page of the guest is
    dirty, those whose contents nobody holds included. ``at_once``: pages that are sent as they are at this instant,
    before the sync is over.
    """

    dirty: Pages | None = None
    time_ps: int = 0
    failed: bool = False
    everything: bool = False
    at_once: Pages | None = None


@dataclass(frozen=True)
class Mechanism:
    """Base of every mechanism. Each point is a kernel, or None where the mechanism does not act."""

    name: ClassVar[str] = ""
    """For records and errors; no two mechanisms of a strategy share one."""

    # in the guest: ``point(cpu, slot, ...)``, after Linux's dma_map_ops
    map: ClassVar[Kernel | None] = None
    """(address, length, direction) -> the address for the device, or MAP_FAILED; only the owner's answer counts."""
    unmap: ClassVar[Kernel | None] = None
    """(iova, address, length, direction)"""
    sync_for_device: ClassVar[Kernel | None] = None
    """(iova, address, length): the buffer goes to the device, for the first time or again."""
    sync_for_cpu: ClassVar[Kernel | None] = None
    """(iova, address, length): the buffer is back with a packet of ``length`` bytes."""
    descriptor_done: ClassVar[Kernel | None] = None
    """(address, length): the driver found DD set."""
    before_doorbell: ClassVar[Kernel | None] = None
    """The driver is about to write a tail register: what the device may use must be in place."""
    opened: ClassVar[Kernel | None] = None
    """The driver brings the queue up; no buffer has been given to the device."""
    closed: ClassVar[Kernel | None] = None
    """The driver took the queue down and every buffer back."""
    armed: ClassVar[Kernel | None] = None
    """The hypervisor begins to track."""
    disarmed: ClassVar[Kernel | None] = None
    """The hypervisor tracks no more."""
    quiesce: ClassVar[Kernel | None] = None
    """The driver was asked to quiesce and has reclaimed what is done: the last thing that it does."""

    # in the device and on the host: ``point(host, slot, ...)``
    translate: ClassVar[Kernel | None] = None
    """(host, port, slot, iova, access) -> guest-physical address or FAULT, at each access of the device."""
    dma_written: ClassVar[Kernel | None] = None
    """(address, time_ps) -> for how long the device must wait."""
    hypercall: ClassVar[Kernel | None] = None
    """(reason, argument): the guest left to this mechanism's handler."""
    work: ClassVar[Kernel | None] = None
    """(until_ps): a thread of the host works up to then, beside this queue."""
    unmapped: ClassVar[Kernel | None] = None
    """(page): the hypervisor is about to take the device's translation of a guest-physical page away."""

    owns_iova: ClassVar[bool] = False
    """Whether it hands out the addresses by which the device knows memory; at most one of a strategy's does."""
    costs: ClassVar[tuple[str, ...]] = ()
    """Figures of the profile that its kernels spend, by number."""
    guest_lock: ClassVar[tuple[str, str] | None] = None
    """Figures of a lock that its kernels take in the guest (``take_guest_lock``): for how long it is held, and how long
    its lines take from another core."""
    demands: ClassVar[tuple[str, ...]] = ()
    """What must be changed in guest or host to have it: words of ``vfbench.demands``."""
    queues_limit: ClassVar[str] = ""
    """The capability that says how many queues it can have, if one does."""

    @property
    def devices(self) -> int:
        """Devices of its kind that the guest has, which share out its queues: queue q is device q's modulo as many."""
        return 1

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the machine must have: capabilities of ``vfbench.profiles.machine``, by name, a count with the least."""
        return ()

    def refusals(self, testbed: str) -> tuple[str, ...]:
        """A line for each thing asked of it that a testbed can't show."""
        return ()

    def lock_areas(self, figure: Callable[[str], float]) -> int:
        """Into how many areas with a lock each its ``guest_lock`` is divided; ``figure`` gives the profile's."""
        return 1

    @property
    def words(self) -> tuple[int, ...]:
        """Parameters for its kernels."""
        return ()

    @property
    def exit_to(self) -> str:
        """Who carries its hypercalls out: one of EXIT_CLASSES."""
        return "none"

    def guest_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        """Structures in guest memory for each queue: name -> bytes, in the order of their areas."""
        return {}

    def payload_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        """Like these, but of packets: the device may be pointed at them. Their areas follow the others."""
        return {}

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        """Structures of the host, one for the whole device: name -> 64-bit words, zero at the start."""
        return {}

    def fill_guest(self, structures: Mapping[str, npt.NDArray[np.int64]], packet_pages: int) -> None:
        """What the guest's kernel put into one queue's structures before the driver opened."""

    def fill_host(self, structures: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """What the host put into its structures before the guest ran."""

    def arm(self, view: HostView) -> int:
        """The hypervisor begins to track; returns how long that took in picoseconds."""
        return 0

    def disarm(self, view: HostView) -> int:
        """The hypervisor tracks no more, at the destination as a rule."""
        return 0

    @property
    def traits(self) -> Mapping[str, Trait]:
        """What records keep of it and verdicts ask for: an open vocabulary, `docs/architecture.md` has the words."""
        return {}

    @property
    def faults(self) -> tuple[int, ...]:
        """The faults of the README's list that its parameters switch on."""
        return ()

    def linux(self) -> LinuxGuest:
        """How a stock Linux guest on a stock QEMU gets it; UserError where it can't."""
        return LinuxGuest()

    def reports(self, view: HostView) -> Mapping[str, float]:
        """Figures of its own for the record, by name with unit."""
        return {}


@dataclass(frozen=True)
class DirtySource(Mechanism):
    """A mechanism that reports written pages to the hypervisor, beside KVM's own log; several are OR-ed."""

    @property
    def withholds_mapped(self) -> bool:
        """Whether a page that is mapped for the device to write is kept from being sent until it is unmapped."""
        return False

    def sync(self, view: HostView, last: bool) -> Found:
        """What was written since the last sync; ``last``: the guest stands still, and this is the rest."""
        return Found()


@dataclass(frozen=True)
class Postponing(Mechanism):
    """A mechanism that lets the guest run before its memory has come (the verbs `postpone_rest`, `fetch_rest`)."""

    @property
    def fault_costs(self) -> tuple[str, str]:
        """What a processor and a device pay for a page that is absent, its way apart; `""` for no such device."""
        raise NotImplementedError

    @property
    def queue_cost(self) -> str:
        """How many bytes a page that is asked for waits behind: a figure, `""` for none."""
        return ""

    @property
    def loses_source(self) -> bool:
        """Whether the source dies before all has come."""
        return False

    def ahead(self, view: HostView) -> Pages:
        """Pages that may not be absent."""
        raise NotImplementedError


@dataclass(frozen=True)
class DeviceState:
    """What a variant driver saves and loads of each of several VFs."""

    state_bytes: int
    precopy_bytes: int = 0
    """Of these, what goes while the VF runs (VFIO PRE_COPY, acknowledged before the switchover)."""
    vfs: int = 1
    parallel: bool = False
    """Whether the states of several VFs are loaded at once (multifd)."""


@dataclass(frozen=True)
class Backend(Mechanism):
    """What serves the guest's packets, with the guest's driver for it: a path is such a pair."""

    driver: ClassVar[str] = ""
    device: ClassVar[str] = ""
    path: ClassVar[int] = 0
    """The number by which the kernels know the pair (``vfbench.machine.queue_pair``)."""

    @property
    def unplug_costs(self) -> tuple[str, str]:
        """What its unplug costs, and what passes between its plugging and its first packet: figures, `""` for none."""
        return "vf_hot_unplug", ""

    @property
    def refuses_unplug(self) -> bool:
        """Whether the guest keeps it though it is asked to give it up."""
        return False

    @property
    def switch_costs(self) -> tuple[str, str]:
        """What it takes for each queue to suspend it and to put it in another's place: figures, `""` for none."""
        return "", ""

    @property
    def memory_pins(self) -> int:
        """How many times all guest memory is pinned and mapped when it is put in another's place."""
        return 0

    @property
    def device_state(self) -> DeviceState | None:
        """Its state as its variant driver moves it; None where it is its registers."""
        return None

    @property
    def driver_fields(self) -> Mapping[str, int]:
        """How the driver is built: fields of ``vfbench.machine.cpu.GUEST_FIELDS``."""
        return {}
