"""C8: an emulated IOMMU suits only static mappings.

It suits where a VF behind it carries at least 95 % of what the VF carries without, in each direction. Mappings are
static where the hypervisor is told of fewer than one map per 100 packets received (counted in the steady state, not
inferred): a driver that maps all packet memory once, or recycles its pages and sends nothing. A cell holds if it is
static and suits, or is not static and doesn't. Cells that tell of mappings only during a migration have none to count,
and cells that never migrate say nothing.
"""

from __future__ import annotations

import math

import pandas

from vfbench.verdicts.directions import keeps_up
from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, share_of
from vfbench.verdicts.kinds import is_emulated_iommu
from vfbench.verdicts.verdict import Claim, NotEnough
from vfbench.verdicts.yardstick import plain_vf

SUITS = 0.95
STATIC_MAPS_PER_PACKET = 0.01


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = needed(
        evidence.completed(is_emulated_iommu, faults="", tracks_always=True),
        "a VF behind an IOMMU that the guest sees and that always tells of its mappings",
    )
    pairs = paired(mapped, needed(plain_vf(evidence), "the VF without an IOMMU"))
    counted = [(cell, free, maps_per_packet(evidence, cell)) for cell, free in pairs]
    findings = [_finding(cell, free, maps) for cell, free, maps in counted if not math.isnan(maps)]
    kinds = {each.more_axes["mappings"] for each in findings}
    if "static" not in kinds or len(kinds) < 2:
        raise NotEnough(
            "it takes runs of both kinds, with the same work without an IOMMU: static mappings, and mappings per packet"
        )
    axes = (
        "mappings",
        "workload.send_ratio",
        "driver.page_reuse",
        "exit_class",
        "entries_per_call",
        "workload.frame_bytes",
    )
    never = evidence.never_migrated(is_emulated_iommu, faults="", tracks_always=True)
    return Judgement(findings, axes, never_migrated=never, subject=len(mapped) + never)


def _finding(cell: Cell, free: Cell, maps: float) -> Finding:
    suits = keeps_up(cell, free, SUITS)
    kind = "static" if maps < STATIC_MAPS_PER_PACKET else "per packet"
    holds = None if suits is None else suits == (kind == "static")
    measures = {
        (f"of the VF's throughput, mappings {kind}", "%"): 100
        * share_of(cell.median("gbps"), free.median("gbps")),
        ("maps per packet", ""): maps,
    }
    return Finding(holds, (cell, free), measures, {"mappings": kind})


def maps_per_packet(evidence: Evidence, cell: Cell) -> float:
    """Of the repeats whose timeline was kept, in the steady state; NaN where maps were not counted, or no packets."""
    maps_of = dict(zip(cell.experiments, cell.runs["iommu_maps"], strict=True))
    packets = maps = 0.0
    for intervals in evidence.intervals_of(cell):
        counted = maps_of[intervals["experiment"].iloc[0]]
        maps += math.nan if pandas.isna(counted) else float(counted)
        packets += float(intervals["packets_delivered"][intervals["phase"] == "steady"].sum())
    return maps / packets if packets else math.nan


CLAIM = Claim(
    id="C8",
    text="An emulated IOMMU suits only static mappings.",
    source="linux-pci, October 2015: what guest-visible IOMMUs were used for",
    settled_by="throughput over maps per packet; Rx with recycling and Tx apart",
    rule=judge,
    advice={
        "holds": "put a VF behind an emulated IOMMU only if its mappings are static.",
        "fails": "do not choose by whether mappings are static.",
        "holds-within": "insist on static mappings {holds}; {fails} the rule misleads, so measure your own work.",
    },
)
