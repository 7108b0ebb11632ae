"""C11: keeping the VF through pre-copy is worth the trouble.

The VF kept until the stop against the VF given up for the migration's time. What is compared is what the migration
cost its user: bytes offered from its start to the run's end and not delivered, blackout and changes of device
included, less what is lost in the steady state anyway. That makes migrations of different length comparable. A cell
holds if keeping the VF costs less. The longest gap that the peer sees is told beside it.
"""

from __future__ import annotations

import math
from statistics import median

import pandas

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, exceeds
from vfbench.verdicts.verdict import Claim, NotEnough

MB = 1e6


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    kept = [
        cell
        for cell in evidence.timed(
            datapath="vf", datapath_migrating="vf", dma_visible_by=lambda how: how != "none", faults=""
        )
        if _completed(cell)
    ]
    needed(kept, "a VF that is tracked and kept until the stop, and a migration that completes")
    given_up = [
        cell
        for cell in evidence.timed(datapath="vf", datapath_migrating="virtio", faults="")
        if _completed(cell)
    ]
    pairs = paired(kept, needed(given_up, "a VF that is given up for the time of the migration"))
    findings = [_finding(evidence, cell, other) for cell, other in pairs]
    if not findings:
        raise NotEnough("no run of both with the same work")
    axes = ("dma_visible_by", "workload.rate_bps", "guest.memory_bytes", "driver.page_reuse")
    return Judgement(findings, axes)


def _completed(cell: Cell) -> bool:
    return bool((cell.runs["state"] == "ok").all())


def _finding(evidence: Evidence, cell: Cell, other: Cell) -> Finding:
    own, others = shortfalls_mb(evidence, cell), shortfalls_mb(evidence, other)
    if not own or not others:
        holds = None
    elif min(*own, *others) <= 0:  # no ratio: one of them lost nothing
        holds = median(own) < median(others)
    else:
        holds = exceeds(others, own, 1)
    measures = {
        ("not delivered with the VF kept", "MB"): median(own) if own else math.nan,
        ("given up", "MB"): median(others) if others else math.nan,
        ("longest gap with the VF kept", "ms"): cell.median("service_gap_ms"),
        ("longest gap given up", "ms"): other.median("service_gap_ms"),
    }
    return Finding(holds, (cell, other), measures)


def shortfalls_mb(evidence: Evidence, cell: Cell) -> list[float]:
    """Of each repeat, the bytes on the wire that its migration cost; empty without a steady state."""
    return [found for rows in evidence.intervals_of(cell) if not math.isnan(found := _shortfall_mb(rows))]


def _shortfall_mb(intervals: pandas.DataFrame) -> float:
    steady = intervals[intervals["phase"] == "steady"]
    since = intervals[intervals["phase"] != "steady"]
    offered, delivered = (float(steady[f"packets_{what}"].sum()) for what in ("offered", "delivered"))
    if offered == 0 or delivered == 0:
        return math.nan
    bytes_per_packet = float((steady["gbps"] * steady["length_ms"]).sum()) * 1e6 / 8 / delivered
    expected = float(since["packets_offered"].sum()) * min(1.0, delivered / offered)
    return (expected - float(since["packets_delivered"].sum())) * bytes_per_packet / MB


CLAIM = Claim(
    id="C11",
    text="Keeping the VF through pre-copy is worth the trouble.",
    source="linux-pci, October 2015: against unplugging the VF for the migration",
    settled_by="bytes delivered over the whole migration plus the blackout, against falling back to virtio-net",
    rule=judge,
)
