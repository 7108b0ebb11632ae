"""From counters to the measures of a record, by the names of ``vfbench.records.schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfbench.latency import latency_percentiles_us

if TYPE_CHECKING:
    from vfbench.testbeds.intervals import Row
    from vfbench.testbeds.kvm.host.bench_records import Bench
    from vfbench.testbeds.kvm.host.timeline import Counters
    from vfbench.testbeds.kvm.migrate.migration import KvmMigration


def _gbps(begin: Counters, end: Counters) -> float | None:
    length_ps = end.time_ps - begin.time_ps
    return 8000 * (end.delivered_bytes - begin.delivered_bytes) / length_ps if length_ps else None


def speed(begin: Counters, end: Counters, migrated: Counters) -> Row:
    """Throughput before and during the migration, on the wall clock."""
    return {
        "gbps": _gbps(begin, end),
        "mpps": 1e6 * (end.delivered - begin.delivered) / (end.time_ps - begin.time_ps),
        "gbps_migrating": _gbps(end, migrated),
    }


def cycles(begin: Counters, end: Counters, guest_ticks: int | None) -> Row:
    """What the guest spent on a packet in the steady state; None where guest code is emulated.

    ``guest_ticks``: of the guest's time-stamp counter, counted by the guest itself. Its driver, the strategy's hooks
    and exits, and the application are in it; its sleep, its other work and the observer's two exits a packet are not.
    A host that takes the processor away meanwhile, or runs it faster than its counter, is in it too. The host's cycles
    are left out: the host thread is peer, wire and VF besides being vhost, and makes the bytes that vhost would copy.
    """
    packets = end.delivered - begin.delivered
    return {"guest_cycles_per_packet": guest_ticks / packets if guest_ticks is not None and packets else None}


def slowdown(begin: Counters, end: Counters) -> float:
    """Wall time over the wire's own in the steady state, as the clocks went."""
    wire_ps = end.wire_ps - begin.wire_ps
    return round((end.wall_ns - begin.wall_ns) * 1000 / wire_ps, 3) if wire_ps else 1.0


def latency(begin: Counters, end: Counters, times_slower: float) -> Row:
    """From the wire to the application in the steady state, on the wall clock.

    An arrival is when the frame's last bit was due on the wire, so a host thread that came late is part of it.
    """
    names = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
    percentiles = latency_percentiles_us(end.latency - begin.latency, (50, 99, 99.9))
    found = zip(names, percentiles, strict=True)
    return {name: None if value is None else value * times_slower for name, value in found}


def moving(bench: Bench, migration: KvmMigration) -> Row:
    """What the migration did and how long it took."""
    row: dict[str, Any] = {
        "sent_bytes": migration.sender.sent_bytes,
        "resent_bytes": migration.sender.resent_bytes,
        "mapped_unwritten_pages": migration.sender.mapped_unwritten_pages,
    }
    if migration.precopy is not None:
        rounds = migration.precopy.rounds
        row["rounds"] = len(rounds)
        row["converged"] = migration.precopy.converged
    if migration.resumed_ps is None:
        return row
    row["residual_pages"] = migration.residual_pages
    row["total_time_ms"] = (migration.resumed_ps - migration.started_ps) / 1e9
    row["downtime_ms"] = migration.downtime_ps / 1e9
    row.update({f"{part}_ms": ps / 1e9 for part, ps in migration.part_ps.items()})
    row["vcpu_pause_ms"] = None if migration.vcpu_pause_ps is None else migration.vcpu_pause_ps / 1e9
    slowdown = int(bench.records.wire.slowdown_1024) / 1024
    row["service_gap_ms"] = int(bench.records.port.longest_gap_ps) * slowdown / 1e9
    return row


def integrity(bench: Bench, migration: KvmMigration) -> Row:
    """What became of every packet, in both directions, and how the two memories differed at the stop."""
    port = bench.records.port
    row: dict[str, Any] = {
        "packets_offered": int(port.rx_offered),
        "packets_delivered": int(port.rx_delivered),
        "packets_corrupted": int(port.rx_corrupted),
        "packets_lost": int(port.rx_offered - port.rx_delivered - port.rx_corrupted),
        "input_frames": bench.experiment.workload.input_frames(bench.records.source),
        "packets_sent": int(port.tx_offered),
        "packets_sent_lost": int(port.tx_offered - port.tx_delivered - port.tx_corrupted),
        "packets_sent_corrupted": int(port.tx_corrupted),
        "packets_duplicated": int(port.rx_duplicated + port.tx_duplicated),
        "packets_phantom": int(port.rx_phantom),
        "dma_faults": int(port.dma_faults),
        "simulated_packets": int(port.rx_offered + port.tx_offered),
    }
    for reason in ("fifo", "blackout", "reset", "dma", "ring", "socket"):
        row[f"packets_lost_{reason}"] = int(port[f"lost_{reason}"])
    if migration.comparison is not None:
        row["stale_pages_payload"] = migration.comparison.stale_payload
        row["stale_pages_descriptor"] = migration.comparison.stale_descriptor
        row["stale_pages_other"] = migration.comparison.stale_other
        row["pages_compared"] = migration.comparison.compared
    return row
