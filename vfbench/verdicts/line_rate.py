"""Whether packets get through at line rate."""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell

LINE_SHARE = 0.99
"""Reached means 99 % of the link's rate, frames counted with their 20 bytes on the wire."""


def is_offered(cell: Cell) -> bool:
    """Whether the peer offers as much as the link carries."""
    return cell.shared.get("workload.rate_bps") == cell["link.rate_bps"]


def is_reached(cell: Cell) -> bool:
    """Whether the guest's application gets it, in the steady state."""
    return cell.median("gbps") * 1e9 >= LINE_SHARE * float(cell["link.rate_bps"])
