"""The columns of a record: names with units, types, and what each one means.

A missing value is null, never 0. Rates in Gb/s count frame + 20 bytes on the wire; frame sizes include the
FCS (RFC 2544). `SCHEMA_VERSION` rises when a column changes its meaning or goes away; readers refuse newer.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass

SCHEMA_VERSION = 1

Cell = int | float | bool | str | None


@dataclass(frozen=True)
class Column:
    """A column; `type` is the name of an Arrow type: int64, float64, bool or string."""

    name: str
    type: str
    unit: str
    meaning: str

    def checked(self, value: object) -> Cell:
        """`value` as the column's type, NaN as None; ValueError for any other type or an infinity."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        try:
            match self.type:
                case "int64" if not _is_bool(value):
                    return operator.index(value)  # type: ignore[arg-type]
                case "float64" if not _is_bool(value) and math.isfinite(value):  # type: ignore[arg-type]
                    return float(value)  # type: ignore[arg-type]
                case "bool" if _is_bool(value):
                    return bool(value)
                case "string" if isinstance(value, str):
                    return value
        except (TypeError, OverflowError):
            pass
        raise ValueError(f"column {self.name} takes {self.type}, not {value!r}")


def _is_bool(value: object) -> bool:
    # numpy's bool is no subclass of Python's, and numpy is not imported here for its sake.
    return isinstance(value, bool) or type(value).__name__ == "bool"


def checked_row(row: Mapping[str, object], columns: tuple[Column, ...]) -> dict[str, Cell]:
    """Every column in its order, None where `row` has none; ValueError for a name that is no column."""
    known = {column.name for column in columns}
    strange = [name for name in row if name not in known]
    if strange:
        raise ValueError(f"the schema has no column {', '.join(strange)}; it has: {', '.join(sorted(known))}")
    return {column.name: column.checked(row.get(column.name)) for column in columns}


def _columns(*rows: tuple[str, str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


IDENTITY = _columns(
    ("strategy", "string", "", "name of the strategy"),
    ("workload", "string", "", "name of the workload"),
    ("testbed", "string", "", "where it ran: model (virtual time) or kvm (a real VM); never pooled"),
    ("profile", "string", "", "name of the profile that the costs came from"),
    ("profile_digest", "string", "", "digest of the profile's figures"),
    ("experiment", "string", "", "digest of the experiment, seed included"),
    ("seed", "int64", "", "seed of every random number of the run"),
    ("state", "string", "", "ok, not-converged, failed, timed-out or skipped"),
    ("reason", "string", "", "why the state is not ok"),
)

TRAITS = _columns(
    ("datapath", "string", "", "way of the packets before the migration: vf or virtio"),
    ("datapath_migrating", "string", "", "way of the packets while memory is copied: vf or virtio"),
    (
        "dma_visible_by",
        "string",
        "",
        "how the hypervisor learns what the device wrote: none, guest-store, iommu, host-copy, … (docs/verdicts.md)",
    ),
    ("guest_iommu", "bool", "", "whether the device's addresses go through an IOMMU that the guest sees"),
    ("mapping", "string", "", "how long that IOMMU maps a page: strict, deferred, static; none without one"),
    ("exit_class", "string", "", "who handles its calls: user-space, kernel, other-core or none"),
    ("entries_per_call", "int64", "", "maps and unmaps handed over with one exit (0: there are none)"),
    (
        "tracks_always",
        "bool",
        "",
        "whether the hypervisor is notified of mappings from the start, not only during a migration",
    ),
    ("skip_mapped", "bool", "", "whether a page mapped for the device is sent only once it is unmapped"),
    ("stop_order", "string", "", "what stops first: device-first, guest-first or device-last"),
    ("faults", "string", "", "numbers of the faults that were switched on, separated by spaces"),
    ("hypothetical", "string", "", "capabilities that the machine of the profile lacks and the run assumes"),
    (
        "traits",
        "string",
        "JSON",
        "everything that the strategy and its mechanisms say of themselves, by word",
    ),
)
"""What a strategy says of itself (`vfbench.strategy.recorded_traits`): verdicts ask for these, never for a name.

The vocabulary is open: `traits` holds every word, those that no column has included."""

ABSENT_TRAITS: dict[str, Cell] = {
    "dma_visible_by": "none",
    "guest_iommu": False,
    "mapping": "none",
    "exit_class": "none",
    "entries_per_call": 0,
    "tracks_always": False,
    "skip_mapped": False,
    "stop_order": "device-first",
}
"""What a column holds for a strategy that says nothing of it."""

SPEED = _columns(
    ("gbps", "float64", "Gb/s", "delivered to the guest's application in the steady state"),
    ("mpps", "float64", "Mpackets/s", "the same in packets"),
    ("gbps_migrating", "float64", "Gb/s", "delivered while the migration is under way, blackout included"),
    ("tx_gbps", "float64", "Gb/s", "frames of the guest's that reached the peer whole in the steady state"),
    ("tx_gbps_migrating", "float64", "Gb/s", "the same while the migration is under way, blackout included"),
    ("guest_cycles_per_packet", "float64", "cycles", "vCPU time spent per packet in the steady state"),
    ("host_cycles_per_packet", "float64", "cycles", "host CPU time spent per packet in the steady state"),
    ("guest_cycles_per_packet_migrating", "float64", "cycles", "vCPU time per packet during the migration"),
    (
        "host_cycles_per_packet_migrating",
        "float64",
        "cycles",
        "host CPU time per packet during the migration",
    ),
    ("guest_cycles_per_packet_after", "float64", "cycles", "vCPU time per packet at the destination"),
    ("host_cycles_per_packet_after", "float64", "cycles", "host CPU time per packet at the destination"),
    ("latency_p50_us", "float64", "us", "median time from the wire to the application, steady state"),
    ("latency_p99_us", "float64", "us", "99th percentile of the same"),
    ("latency_p999_us", "float64", "us", "99.9th percentile of the same"),
    ("latency_migrating_p50_us", "float64", "us", "median of the same while the migration is under way"),
    ("latency_migrating_p99_us", "float64", "us", "99th percentile of the same"),
    ("iommu_maps", "int64", "", "maps that the hypervisor was notified of in the steady state"),
    ("iommu_unmaps", "int64", "", "unmaps that the hypervisor was notified of in the steady state"),
    ("iommu_exits", "int64", "", "exits for either in the steady state"),
    ("iommu_invalidations", "int64", "", "IOTLB invalidations in the steady state"),
    ("interrupts", "int64", "", "device interrupts that the guest took in the steady state"),
    ("kicks", "int64", "", "notifications of vhost by the guest in the steady state"),
)

MIGRATION = _columns(
    ("dirty_pages_per_s", "float64", "pages/s", "unique pages found dirty per sync interval over its length"),
    ("dirty_pages_per_s_cpu", "float64", "pages/s", "of those, pages made dirty by the CPU's stores"),
    ("dirty_pages_per_s_dma", "float64", "pages/s", "of those, pages marked for the device's writes"),
    ("mapped_unwritten_pages", "int64", "pages", "pages marked as mapped for the device but never written"),
    ("rounds", "int64", "", "dirty-log syncs of the pre-copy, the first full pass included"),
    ("converged", "bool", "", "whether the switchover rule was met within the rounds allowed"),
    ("sent_bytes", "int64", "bytes", "bytes that the migration sent in all, final copy included"),
    ("resent_bytes", "int64", "bytes", "of those, bytes of pages that had been sent before"),
    ("zero_pages", "int64", "pages", "pages of zeros that went as headers; null where none is looked for"),
    ("residual_pages", "int64", "pages", "pages that the strategy left for the stop-and-copy"),
    ("total_time_ms", "float64", "ms", "from the start of the migration to the guest running again"),
    ("downtime_ms", "float64", "ms", "from the first thing that stops to the guest running again"),
    ("quiesce_ms", "float64", "ms", "part of the downtime: stopping the device and the guest"),
    (
        "emulator_ms",
        "float64",
        "ms",
        "part of the downtime: the emulator's and the host's own work around the stop",
    ),
    ("final_sync_ms", "float64", "ms", "part of the downtime: the last sync of the dirty log"),
    ("final_copy_ms", "float64", "ms", "part of the downtime: sending what was still dirty"),
    ("state_transfer_ms", "float64", "ms", "part of the downtime: saving and sending the device's state"),
    (
        "remap_ms",
        "float64",
        "ms",
        "part of the downtime: maps behind a guest's IOMMU, made anew at the destination",
    ),
    ("restore_ms", "float64", "ms", "part of the downtime: loading the device's state and its rings"),
    ("announce_ms", "float64", "ms", "part of the downtime: until the network knows the new place"),
    ("vcpu_pause_ms", "float64", "ms", "time for which no vCPU ran"),
    ("service_gap_ms", "float64", "ms", "longest gap in the packets that the peer sees"),
    (
        "pause_gap_ms",
        "float64",
        "ms",
        "such a gap where the guest is only paused, for as long as its downtime was: what emulation adds to any pause",
    ),
)

INTEGRITY = _columns(
    ("packets_offered", "int64", "packets", "packets that the peer sent over the whole run"),
    ("input_frames", "int64", "packets", "frames in one pass of the workload's input file"),
    ("packets_delivered", "int64", "packets", "of those, delivered once and as they were sent"),
    ("packets_lost", "int64", "packets", "of those, never delivered"),
    ("packets_lost_fifo", "int64", "packets", "of those, no room in the device's FIFO or in front of vhost"),
    ("packets_lost_descriptor", "int64", "packets", "of those, the driver had given the VF no descriptor"),
    ("packets_lost_blackout", "int64", "packets", "of those, arrived where no device was taking packets"),
    ("packets_lost_reset", "int64", "packets", "of those, inside a device when it was stopped"),
    ("packets_lost_dma", "int64", "packets", "of those, the device could not write them to memory"),
    ("packets_lost_ring", "int64", "packets", "of those, written to memory and never seen by the driver"),
    ("packets_lost_socket", "int64", "packets", "of those, no room in the application's socket"),
    ("packets_sent", "int64", "packets", "frames that the guest sent"),
    (
        "packets_refused",
        "int64",
        "packets",
        "frames that the guest wanted to send and its stack had no room for",
    ),
    ("packets_sent_lost", "int64", "packets", "of those, never at the peer"),
    ("packets_sent_corrupted", "int64", "packets", "of those, at the peer with other content"),
    ("packets_duplicated", "int64", "packets", "deliveries of a packet that had been delivered before"),
    ("packets_corrupted", "int64", "packets", "delivered with content never sent for that descriptor"),
    ("packets_phantom", "int64", "packets", "deliveries from a descriptor that no packet was written for"),
    ("dma_faults", "int64", "", "device accesses refused because the address was not mapped"),
    ("stale_pages_payload", "int64", "pages", "packet pages that differ at the destination at the stop"),
    (
        "stale_pages_held",
        "int64",
        "pages",
        "of the packet pages, those with a packet that the guest still had, or had not taken yet",
    ),
    (
        "stale_pages_free",
        "int64",
        "pages",
        "of the packet pages, those without: posted to the device, or free",
    ),
    ("stale_pages_descriptor", "int64", "pages", "ring pages that differ at the destination at the stop"),
    ("stale_pages_other", "int64", "pages", "any other pages that differ at the destination at the stop"),
    ("pages_compared", "int64", "pages", "pages compared between source and destination at the stop"),
    (
        "functional",
        "bool",
        "",
        "guest code was emulated or ran in lockstep: pages, rounds and packets count, times and throughputs do not",
    ),
    ("slowdown", "float64", "ratio", "wall time over the time on the wire (1: the wire was not slowed down)"),
    ("simulated_packets", "int64", "packets", "packets that the testbed worked on, warm-up included"),
)

REPORTS = _columns(
    (
        "reports",
        "string",
        "JSON",
        "figures of the strategy's mechanisms' own, by mechanism.figure; often none",
    ),
)

MEASURES = (*SPEED, *MIGRATION, *INTEGRITY, *REPORTS)
RUNS = (*IDENTITY, *TRAITS, *MEASURES)

ROUNDS = _columns(
    ("round", "int64", "", "0 is the first pass over all memory"),
    ("start_ms", "float64", "ms", "start of the round, from the start of the migration"),
    ("duration_ms", "float64", "ms", "length of the round, its sync included"),
    ("sync_ms", "float64", "ms", "of which the sync of the dirty log"),
    ("sent_pages", "int64", "pages", "pages sent in the round"),
    ("sent_bytes", "int64", "bytes", "bytes sent in the round"),
    ("resent_bytes", "int64", "bytes", "of those, bytes of pages that had been sent before"),
    ("zero_pages", "int64", "pages", "of the pages sent, those of zeros that went as headers"),
    ("dirty_pages", "int64", "pages", "unique pages that the sync at the round's end found dirty"),
    ("dirty_pages_cpu", "int64", "pages", "of those, pages made dirty by the CPU's stores"),
    ("dirty_pages_dma", "int64", "pages", "of those, pages marked for the device's writes"),
    ("mapped_unwritten_pages", "int64", "pages", "of those, pages mapped for the device but not written"),
    ("held_back_pages", "int64", "pages", "dirty pages that the strategy keeps from being sent"),
    ("pending_bytes", "int64", "bytes", "left to send after the sync"),
    ("threshold_bytes", "int64", "bytes", "switch over when no more than this is left"),
    ("bandwidth_bps", "float64", "bit/s", "bandwidth as measured over the last window"),
    ("expected_downtime_ms", "float64", "ms", "bytes dirtied since the last sync over the bandwidth"),
    ("throttle_percent", "int64", "%", "share of time that auto-converge kept the vCPUs asleep in the round"),
)

INTERVALS = _columns(
    ("interval", "int64", "", "number of the interval, 0 is the first"),
    ("start_ms", "float64", "ms", "start of the interval, from the end of the warm-up"),
    ("length_ms", "float64", "ms", "its length: phases.interval, or less where a phase ends"),
    ("phase", "string", "", "steady, migrating, blackout or after; none lies in two"),
    ("packets_offered", "int64", "packets", "packets that the peer sent in the interval"),
    ("packets_delivered", "int64", "packets", "packets delivered in the interval"),
    ("packets_lost", "int64", "packets", "packets found lost in the interval"),
    ("packets_corrupted", "int64", "packets", "corrupted packets delivered in the interval"),
    ("gbps", "float64", "Gb/s", "delivered in the interval"),
    ("tx_gbps", "float64", "Gb/s", "of the guest's frames, at the peer in the interval"),
    ("mpps", "float64", "Mpackets/s", "the same in packets"),
    ("guest_cycles", "int64", "cycles", "vCPU time spent in the interval"),
    ("host_cycles", "int64", "cycles", "host CPU time spent in the interval"),
    ("latency_p50_us", "float64", "us", "median latency of the packets delivered in the interval"),
    ("latency_p99_us", "float64", "us", "99th percentile of the same"),
    ("dirty_pages", "int64", "pages", "unique pages written in the interval, by CPU or device"),
    ("dirty_pages_cpu", "int64", "pages", "of those, pages that a vCPU stored to"),
    ("dirty_pages_dma", "int64", "pages", "of those, pages that the device, or vhost in its place, wrote to"),
)
