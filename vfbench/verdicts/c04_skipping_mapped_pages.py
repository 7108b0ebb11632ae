"""C4: skipping DMA_FROM_DEVICE pages until they are unmapped avoids that.

"That" is re-sending. A cell that skips is held against the same strategy and work that doesn't skip: the two differ
in that parameter and in nothing else. It holds if skipping sends at most half as many bytes again, over the whole
migration with its final copy, and doesn't keep a migration from completing that completes without. Where neither
completes the cell says nothing. What is left for
the stop, and what guest stores send again of the same work, is told beside it.
"""

from __future__ import annotations

from statistics import median

from vfbench.verdicts.evidence import Cell, Evidence, needed, one_parameter_apart, paired
from vfbench.verdicts.finding import Finding, Judgement, short
from vfbench.verdicts.kinds import is_dummy_write, is_emulated_iommu
from vfbench.verdicts.verdict import Claim, NotEnough

AVOIDED = 0.5
MIB = 1 << 20
AXES = ("migration.downtime_limit_ns", "driver.page_reuse", "driver.page_order", "workload.hold_ns")
"""The downtime limit says whether what is kept back can wait for the stop."""


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    skipping = [
        cell
        for cell in evidence.cells(is_emulated_iommu, skip_mapped=True, faults="")
        if cell["mapping"] != "static"
    ]
    needed(skipping, "a strategy that keeps mapped pages back until they are unmapped")
    sending = needed(
        evidence.cells(is_emulated_iommu, skip_mapped=False, faults=""),
        "the same strategy with such pages sent in every round",
    )
    pairs = one_parameter_apart(skipping, sending, "skip_mapped")
    telling = [
        each for each in pairs if each[1].median("resent_bytes") > 0 and any(one.has_migrated for one in each)
    ]
    findings = [_finding(cell, other) for cell, other in telling]
    if not findings:
        raise NotEnough(
            "no two runs that differ in the skipping only and that send anything again without it"
        )
    return Judgement(findings, AXES, _remark(evidence, findings), subject=len(skipping))


def _finding(cell: Cell, other: Cell) -> Finding:
    skipping, sending = cell.median("resent_bytes"), other.median("resent_bytes")
    measures = {
        ("re-sent with skipping", "MiB"): skipping / MIB,
        ("without", "MiB"): sending / MIB,
        ("left for the stop with skipping", "pages"): cell.median("residual_pages"),
        ("final copy with skipping", "ms"): cell.median("final_copy_ms"),
        ("final copy without", "ms"): other.median("final_copy_ms"),
    }
    holds = skipping <= AVOIDED * sending and not is_stuck(cell)
    return Finding(holds, (cell, other), measures)


def is_stuck(cell: Cell) -> bool:
    """Whether a repeat's pre-copy never came below the downtime limit."""
    return bool((cell.runs["state"] == "not-converged").any())


def _remark(evidence: Evidence, findings: list[Finding]) -> str:
    count = len(findings)
    stuck, stuck_without = (sum(is_stuck(each.cells[side]) for each in findings) for side in (0, 1))
    text = "What is kept back waits for the stop, and has to fit the downtime limit: "
    text += f"with skipping {stuck} of {count} cells never converged, without it {stuck_without}."
    stores = paired([each.cells[0] for each in findings], evidence.cells(is_dummy_write, faults=""))
    if stores:
        again = median(other.median("resent_bytes") / MIB for _, other in stores)
        own = median(cell.median("resent_bytes") / MIB for cell, _ in stores)
        text += (
            f" Of the same work guest stores send {short(again)} MiB again in the median cell, skipping "
            f"{short(own)} MiB ({len(stores)} cells, {sum(is_stuck(other) for _, other in stores)} never converged "
            "by stores)."
        )
    return text


CLAIM = Claim(
    id="C4",
    text="Skipping DMA_FROM_DEVICE pages until they are unmapped avoids that re-sending.",
    source="linux-pci, October 2015: the emulated IOMMU as an answer to page reuse",
    settled_by="re-sent bytes saved; what is left for the stop-and-copy when recycled pages are never unmapped",
    rule=judge,
    advice={
        "holds": "skip mapped pages, and leave room in the downtime limit for them.",
        "fails": "do not skip mapped pages: mark and send them.",
        "holds-within": "skip mapped pages only {holds}; {fails} send them: what is kept back must fit the limit.",
    },
)
