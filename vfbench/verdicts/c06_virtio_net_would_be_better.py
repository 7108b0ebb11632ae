"""C6: an emulated IOMMU costs so much throughput that virtio-net would be the better choice.

A VF behind a guest-visible IOMMU against packets copied by the host, in the steady state and while migrating. A
cell holds if the copied way carries over 1 % more in one direction and no less in the other; within 1 % of each other
the fewer cycles per packet, guest and host together, decide. Cells that never migrate say nothing.
"""

from __future__ import annotations

import math

from vfbench.verdicts.directions import is_asked_to_send, is_faster
from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, Measures
from vfbench.verdicts.kinds import is_copied_by_host, is_emulated_iommu
from vfbench.verdicts.verdict import Claim, NotEnough

MARGIN = 0.01
PHASES = {"steady": "", "migrating": "_migrating"}


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = needed(
        evidence.completed(is_emulated_iommu, faults=""),
        "a VF behind an IOMMU that the guest sees",
    )
    copied = needed(evidence.completed(is_copied_by_host, faults=""), "packets copied by the host throughout")
    pairs = paired(mapped, copied)
    if not pairs:
        raise NotEnough("no run of both with the same work")
    findings = [_finding(cell, other, phase) for cell, other in pairs for phase in PHASES]
    axes = ("phase", "exit_class", "entries_per_call", "mapping", "driver.page_reuse", "workload.frame_bytes")
    never = evidence.never_migrated(is_emulated_iommu, faults="")
    return Judgement(findings, axes, never_migrated=never, subject=len(mapped) + never)


def _finding(cell: Cell, other: Cell, phase: str) -> Finding:
    suffix = PHASES[phase]
    cycles = [
        each.total(f"guest_cycles_per_packet{suffix}", f"host_cycles_per_packet{suffix}")
        for each in (cell, other)
    ]
    measures = {
        ("behind the IOMMU", "Gb/s"): cell.median(f"gbps{suffix}"),
        ("copied", "Gb/s"): other.median(f"gbps{suffix}"),
        **_sent(cell, other, suffix),
        ("behind the IOMMU", "cycles per packet"): cycles[0],
        ("copied", "cycles per packet"): cycles[1],
    }
    return Finding(_copied_is_better(cell, other, suffix, cycles), (cell, other), measures, {"phase": phase})


def _sent(cell: Cell, other: Cell, suffix: str) -> Measures:
    if not is_asked_to_send(cell):
        return {}
    return {
        ("sent behind the IOMMU", "Gb/s"): cell.median(f"tx_gbps{suffix}"),
        ("sent copied", "Gb/s"): other.median(f"tx_gbps{suffix}"),
    }


def _copied_is_better(cell: Cell, other: Cell, suffix: str, cycles: list[float]) -> bool | None:
    faster = is_faster(other, cell, MARGIN, suffix)
    slower = is_faster(cell, other, MARGIN, suffix)
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
    advice={
        "holds": "take virtio-net instead of a VF behind an emulated IOMMU.",
        "fails": "keep the VF behind the emulated IOMMU.",
        "holds-within": "take virtio-net {holds}; {fails} keep the VF behind the IOMMU.",
    },
)
