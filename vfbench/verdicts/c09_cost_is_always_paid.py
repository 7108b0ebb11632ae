"""C9: the emulated IOMMU's cost is paid all the time, not only during migration.

Cycles per packet, guest and host together, over those of the same VF without an IOMMU: before, during and after
the migration. A cell holds if over 2 % more are spent before and after. Cells in which nothing more is spent at any
time have no cost to be paid, and say nothing.
"""

from __future__ import annotations

import math
from statistics import median

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, share_of, short
from vfbench.verdicts.kinds import is_emulated_iommu
from vfbench.verdicts.verdict import Claim, NotEnough
from vfbench.verdicts.yardstick import plain_vf

PAID = 0.02
PHASES = {"before": "", "during": "_migrating", "after": "_after"}


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = needed(
        evidence.completed(is_emulated_iommu, faults=""),
        "a VF behind an IOMMU that the guest sees",
    )
    pairs = paired(mapped, needed(plain_vf(evidence), "the VF without an IOMMU"))
    findings = []
    for cell, free in pairs:
        extra = extra_cycles(cell, free)
        if any(math.isnan(share) for share in extra.values()) or max(extra.values()) <= PAID:
            continue
        measures = {(f"more cycles {phase}", "%"): 100 * share for phase, share in extra.items()}
        findings.append(Finding(min(extra["before"], extra["after"]) > PAID, (cell, free), measures))
    if not findings:
        raise NotEnough("no run in which the IOMMU costs anything, beside the same work without one")
    axes = ("tracks_always", "driver.page_reuse", "workload.send_ratio", "exit_class")
    never = evidence.never_migrated(is_emulated_iommu, faults="")
    return Judgement(findings, axes, _armed_late(findings), never, len(mapped) + never)


def _armed_late(findings: list[Finding]) -> str:
    """What is left to pay before a migration if the hypervisor is told of mappings only during one."""
    late = [finding for finding in findings if not finding.cells[0]["tracks_always"]]
    if not late:
        return ""
    before = median(finding.measures["more cycles before", "%"] for finding in late)
    during = median(finding.measures["more cycles during", "%"] for finding in late)
    return (
        f"With tracking armed only during the migration ({len(late)} cells) it is {short(before)} % before and "
        f"{short(during)} % during."
    )


def extra_cycles(cell: Cell, free: Cell) -> dict[str, float]:
    """Share by which a packet costs more cycles, in each phase."""
    shares = {}
    for phase, suffix in PHASES.items():
        names = (f"guest_cycles_per_packet{suffix}", f"host_cycles_per_packet{suffix}")
        shares[phase] = share_of(cell.total(*names), free.total(*names)) - 1
    return shares


CLAIM = Claim(
    id="C9",
    text="The emulated IOMMU's cost is paid all the time, not only during migration.",
    source="linux-pci, October 2015: the objection to the emulated IOMMU",
    settled_by="cycles per packet before, during and after; and the same with tracking armed only during migration",
    rule=judge,
    advice={
        "holds": "budget for an emulated IOMMU every day, not for the migration.",
        "fails": "the cost falls away outside the migration; do not let it decide.",
        "holds-within": "budget for the IOMMU every day {holds}; {fails} it costs during the migration only.",
    },
)
