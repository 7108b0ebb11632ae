"""C8: an emulated IOMMU suits only static mappings.

It suits where a VF behind it delivers at least 95 % of what the VF delivers without. Mappings are static where all
packet memory is mapped once, and where receive pages are recycled and nothing is sent: such a driver maps nothing
per packet received and exactly once per packet sent (measured with igb behind intel-iommu). A cell holds if it is
static and suits, or is not static and doesn't.
"""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, exceeds
from vfbench.verdicts.verdict import Claim, NotEnough

SUITS = 0.95


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = needed(
        evidence.timed(datapath="vf", datapath_migrating="vf", guest_iommu=True, faults=""),
        "a VF behind an IOMMU that the guest sees",
    )
    pairs = paired(mapped, needed(evidence.unassisted(), "the VF without an IOMMU"))
    findings = [_finding(cell, free) for cell, free in pairs]
    kinds = {each.more_axes["mappings"] for each in findings}
    if "static" not in kinds or len(kinds) < 2:
        raise NotEnough(
            "it takes runs of both kinds, with the same work without an IOMMU: static mappings, and mappings per packet"
        )
    axes = ("mappings", "exit_class", "entries_per_call", "workload.frame_bytes")
    return Judgement(findings, axes)


def _finding(cell: Cell, free: Cell) -> Finding:
    suits = exceeds(cell.runs["gbps"], free.runs["gbps"], SUITS)
    kind = mappings(cell)
    holds = None if suits is None else suits == (kind == "static")
    share = 100 * cell.median("gbps") / free.median("gbps")
    name = "of the VF's throughput with " + ("static mappings" if kind == "static" else "mappings per packet")
    return Finding(holds, (cell, free), {(name, "%"): share}, {"mappings": kind})


def mappings(cell: Cell) -> str:
    """What of a packet's way is mapped anew: ``static`` (nothing), ``Rx``, ``Tx`` or ``Rx and Tx``."""
    if cell["mapping"] == "static":
        return "static"
    received = cell.shared.get("driver.page_reuse") == "none"
    sent = float(cell.shared.get("workload.send_ratio") or 0) > 0
    return {(False, False): "static", (True, False): "Rx", (False, True): "Tx"}.get(
        (received, sent), "Rx and Tx"
    )


CLAIM = Claim(
    id="C8",
    text="An emulated IOMMU suits only static mappings.",
    source="linux-pci, October 2015: what guest-visible IOMMUs were used for",
    settled_by="throughput over maps per packet; Rx with recycling and Tx apart",
    rule=judge,
)
