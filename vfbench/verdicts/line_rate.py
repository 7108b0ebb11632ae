"""Whether packets get through at line rate."""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell

LINE_SHARE = 0.99
"""Reached means 99 % of the link's rate, frames counted with their 20 bytes on the wire."""
SENT = "tx_gbps"


def is_offered(cell: Cell) -> bool:
    """Whether the peer offers as much as the link carries."""
    return cell.shared.get("workload.rate_bps") == cell["link.rate_bps"]


def is_reached(cell: Cell) -> bool:
    """Whether the guest's application gets it in the steady state, and the peer what the guest is to send of it."""
    rate = LINE_SHARE * float(cell["link.rate_bps"])
    if cell.median("gbps") * 1e9 < rate:
        return False
    sends = float(cell.shared.get("workload.send_ratio") or 0)
    return not sends or not len(cell.values(SENT)) or cell.median(SENT) * 1e9 >= sends * rate
