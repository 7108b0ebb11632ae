"""What each claim is about: kinds of strategies, by predicates over the traits that records keep, and by nothing else.

The vocabulary of traits is open (docs/verdicts.md has the words), so a strategy that nobody thought of is of no kind
here until it says so itself. A predicate asks for all that makes a kind: what merely looks like it stays out.
"""

from __future__ import annotations

from collections.abc import Callable

from vfbench.verdicts.evidence import Cell

Kind = Callable[[Cell], bool]

GUESTS_OWN = ("guest-store", "iommu", "dma-api")
"""Ways in which the device's writes are seen only by what the guest does about them."""


def keeps_the_vf(cell: Cell) -> bool:
    """Packets take the VF before the migration and up to its stop."""
    return bool(cell["datapath"] == "vf" and cell["datapath_migrating"] == "vf")


def is_tracked(cell: Cell) -> bool:
    """Somebody sees, or assumes, what the device writes."""
    return bool(cell["dma_visible_by"] != "none")


def is_untracked(cell: Cell) -> bool:
    """A VF whose writes nobody sees: the bad baseline."""
    return keeps_the_vf(cell) and not is_tracked(cell) and not cell.trait("bounced", False)


def is_dummy_write(cell: Cell) -> bool:
    """The driver's own dummy writes, as they were proposed, are all that shows the device's writes.

    With a fence at the stop it is another proposal: that one undoes what the objections are about.
    """
    return (
        keeps_the_vf(cell)
        and cell["dma_visible_by"] == "guest-store"
        and not cell["guest_iommu"]
        and not cell.trait("fenced", False)
    )


def is_emulated_iommu(cell: Cell) -> bool:
    """The guest leaves for its maps and unmaps, and they are what tells the hypervisor of the device's writes."""
    return (
        keeps_the_vf(cell)
        and bool(cell["guest_iommu"])
        and cell["dma_visible_by"] == "iommu"
        # Records from before there was another way say nothing of it.
        and cell.trait("mappings_told_by", "exit") == "exit"
    )


def is_told_by_the_guest(cell: Cell) -> bool:
    """A kept VF whose writes show only if the guest does its part, so that the order of the stop matters to it."""
    return keeps_the_vf(cell) and all(way in GUESTS_OWN for way in str(cell["dma_visible_by"]).split("+"))


def is_copied_by_host(cell: Cell) -> bool:
    """vhost copies packets, before the migration and during it."""
    return bool(cell["datapath"] == "virtio" and cell["dma_visible_by"] == "host-copy")


def is_given_up(cell: Cell) -> bool:
    """The VF is given up for the time of the migration."""
    return bool(cell["datapath"] == "vf" and cell["datapath_migrating"] == "virtio")


def is_kept_and_tracked(cell: Cell) -> bool:
    """A VF that is kept up to the stop, and whose writes are seen somehow."""
    return keeps_the_vf(cell) and is_tracked(cell)


def is_plain_vf(cell: Cell) -> bool:
    """The VF with nothing between it and the guest's buffers, but perhaps a dummy write: the yardstick for speed."""
    plain = is_untracked(cell) or is_dummy_write(cell)
    return plain and not cell["guest_iommu"]
