"""From the rounds of a pre-copy to the rows of ``vfbench.records.schema.ROUNDS``, the same on every testbed."""

from __future__ import annotations

from typing import Any

from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.precopy import Precopy, expected_downtime_ms

Row = dict[str, Any]


def round_rows(precopy: Precopy | None, started_ps: int) -> list[Row]:
    """A row for each round that ended in a sync; times from ``started_ps``, the start of the migration."""
    if precopy is None:
        return []
    rows = []
    for number, each in enumerate(precopy.rounds):
        if each.sync is None:
            continue
        rows.append(
            {
                "round": number,
                "start_ms": (each.start_ps - started_ps) / 1e9,
                "duration_ms": (each.end_ps - each.start_ps) / 1e9,
                "sync_ms": each.sync.took_ps / 1e9,
                "sent_pages": each.sent_pages,
                "sent_bytes": each.sent_bytes,
                "resent_bytes": each.resent_bytes,
                "zero_pages": each.sync.zero_pages,
                "dirty_pages": each.sync.dirty_pages,
                "dirty_pages_cpu": each.sync.dirty_pages_cpu,
                "dirty_pages_dma": each.sync.dirty_pages_dma,
                "mapped_unwritten_pages": each.sync.mapped_unwritten_pages,
                "held_back_pages": each.sync.held_back_pages,
                "pending_bytes": each.pending_bytes,
                "threshold_bytes": each.threshold_bytes,
                "bandwidth_bps": each.bandwidth_bps,
                "throttle_percent": each.throttle_percent,
                "expected_downtime_ms": _expected_downtime_ms(each.sync.dirty_pages, each.bandwidth_bps),
            }
        )
    return rows


def _expected_downtime_ms(dirty_pages: int, bandwidth_bps: float | None) -> float | None:
    """Bytes dirtied since the last sync over the bandwidth, as QEMU reports it."""
    return expected_downtime_ms(dirty_pages * PAGE_BYTES, bandwidth_bps) if bandwidth_bps else None
