"""From counters to the measures of a record, by the names of ``vfbench.records.schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfbench.latency import latency_percentiles_us

if TYPE_CHECKING:
    from vfbench.testbeds.intervals import Row
    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.migration import ModelMigration
    from vfbench.testbeds.model.timeline import Counters, Timeline

BOUNDS = "steady begins, steady ends, migration ends, run ends"


def _gbps(begin: Counters, end: Counters) -> float | None:
    length_ps = end.time_ps - begin.time_ps
    return 8000 * (end.delivered_bytes - begin.delivered_bytes) / length_ps if length_ps else None


def _cycles_per_packet(machine: Machine, begin: Counters, end: Counters) -> tuple[float | None, float | None]:
    """Guest and host cycles for each packet delivered; None when there was none."""
    packets = end.delivered - begin.delivered
    if packets == 0:
        return None, None
    ghz = machine.profile.value("cpu_frequency")
    guest, host = end.guest_ps - begin.guest_ps, end.host_ps - begin.host_ps
    return guest * ghz / 1000 / packets, host * ghz / 1000 / packets


def speed(machine: Machine, counters: tuple[Counters, ...]) -> Row:
    """Throughput, latency and cycles, before, during and after the migration."""
    begin, end, migrated, after = counters
    length_ps = end.time_ps - begin.time_ps
    row: dict[str, Any] = {
        "gbps": _gbps(begin, end),
        "mpps": 1e6 * (end.delivered - begin.delivered) / length_ps,
        "gbps_migrating": _gbps(end, migrated),
    }
    names = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
    row.update(zip(names, latency_percentiles_us(end.latency - begin.latency, (50, 99, 99.9)), strict=True))
    for suffix, (first, last) in {
        "": (begin, end),
        "_migrating": (end, migrated),
        "_after": (migrated, after),
    }.items():
        guest, host = _cycles_per_packet(machine, first, last)
        row[f"guest_cycles_per_packet{suffix}"] = guest
        row[f"host_cycles_per_packet{suffix}"] = host
    return row


def events(begin: Counters, end: Counters) -> Row:
    """How often the guest left to the hypervisor, invalidated, was interrupted and kicked, in the steady state."""
    return {
        column: end.cpu_events[event] - begin.cpu_events[event]
        for event, column in {
            "maps": "iommu_maps",
            "unmaps": "iommu_unmaps",
            "exits": "iommu_exits",
            "invalidations": "iommu_invalidations",
            "interrupts": "interrupts",
            "kicks": "kicks",
        }.items()
    }


def churn(timeline: Timeline) -> Row:
    """Unique pages written per interval of the steady state, over the intervals' length."""
    steady = [row for row in timeline.rows if row["phase"] == "steady"]
    seconds = sum(row["length_ms"] for row in steady) / 1000
    if seconds == 0:
        return {}
    return {
        f"dirty_pages_per_s{suffix}": sum(row[f"dirty_pages{suffix}"] for row in steady) / seconds
        for suffix in ("", "_cpu", "_dma")
    }


def moving(machine: Machine, migration: ModelMigration) -> Row:
    """What the migration did and how long it took."""
    row: dict[str, Any] = {
        "sent_bytes": migration.sender.sent_bytes,
        "resent_bytes": migration.sender.resent_bytes,
        "mapped_unwritten_pages": migration.sender.mapped_unwritten_pages,
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
    row["service_gap_ms"] = min(int(port.longest_gap_ps) for port in machine.ports) / 1e9
    return row


def integrity(machine: Machine, migration: ModelMigration) -> Row:
    """What became of every packet, in both directions, and how the two memories differed at the stop."""
    ports = machine.ports
    sent_lost = ports.tx_offered - ports.tx_delivered - ports.tx_corrupted
    received = {
        "packets_offered": ports.rx_offered,
        "packets_delivered": ports.rx_delivered,
        "packets_corrupted": ports.rx_corrupted,
        "packets_lost": ports.rx_offered - ports.rx_delivered - ports.rx_corrupted,
    }
    row: dict[str, Any] = {name: int(values.sum()) for name, values in received.items()}
    row["input_frames"] = machine.experiment.workload.input_frames(machine.source)
    row["packets_sent"] = int(ports.tx_offered.sum())
    row["packets_sent_lost"] = int(sent_lost.sum())
    row["packets_sent_corrupted"] = int(ports.tx_corrupted.sum())
    row["packets_duplicated"] = int(ports.rx_duplicated.sum() + ports.tx_duplicated.sum())
    row["packets_phantom"] = int(ports.rx_phantom.sum())
    for reason in ("fifo", "blackout", "reset", "dma", "ring", "socket"):
        row[f"packets_lost_{reason}"] = int(ports[f"lost_{reason}"].sum())
    row["dma_faults"] = int(ports.dma_faults.sum())
    row["simulated_packets"] = int(ports.rx_offered.sum() + ports.tx_offered.sum())
    if migration.comparison is not None:
        row["stale_pages_payload"] = migration.comparison.stale_payload
        row["stale_pages_descriptor"] = migration.comparison.stale_descriptor
        row["stale_pages_other"] = migration.comparison.stale_other
        row["pages_compared"] = migration.comparison.compared
    return row


def measures(
    machine: Machine, migration: ModelMigration, timeline: Timeline, counters: tuple[Counters, ...]
) -> Row:
    """The row of ``runs``. ``counters``: steady begins, steady ends, migration ends, run ends."""
    return {
        **speed(machine, counters),
        **events(*counters[:2]),
        **churn(timeline),
        **moving(machine, migration),
        **integrity(machine, migration),
    }


def interval_rows(timeline: Timeline) -> list[Row]:
    """A row for each interval of the run."""
    return timeline.rows
