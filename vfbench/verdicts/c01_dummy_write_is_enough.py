"""C1: dummy writes make DMA visible to migration, and that is enough.

A cell holds if no repeat has a stale page or a corrupted packet. Only cells count in which a migration of the same
work whose DMA nobody tracks is damaged: elsewhere there was nothing to make visible. "Enough" takes more than the
orderly stop: there must be runs that stop in another order, or without draining, as well.
"""

from __future__ import annotations

from vfbench.verdicts.damage import damage_per_migration, is_damaged, was_compared
from vfbench.verdicts.evidence import Cell, Evidence, needed, only_faults_of_the_stop, paired
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.kinds import is_dummy_write, is_untracked
from vfbench.verdicts.verdict import Claim, NotEnough


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    marked = [
        cell for cell in evidence.cells(is_dummy_write, faults=only_faults_of_the_stop) if was_compared(cell)
    ]
    needed(marked, "a strategy whose guest stores make DMA visible, with a comparison of the two memories")
    unseen = [
        cell for cell in evidence.cells(is_untracked, faults=only_faults_of_the_stop) if is_damaged(cell)
    ]
    pairs = needed_pairs(paired(marked, unseen))
    findings = [
        Finding(not is_damaged(cell), (cell, unseen), damage_per_migration(cell)) for cell, unseen in pairs
    ]
    orderly = [each for each in findings if each.cells[0]["faults"] == ""]
    if len(orderly) == len(findings) and all(each.holds for each in findings):
        raise NotEnough(
            f"undamaged in {len(findings)} cells with an orderly stop; whether that is enough takes runs that stop in "
            "another order, or without draining"
        )
    axes = ("stop_order", "driver.page_reuse", "workload.rate_bps")
    return Judgement(
        findings,
        axes,
        _orderly(orderly),
        besides="orderly" if orderly and all(each.holds for each in orderly) else "",
        subject=len(evidence.cells(is_dummy_write, faults=only_faults_of_the_stop)),
    )


def _orderly(findings: list[Finding]) -> str:
    """What the proposal itself does; the other orders are what could go wrong with it."""
    if not findings:
        return ""
    whole = sum(each.holds is True for each in findings)
    runs = sum(len(each.cells[0].runs) for each in findings)
    arrived = f"{whole} of {len(findings)} cells arrived whole ({runs} runs)"
    return f"With the device stopped first and the ring drained: {arrived}."


def needed_pairs(pairs: list[tuple[Cell, Cell]]) -> list[tuple[Cell, Cell]]:
    """NotEnough where nothing was there to be made visible."""
    if not pairs:
        raise NotEnough(
            "no run of the same work, untracked, that is damaged: so nothing shows that there was DMA to miss"
        )
    return pairs


CLAIM = Claim(
    id="C1",
    text="Dummy writes make DMA visible to migration, and that is enough.",
    source="linux-pci, October 2015: the dummy write as Lan Tianyu proposed it (21 October)",
    settled_by="the destination's memory against the source's at the stop; payload and descriptors apart",
    rule=judge,
    advice={
        "holds": "mark by dummy writes, whatever stops first.",
        "fails": "do not migrate on dummy writes alone; give the VF up, or take a log in the device or the IOMMU.",
        "holds-within": "do not rely on dummy writes alone: damage can come {fails}, in orderly stops as well.",
        "holds-within, orderly": "with dummy writes stop the device first and drain the ring; damage can come {fails}.",
    },
)
