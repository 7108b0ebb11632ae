"""C6: an emulated IOMMU costs so much throughput that virtio-net would be the better choice.

A VF behind a guest-visible IOMMU against packets copied by the host, in the steady state and while migrating. A
cell holds if the copied way delivers over 1 % more; within 1 % of each other the fewer cycles per packet, guest and
host together, decide.
"""

from __future__ import annotations

import math

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, exceeds
from vfbench.verdicts.kinds import is_copied_by_host, is_emulated_iommu
from vfbench.verdicts.verdict import Claim, NotEnough

MARGIN = 0.01
PHASES = {"steady": "", "migrating": "_migrating"}


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = needed(
        evidence.timed(is_emulated_iommu, faults=""),
        "a VF behind an IOMMU that the guest sees",
    )
    copied = needed(evidence.timed(is_copied_by_host, faults=""), "packets copied by the host throughout")
    pairs = paired(mapped, copied)
    if not pairs:
        raise NotEnough("no run of both with the same work")
    findings = [_finding(cell, other, phase) for cell, other in pairs for phase in PHASES]
    axes = ("phase", "exit_class", "entries_per_call", "mapping", "driver.page_reuse", "workload.frame_bytes")
    return Judgement(findings, axes)


def _finding(cell: Cell, other: Cell, phase: str) -> Finding:
    suffix = PHASES[phase]
    cycles = [
        each.total(f"guest_cycles_per_packet{suffix}", f"host_cycles_per_packet{suffix}")
        for each in (cell, other)
    ]
    measures = {
        ("behind the IOMMU", "Gb/s"): cell.median(f"gbps{suffix}"),
        ("copied", "Gb/s"): other.median(f"gbps{suffix}"),
        ("behind the IOMMU", "cycles per packet"): cycles[0],
        ("copied", "cycles per packet"): cycles[1],
    }
    return Finding(
        _copied_is_better(cell, other, f"gbps{suffix}", cycles), (cell, other), measures, {"phase": phase}
    )


def _copied_is_better(cell: Cell, other: Cell, measure: str, cycles: list[float]) -> bool | None:
    faster = exceeds(other.runs[measure], cell.runs[measure], 1 + MARGIN)
    slower = exceeds(cell.runs[measure], other.runs[measure], 1 + MARGIN)
    if faster or slower:
        return bool(faster)
    if faster is None or slower is None or any(math.isnan(each) for each in cycles):
        return None
    return cycles[1] < cycles[0]


CLAIM = Claim(
    id="C6",
    text="An emulated IOMMU costs so much throughput that virtio-net would be the better choice.",
    source="linux-pci, October 2015: the objection to the emulated IOMMU",
    settled_by="Gb/s and cycles per packet of both, steady and while migrating, for each cost class of the emulation",
    rule=judge,
)
