"""What a strategy declares, the places where it may act, and the verbs of a migration.

A strategy is a frozen dataclass of parameters, a set of hooks and a ``migrate`` method. Hooks are kernels that sit
where a real driver calls the DMA API; they run on the guest's processor and act through the primitives of
``vfbench.machine.cpu``. ``migrate`` is a short script of verbs, so that the stop order can be read off the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from vfbench.kernels import Kernel, kernel

hook = kernel
"""Marks a kernel as a hook: ``hook(cpu, address, argument)``, an int64 or nothing in return."""


@hook
def do_nothing(cpu: Any, address: int, argument: int) -> int:
    """The default of every hook but the two that map."""
    return 0


@hook
def same_address(cpu: Any, address: int, length_bytes: int) -> int:
    """No IOMMU that the guest could see: the device uses guest-physical addresses."""
    return address


@dataclass(frozen=True)
class Hooks:
    """Where a strategy may act. Each is called as ``hook(cpu, address, argument)``; addresses are guest-physical."""

    device_opened: Kernel = do_nothing
    """The driver brings the queue up, before the first buffer is given to the device."""
    page_mapped: Kernel = same_address
    """``dma_map_page(DMA_FROM_DEVICE)``: (page, bytes) -> the IOVA for the device."""
    page_unmapped: Kernel = do_nothing
    """``dma_unmap_page``: (iova, page)."""
    buffer_given: Kernel = do_nothing
    """``dma_sync_single_range_for_device``: (buffer, bytes) goes to the device, for the first time or again."""
    buffer_synced: Kernel = do_nothing
    """``dma_sync_single_range_for_cpu``: (buffer, packet's bytes) is back from the device."""
    descriptor_seen_done: Kernel = do_nothing
    """The driver found DD set: (descriptor, bytes)."""
    frame_mapped: Kernel = same_address
    """``dma_map_single(DMA_TO_DEVICE)``: (page, bytes) -> the IOVA for the device."""
    frame_unmapped: Kernel = do_nothing
    """``dma_unmap_single``: (iova, page)."""
    doorbell_ready: Kernel = do_nothing
    """The driver is about to write a tail register: what the device may use must be in place now."""
    tracking_armed: Kernel = do_nothing
    """The hypervisor began to track."""
    tracking_disarmed: Kernel = do_nothing
    """The hypervisor stopped tracking."""


class Migration(Protocol):
    """The verbs of a migration; each has one meaning, and each testbed its own implementation."""

    def arm_tracking(self) -> None:
        """From now on the hypervisor wants to know which pages the device may write."""

    def disarm_tracking(self) -> None:
        """The hypervisor no longer cares."""

    def pre_copy(self, *, skip_mapped: bool = False) -> None:
        """Copy memory while the guest runs, until the rest fits the downtime limit.

        ``skip_mapped``: leave pages that the hypervisor knows to be mapped for the device to the end. Ends the
        migration as not-converged where the rest never fits.
        """

    def notify_driver(self) -> None:
        """Raise the migration notice in the driver (S3): it polls no more and waits for what comes."""

    def stop_device(self) -> None:
        """The device moves no packet from now on; frames in its FIFO are lost."""

    def drain(self) -> None:
        """Let the driver take every packet whose descriptor is done, and tell what it has not told yet."""

    def pause_guest(self) -> None:
        """Stop the guest's processors."""

    def copy_rest(self) -> None:
        """Sync the dirty log a last time and copy all that is pending, pages still mapped included."""

    def transfer_vf_state(self) -> None:
        """Save the VF's state at the source and restore it, register by register, at the destination (S1, S2)."""

    def restore_rings(self) -> None:
        """Rotate the rings to heads that were reset to 0, and enable them (S4)."""

    def resume(self) -> None:
        """The guest runs on at the destination, and its new place is announced."""

    def unplug_vf(self) -> None:
        """Fail over to virtio-net and take the VF out of the guest."""

    def plug_vf(self) -> None:
        """Give the guest a VF and fail over to it."""


@dataclass(frozen=True)
class Strategy:
    """Base of every strategy; a subclass adds ``name``, parameters, hooks and the script of its migration."""

    name: ClassVar[str]

    @property
    def hooks(self) -> Hooks:
        """What it does in the driver; depends on its parameters."""
        return Hooks()

    @property
    def options(self) -> tuple[int, ...]:
        """Up to eight integers that its hooks read as ``cpu.option[i]``."""
        return ()

    @property
    def path(self) -> str:
        """The way packets take before a migration: ``vf`` or ``virtio``."""
        return "vf"

    @property
    def has_virtio(self) -> bool:
        """Whether the guest has a virtio-net device at all."""
        return self.path == "virtio"

    @property
    def path_migrating(self) -> str:
        """The way packets take while memory is copied: ``vf`` or ``virtio``."""
        return self.path

    @property
    def dma_visible_by(self) -> str:
        """How the hypervisor learns what the device wrote: ``none``, ``guest-store``, ``iommu``, ``host-copy``."""
        return "none"

    @property
    def guest_iommu(self) -> bool:
        """Whether the device's addresses go through an IOMMU that the guest sees."""
        return False

    @property
    def mapping(self) -> str:
        """How long the guest's IOMMU maps a page: ``strict``, ``deferred``, ``static``, or ``none`` at all."""
        return "none"

    @property
    def entries_per_call(self) -> int:
        """Maps and unmaps that reach the hypervisor with one exit; 0 where there are none."""
        return 0

    @property
    def exit_class(self) -> str:
        """Where a call of the guest's IOMMU driver is handled: ``user-space``, ``kernel``, ``other-core``, ``none``."""
        return "none"

    @property
    def tracks_always(self) -> bool:
        """Whether the hypervisor is told of mappings from the start, or only once tracking is armed."""
        return False

    @property
    def skip_mapped(self) -> bool:
        """Whether a page mapped for the device is kept from being sent until it is unmapped."""
        return False

    @property
    def stop_order(self) -> str:
        """What stops first: one of ``STOP_ORDERS``."""
        return "device-first"

    @property
    def faults(self) -> tuple[int, ...]:
        """The faults of the README's list that its parameters switch on, in order."""
        return ()

    @property
    def misses_late_maps(self) -> bool:
        """Fault 6: a mapping made after tracking was armed goes unnoticed."""
        return False

    @property
    def virtqueue_size(self) -> int:
        """Descriptors of each virtqueue."""
        return 256

    @property
    def kick_suppression(self) -> bool:
        """Whether the guest spares vhost the kicks that it does not want."""
        return True

    @property
    def transmit_interrupts(self) -> bool:
        """Whether the virtio driver is interrupted for frames that were sent."""
        return True

    def migrate(self, migration: Migration) -> None:
        """The migration, verb by verb."""
        raise NotImplementedError


STOP_ORDERS = ("device-first", "undrained", "guest-first", "device-last")


FAULT_OF_STOP_ORDER: dict[str, tuple[int, ...]] = {
    "device-first": (),
    "undrained": (3,),
    "guest-first": (4,),
    "device-last": (1,),
}
"""Which fault each order is."""


def stop_and_copy(migration: Migration, order: str) -> None:
    """The stop, in one of four orders, and the copy of the rest.

    ``device-first``: the driver is notified, the device stops, the driver takes what is done, the guest stops, the
    rest is copied. ``undrained`` (fault 3): the same, but what the device has done and the driver has not seen
    stays where it is. ``guest-first`` (fault 4): the guest stops while the device goes on. ``device-last``
    (fault 1): the device goes on even while the rest is copied.
    """
    if order == "device-first":
        migration.notify_driver()
        migration.stop_device()
        migration.drain()
        migration.pause_guest()
        migration.copy_rest()
    elif order == "undrained":
        migration.notify_driver()
        migration.stop_device()
        migration.pause_guest()
        migration.copy_rest()
    elif order == "guest-first":
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
    else:
        migration.pause_guest()
        migration.copy_rest()
        migration.stop_device()
