"""C4: skipping DMA_FROM_DEVICE pages until they are unmapped avoids that.

"That" is C3's re-sending. A cell that skips is held against the same work that doesn't skip (the same mechanism
without skipping, or else guest stores). It holds if the bytes re-sent per second of pre-copy, after the first pass,
are at most half. What is left for the stop instead is told beside it.
"""

from __future__ import annotations

import math

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.verdict import Claim, NotEnough

AVOIDED = 0.5
AXES = ("driver.page_reuse", "workload.hold_ns", "migration.downtime_limit_ns", "workload.rate_bps")
"""The downtime limit sets the length of a round, and so how often a page is written within one."""


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    skipping = [
        cell
        for cell in evidence.cells(skip_mapped=True, faults="", datapath_migrating="vf", guest_iommu=True)
        if cell["mapping"] != "static"
    ]
    needed(skipping, "a strategy that keeps mapped pages back until they are unmapped")
    sending = evidence.cells(skip_mapped=False, faults="", dma_visible_by=("iommu", "guest-store"))
    sending = sorted(sending, key=lambda cell: cell["dma_visible_by"] != "iommu")
    pairs = paired(skipping, needed(sending, "the same work with such pages sent in every round"))
    findings = [finding for cell, other in pairs if (finding := _finding(evidence, cell, other))]
    if not findings:
        raise NotEnough(
            "no two runs of the same work, with skipping and without, that both re-sent in rounds; a shorter downtime "
            "limit makes the pre-copy run in rounds"
        )
    stuck = sum(bool((each.cells[0].runs["state"] == "not-converged").any()) for each in findings)
    remark = "What is kept back waits for the stop, and has to fit the downtime limit"
    remark += f": {stuck} of {len(findings)} cells never converged." if stuck else "; here it always did."
    return Judgement(findings, AXES, remark)


def _finding(evidence: Evidence, cell: Cell, other: Cell) -> Finding | None:
    skipping, sending = resent_mb_per_s(evidence, cell), resent_mb_per_s(evidence, other)
    if math.isnan(skipping) or not sending > 0:
        return None
    measures = {
        ("re-sent with skipping", "MB/s"): skipping,
        ("without", "MB/s"): sending,
        ("left for the stop with skipping", "pages"): cell.median("residual_pages"),
        ("held back at the last sync", "pages"): _held_back(evidence, cell),
        ("final copy with skipping", "ms"): cell.median("final_copy_ms"),
        ("final copy without", "ms"): other.median("final_copy_ms"),
    }
    return Finding(skipping <= AVOIDED * sending, (cell, other), measures)


def resent_mb_per_s(evidence: Evidence, cell: Cell) -> float:
    """Over all repeats, in the rounds after the first pass; NaN where there are none."""
    resent_bytes = length_ms = 0.0
    for rounds in evidence.rounds_of(cell):
        later = rounds.iloc[1:]
        resent_bytes += float(later["resent_bytes"].sum())
        length_ms += float(later["duration_ms"].sum())
    return resent_bytes / length_ms / 1000 if length_ms > 0 else math.nan


def _held_back(evidence: Evidence, cell: Cell) -> float:
    last = [float(rounds["held_back_pages"].iloc[-1]) for rounds in evidence.rounds_of(cell)]
    return max(last, default=math.nan)


CLAIM = Claim(
    id="C4",
    text="Skipping DMA_FROM_DEVICE pages until they are unmapped avoids that re-sending.",
    source="linux-pci, October 2015: the emulated IOMMU as an answer to page reuse",
    settled_by="re-sent bytes saved; what is left for the stop-and-copy when recycled pages are never unmapped",
    rule=judge,
)
