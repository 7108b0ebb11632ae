"""From the counters at an interval's two ends to its row, by the columns of ``vfbench.records.schema.INTERVALS``."""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]

LOSSES = ("lost_fifo", "lost_blackout", "lost_reset", "lost_dma", "lost_ring", "lost_socket")
"""A port's counters of packets that never arrived, by reason."""


class Counts(Protocol):
    """What both testbeds count, at one instant."""

    time_ps: int
    offered: int
    delivered: int
    delivered_bytes: int
    lost: int
    corrupted: int


def interval_row(number: int, phase: str, zero_ps: int, before: Counts, now: Counts) -> Row:
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
        "gbps": 8000 * (now.delivered_bytes - before.delivered_bytes) / length_ps,
        "mpps": 1e6 * (now.delivered - before.delivered) / length_ps,
    }
