"""From QEMU's account, the server's counters and the guest's verdict to the measures of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vfbench.testbeds.counting import Row
    from vfbench.testbeds.qemu.migration import QemuMigration
    from vfbench.testbeds.qemu.verdict import GuestVerdict

PAGE_SHIFT = 12
Counts = dict[str, int]
DOWNTIME_PARTS = ("quiesce", "final_sync", "final_copy", "state_transfer", "restore", "announce")


def steady(begin: Counts, end: Counts) -> Row:
    """What was counted in the steady state."""
    seconds = (end["now_ps"] - begin["now_ps"]) / 1e12
    packets = end["landed"] - begin["landed"]
    return {
        "mpps": packets / seconds / 1e6,
        "iommu_maps": _both(begin, end, "maps"),
        "iommu_unmaps": _both(begin, end, "unmaps"),
        "interrupts": _both(begin, end, "interrupts"),
        "kicks": _both(begin, end, "doorbells"),
    }


def interval(number: int, phase: str, marks: list[Counts], now: Counts) -> Row:
    """The row of a whole phase, from the last of ``marks`` to now; delivered is what reached the guest's memory."""
    before = marks[-1]
    length_ps = now["now_ps"] - before["now_ps"]
    losses = ("lost_fifo", "lost_descriptor", "lost_blackout", "lost_reset", "lost_dma")
    return {
        "interval": number,
        "start_ms": (before["now_ps"] - marks[0]["now_ps"]) / 1e9,
        "length_ms": length_ps / 1e9,
        "phase": phase,
        "packets_offered": now["rx_offered"] - before["rx_offered"],
        "packets_delivered": now["landed"] - before["landed"],
        "packets_lost": sum(now[name] - before[name] for name in losses),
        "mpps": 1e6 * (now["landed"] - before["landed"]) / length_ps if length_ps else None,
        "dirty_pages_dma": now["written_pages"],
    }


def _both(begin: Counts, end: Counts, name: str) -> int:
    return sum(end[f"{place}_{name}"] - begin[f"{place}_{name}"] for place in ("source", "target"))


def moving(migration: QemuMigration) -> Row:
    """QEMU's account, and how long each step took."""
    ram = migration.final.get("ram", {})
    row: dict[str, Any] = {
        "rounds": migration.rounds.count,
        "sent_bytes": ram.get("transferred"),
        "resent_bytes": sum(each["resent_bytes"] for each in migration.rounds.rows()),
        "converged": migration.resumed_s > 0,
    }
    if migration.resumed_s:
        row["total_time_ms"] = 1000 * (migration.resumed_s - migration.started_s)
        row["downtime_ms"] = 1000 * (migration.resumed_s - migration.stopped_s)
        row["vcpu_pause_ms"] = 1000 * (migration.resumed_s - migration.paused_s)
        row.update({f"{part}_ms": 1000 * migration.parts_s.get(part, 0.0) for part in DOWNTIME_PARTS})
    return row


def integrity(counts: Counts, landed: npt.NDArray[np.int64], verdict: GuestVerdict) -> Row:
    """Every frame in one class: delivered whole, stale, dropped by the guest, or lost on its way, by reason."""
    offered = len(landed)
    good = int(np.count_nonzero(verdict.good))
    in_memory = int(np.count_nonzero(landed >= 0))
    stale = min(verdict.stale_packets, in_memory - good)
    dropped = min(verdict.dropped, in_memory - good - stale)
    not_processed = in_memory - good - stale - dropped
    answers_lost = max(0, verdict.answered - counts["tx_delivered"] - counts["tx_corrupted"])
    return {
        "packets_offered": offered,
        "packets_delivered": good,
        "packets_corrupted": stale,
        "packets_duplicated": verdict.stale_packets - stale + counts["tx_duplicated"],
        "packets_lost": offered - good - stale,
        "packets_lost_fifo": counts["lost_fifo"],
        "packets_lost_descriptor": counts["lost_descriptor"],
        "packets_lost_blackout": counts["lost_blackout"],
        "packets_lost_reset": counts["lost_reset"],
        "packets_lost_dma": counts["lost_dma"],
        "packets_lost_ring": not_processed,
        "packets_lost_socket": dropped,
        "packets_sent": verdict.answered,
        "packets_sent_lost": answers_lost,
        "packets_sent_corrupted": counts["tx_corrupted"],
        "dma_faults": counts["dma_faults"],
        "simulated_packets": offered + verdict.answered,
    }


def memories(comparison: dict[str, Any] | None, rings: list[int]) -> Row:
    """How the two memories differed at the stop, by what the pages were: a ring's, a packet's (the guest has it, or is
    done with it and the page is posted or free), or another of the kernel's.
    """
    if comparison is None:
        return {}
    differs = set(comparison["differs"].tolist())
    ring = differs & set(rings)
    payload = (differs - ring) & set(comparison["device_wrote"].tolist())
    held = payload & set(comparison["held"].tolist())
    return {
        "stale_pages_payload": len(payload),
        "stale_pages_held": len(held),
        "stale_pages_free": len(payload) - len(held),
        "stale_pages_descriptor": len(ring),
        "stale_pages_other": len(differs) - len(ring) - len(payload),
        "pages_compared": comparison["compared"],
    }
