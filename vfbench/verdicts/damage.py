"""Damage of a cell: `vfbench.records.damage` says what it is."""

from __future__ import annotations

from vfbench.records.damage import DAMAGED, Damage, damage_in
from vfbench.verdicts.evidence import Cell
from vfbench.verdicts.finding import Measures


def damage_of_cell(cell: Cell) -> Damage:
    """Over its repeats."""
    return damage_in(cell.runs)


def is_damaged(cell: Cell) -> bool:
    """Whether any repeat had any of it."""
    return damage_of_cell(cell).verdict == DAMAGED


def was_compared(cell: Cell) -> bool:
    """Whether all its migrations completed, and the two memories were compared."""
    return cell.has_migrated and cell.largest("pages_compared") > 0


def damage_per_migration(cell: Cell) -> Measures:
    """The worst of the repeats, payload and descriptors apart; a median would hide one damaged run of many."""
    return {
        ("stale packet pages at worst", ""): cell.largest("stale_pages_payload"),
        ("stale ring pages at worst", ""): cell.largest("stale_pages_descriptor"),
        ("corrupted packets at worst", ""): cell.largest("packets_corrupted"),
    }
