"""What the queue pairs of every testbed count, and the row of an interval between two instants."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Row = dict[str, Any]

LOSSES = (
    "lost_fifo",
    "lost_descriptor",
    "lost_blackout",
    "lost_reset",
    "lost_dma",
    "lost_ring",
    "lost_socket",
)
"""A queue pair's counters of packets that never arrived, by reason."""


def total(pairs: Any, name: str) -> int:
    """A counter's sum over one queue pair or several."""
    return int(np.sum(pairs["oracle"][name]))


class PortCounters:
    """The queue pairs' counters at one instant; the difference of two is what happened between them."""

    def __init__(self, pairs: Any, time_ps: int) -> None:
        self.time_ps = time_ps
        self.offered = total(pairs, "rx_offered")
        self.delivered = total(pairs, "rx_delivered")
        self.delivered_bytes = total(pairs, "rx_delivered_bytes")
        self.corrupted = total(pairs, "rx_corrupted")
        self.lost = sum(total(pairs, name) for name in LOSSES)
        self.sent_bytes = total(pairs, "tx_delivered_bytes")
        self.latency: npt.NDArray[np.int64] = np.sum(np.atleast_2d(pairs["oracle"]["latency"]), axis=0)


def gbps(begin: PortCounters, end: PortCounters) -> float | None:
    """Delivered to the guest between the two, counting frame + 20 bytes; None where no time passed."""
    length_ps = end.time_ps - begin.time_ps
    return 8000 * (end.delivered_bytes - begin.delivered_bytes) / length_ps if length_ps else None


def tx_gbps(begin: PortCounters, end: PortCounters) -> float | None:
    """Delivered to the peer, whole, between the two."""
    length_ps = end.time_ps - begin.time_ps
    return 8000 * (end.sent_bytes - begin.sent_bytes) / length_ps if length_ps else None


def interval_row(number: int, phase: str, zero_ps: int, before: PortCounters, now: PortCounters) -> Row:
    """The row of an interval that lies in one ``phase``; times from ``zero_ps``, rates by its own length."""
    length_ps = now.time_ps - before.time_ps
    return {
        "interval": number,
        "start_ms": (before.time_ps - zero_ps) / 1e9,
        "length_ms": length_ps / 1e9,
        "phase": phase,
        "packets_offered": now.offered - before.offered,
        "packets_delivered": now.delivered - before.delivered,
        "packets_lost": now.lost - before.lost,
        "packets_corrupted": now.corrupted - before.corrupted,
        "gbps": gbps(before, now),
        "tx_gbps": tx_gbps(before, now),
        "mpps": 1e6 * (now.delivered - before.delivered) / length_ps,
    }
