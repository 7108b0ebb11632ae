"""From counters to the measures of a record, by the names of ``vfbench.records.schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.latency import latency_percentiles_us
from vfbench.testbeds.outcome import integrity, moving, throughput

if TYPE_CHECKING:
    from vfbench.testbeds.counting import Row
    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.migration import ModelMigration
    from vfbench.testbeds.model.timeline import Counters, Timeline

BOUNDS = "steady begins, steady ends, migration ends, run ends"


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
    row: Row = throughput(begin, end, migrated)
    names = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
    row.update(zip(names, latency_percentiles_us(end.latency - begin.latency, (50, 99, 99.9)), strict=True))
    migrating = ("latency_migrating_p50_us", "latency_migrating_p99_us")
    row.update(zip(migrating, latency_percentiles_us(migrated.latency - end.latency, (50, 99)), strict=True))
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


def measures(
    machine: Machine, migration: ModelMigration, timeline: Timeline, counters: tuple[Counters, ...]
) -> Row:
    """The row of ``runs``. ``counters``: steady begins, steady ends, migration ends, run ends."""
    moved = moving(migration, min(int(pair.oracle.longest_gap_ps) for pair in machine.pairs))
    if migration.ended_ps is not None:
        moved["total_time_ms"] = (migration.ended_ps - migration.started_ps) / 1e9
    return {
        **speed(machine, counters),
        **events(*counters[:2]),
        **churn(timeline),
        **moved,
        **integrity(machine.pairs, migration),
        "input_frames": machine.experiment.workload.input_frames(machine.source),
    }


def interval_rows(timeline: Timeline) -> list[Row]:
    """A row for each interval of the run."""
    return timeline.rows
