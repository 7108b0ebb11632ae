"""What a strategy is: parameters, mechanisms made from them, and the script of a migration.

A strategy is a frozen dataclass of flat parameters. ``mechanisms`` makes what it is composed of; ``migrate`` is a short
script of verbs, so that the stop order can be read off the page. A verb declares what must hold before it
(``vfbench.migration.script``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from vfbench.composition import traits_of
from vfbench.linux_guest import LinuxGuest, merged
from vfbench.mechanism import Backend, Mechanism, Trait
from vfbench.parameters import parameter

STOP_ORDERS = ("device-first", "undrained", "guest-first", "device-last")

FAULT_OF_STOP_ORDER: dict[str, tuple[int, ...]] = {
    "device-first": (),
    "undrained": (3,),
    "guest-first": (4,),
    "device-last": (1,),
}
"""Which fault each order is, where the guest's driver is what makes the device's writes seen."""

HOST_STOP_ORDERS = ("guest-first", "device-first", "device-last")
"""Orders for a strategy whose host sees the device's writes by itself: it needs nothing of the guest at the stop, and
whichever stops first is as good, as long as both stand before the last sync."""


def stop_order(first: str, orders: Sequence[str] = STOP_ORDERS) -> Any:
    """The parameter of what stops first, by default ``first``: one of STOP_ORDERS or HOST_STOP_ORDERS.

    It is recorded as the trait of its name.
    """
    faults = [f"{order} is fault {n}" for order in orders for n in FAULT_OF_STOP_ORDER[order]]
    if orders == HOST_STOP_ORDERS:
        faults = [f"{order} is fault {n}" for order in orders for n in faults_of_host_stop(order)]
    return parameter(first, choices=tuple(orders), help=f"what stops first; {', '.join(faults)}")


def faults_of_host_stop(order: str) -> tuple[int, ...]:
    """Which fault an order of HOST_STOP_ORDERS is."""
    return (1,) if order == "device-last" else ()


class Migration(Protocol):
    """The verbs of a migration; each has one meaning, and each testbed its own implementation."""

    def arm_tracking(self) -> None:
        """From now on the hypervisor wants to know which pages the device may write."""

    def disarm_tracking(self) -> None:
        """The hypervisor no longer cares."""

    def pre_copy(self) -> None:
        """Copy memory while the guest runs, until the rest fits the downtime limit.

        Ends the migration as not-converged where the rest never fits.
        """

    def shrink_rest(self) -> None:
        """Go on for as long as each round leaves less than the one before: the stop then has the least to copy."""

    def notify_driver(self) -> None:
        """Raise the migration notice in the driver (S3): it polls no more and waits for what comes."""

    def stop_device(self) -> None:
        """The device moves no packet from now on; frames in its FIFO are lost."""

    def drain(self) -> None:
        """Let the driver take every packet whose descriptor is done, and flush the calls that it has queued."""

    def pause_guest(self) -> None:
        """Stop the guest's processors."""

    def copy_rest(self) -> None:
        """Sync every dirty source a last time and copy all that is pending, withheld pages included."""

    def postpone_rest(self) -> None:
        """Leave memory behind (post-copy): everything is absent but what may not be, and the guest may run on."""

    def fetch_rest(self) -> None:
        """Copy what was postponed while the guest runs and fetches what it meets; over when all has come."""

    def transfer_vf_state(self) -> None:
        """Save the VF's state at the source and restore it, register by register, at the destination (S1, S2)."""

    def restore_rings(self) -> None:
        """Rotate the rings to heads that were reset to 0, and enable them (S4)."""

    def resume(self) -> None:
        """The guest runs on at the destination, and its new place is announced."""

    def switch_to(self, backend: str) -> None:
        """Suspend what serves the packets, and put the mechanism of this name in its place; the driver stays."""

    def unplug_vf(self) -> None:
        """Fail over to virtio-net and take the VF out of the guest."""

    def plug_vf(self) -> None:
        """Give the guest a VF and fail over to it."""


@dataclass(frozen=True)
class Strategy:
    """Base of every strategy; a subclass adds ``name``, parameters, mechanisms and the script of its migration."""

    name: ClassVar[str]
    linux_defaults: ClassVar[Mapping[str, object]] = {}
    """Fields that, left at their default, stand for what a stock Linux guest on a stock QEMU has: that value."""
    linux_since: ClassVar[Mapping[tuple[int, int], Mapping[str, object]]] = {}
    """Fields that the guest's kernel decides: from which version of Linux on its driver has which value. Before, it has
    the default."""

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """What it is made of, in the order in which chains run; may depend on parameters.

        The first backend among them serves the packets before the migration, others stand by.
        """
        raise NotImplementedError

    @property
    def traits(self) -> Mapping[str, Trait]:
        """What it says of itself beside its mechanisms' traits."""
        return {}

    @property
    def faults(self) -> tuple[int, ...]:
        """The faults of the README's list that its own parameters switch on; its mechanisms add theirs."""
        return ()

    def migrate(self, migration: Migration) -> None:
        """The migration, verb by verb."""
        raise NotImplementedError


def backends(strategy: Strategy) -> tuple[Backend, ...]:
    """What can serve the packets; the first does before the migration."""
    return tuple(each for each in strategy.mechanisms if isinstance(each, Backend))


def faults_of(strategy: Strategy) -> tuple[int, ...]:
    """The faults that are switched on, its mechanisms' included, in order."""
    own = [fault for each in strategy.mechanisms for fault in each.faults]
    return tuple(sorted({*strategy.faults, *own}))


def recorded_traits(strategy: Strategy) -> dict[str, Trait]:
    """The traits of a strategy and all its mechanisms: what verdicts ask for."""
    traits = {**traits_of(strategy.mechanisms), **strategy.traits}
    traits["datapath"] = backends(strategy)[0].device
    traits.setdefault("datapath_migrating", traits["datapath"])
    if "stop_order" not in traits and isinstance(order := getattr(strategy, "stop_order", None), str):
        traits["stop_order"] = order
    traits["faults"] = " ".join(str(number) for number in faults_of(strategy))
    return traits


def linux_guest(strategy: Strategy) -> LinuxGuest:
    """How a stock Linux guest gets it."""
    return merged(each.linux() for each in strategy.mechanisms)


def stop_and_copy(migration: Migration, order: str) -> None:
    """The stop, in one of STOP_ORDERS, and the copy of the rest; ValueError for another order.

    ``device-first``: the driver is notified, the device stops, the driver takes what is done, the guest stops, the
    rest is copied. ``undrained`` (fault 3): the same, but what the device has done and the driver has not seen
    stays where it is. ``guest-first`` (fault 4): the guest stops while the device goes on. ``device-last``
    (fault 1): the device goes on even while the rest is copied.
    """
    if order not in STOP_ORDERS:
        raise ValueError(f"{order!r} is no stop order; there are {', '.join(STOP_ORDERS)}")
    if order in ("device-first", "undrained"):
        migration.notify_driver()
        migration.stop_device()
        if order == "device-first":
            migration.drain()
        migration.pause_guest()
        migration.copy_rest()
    else:
        migration.pause_guest()
        if order == "guest-first":
            migration.stop_device()
        migration.copy_rest()
        if order == "device-last":
            migration.stop_device()


def move_tracked(migration: Migration, order: str) -> None:
    """A VF that is kept until the stop, while the hypervisor tracks what it writes; it stops in ``order``."""
    migration.arm_tracking()
    migration.pre_copy()
    stop_and_copy(migration, order)
    migration.transfer_vf_state()
    migration.restore_rings()
    migration.resume()
    migration.disarm_tracking()
