"""From counters and a migration to the measures of a record, the same on every testbed.

The names are those of ``vfbench.records.schema``. What only one testbed can know (cycles, exits, a slowed wire) it adds
itself.
"""

from __future__ import annotations

from typing import Any, Protocol

from vfbench.migration.comparison import Comparison
from vfbench.migration.precopy import Precopy
from vfbench.testbeds.binding import Sources, reported
from vfbench.testbeds.counting import LOSSES, PortCounters, Row, gbps, total, tx_gbps


class Moved(Protocol):
    """What a testbed's migration knows when it is over."""

    precopy: Precopy | None
    comparison: Comparison | None
    residual_pages: int | None
    started_ps: int
    resumed_ps: int | None
    vcpu_pause_ps: int | None
    part_ps: dict[str, int]

    @property
    def sender(self) -> Any:
        """What sent the pages, and counted them."""

    @property
    def sources(self) -> Sources:
        """The strategy's mechanisms as the source's host sees them."""

    @property
    def downtime_ps(self) -> int:
        """The parts together."""


def throughput(begin: PortCounters, end: PortCounters, migrated: PortCounters) -> Row:
    """Delivered in both directions: in the steady state, and while the migration was under way."""
    return {
        "gbps": gbps(begin, end),
        "mpps": 1e6 * (end.delivered - begin.delivered) / (end.time_ps - begin.time_ps),
        "tx_gbps": tx_gbps(begin, end),
        "gbps_migrating": gbps(end, migrated),
        "tx_gbps_migrating": tx_gbps(end, migrated),
    }


def moving(migration: Moved, longest_gap_ps: float) -> Row:
    """What the migration did and how long it took."""
    sender = migration.sender
    row: Row = {
        "sent_bytes": sender.sent_bytes,
        "resent_bytes": sender.resent_bytes,
        "zero_pages": sender.zero_pages,
        "mapped_unwritten_pages": sender.mapped_unwritten_pages,
        "reports": reported(migration.sources),
    }
    if migration.precopy is not None:
        row["rounds"] = len(migration.precopy.rounds)
        row["converged"] = migration.precopy.converged
    if migration.resumed_ps is None:
        return row
    row["residual_pages"] = migration.residual_pages
    row["total_time_ms"] = (migration.resumed_ps - migration.started_ps) / 1e9
    row["downtime_ms"] = migration.downtime_ps / 1e9
    row.update({f"{part}_ms": ps / 1e9 for part, ps in migration.part_ps.items()})
    row["vcpu_pause_ms"] = None if migration.vcpu_pause_ps is None else migration.vcpu_pause_ps / 1e9
    row["service_gap_ms"] = longest_gap_ps / 1e9
    return row


def integrity(pairs: Any, migration: Moved) -> Row:
    """What became of every packet, in both directions, and how the two memories differed at the stop.

    What the guest wanted to send is what it sent and what was refused: `packets_sent` + `packets_refused`.
    """
    offered, delivered, corrupted = (
        total(pairs, f"rx_{name}") for name in ("offered", "delivered", "corrupted")
    )
    sent, at_peer, sent_corrupted = (
        total(pairs, f"tx_{name}") for name in ("offered", "delivered", "corrupted")
    )
    row: Row = {
        "packets_offered": offered,
        "packets_delivered": delivered,
        "packets_corrupted": corrupted,
        "packets_lost": offered - delivered - corrupted,
        "packets_sent": sent,
        "packets_refused": total(pairs, "tx_refused"),
        "packets_sent_lost": sent - at_peer - sent_corrupted,
        "packets_sent_corrupted": sent_corrupted,
        "packets_duplicated": total(pairs, "rx_duplicated") + total(pairs, "tx_duplicated"),
        "packets_phantom": total(pairs, "rx_phantom"),
        "dma_faults": total(pairs, "dma_faults"),
        "simulated_packets": offered + sent,
        **{f"packets_{reason}": total(pairs, reason) for reason in LOSSES},
    }
    if migration.comparison is not None:
        row["stale_pages_payload"] = migration.comparison.stale_payload
        row["stale_pages_descriptor"] = migration.comparison.stale_descriptor
        row["stale_pages_other"] = migration.comparison.stale_other
        row["pages_compared"] = migration.comparison.compared
    return row
