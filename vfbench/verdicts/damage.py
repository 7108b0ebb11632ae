"""What went wrong in a migration: pages that arrived stale, and packets whose content was never sent."""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell
from vfbench.verdicts.finding import Measures

STALE = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")
CORRUPTED = ("packets_corrupted", "packets_phantom", "packets_sent_corrupted")


def is_damaged(cell: Cell) -> bool:
    """Whether any repeat had any of it."""
    return any(cell.largest(measure) > 0 for measure in (*STALE, *CORRUPTED))


def was_compared(cell: Cell) -> bool:
    """Whether its migrations got as far as the comparison of the two memories."""
    return cell.largest("pages_compared") > 0


def damage_per_migration(cell: Cell) -> Measures:
    """The medians over the repeats, payload and descriptors apart."""
    return {
        ("stale packet pages", ""): cell.median("stale_pages_payload"),
        ("stale ring pages", ""): cell.median("stale_pages_descriptor"),
        ("corrupted packets", ""): cell.median("packets_corrupted"),
    }
