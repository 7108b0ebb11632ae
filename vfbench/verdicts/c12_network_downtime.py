"""C12: network downtime under 500 ms.

The longest gap in the packets that the peer sees, not the vCPU's pause. A cell holds if it stays below 500 ms in
every repeat. All strategies that bring the guest over whole count; migrations that never complete have no downtime
and are told beside it.
"""

from __future__ import annotations

import math

from vfbench.units import format_quantity
from vfbench.verdicts.evidence import Evidence, needed
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.kinds import is_tracked
from vfbench.verdicts.verdict import Claim, NotEnough

LONGEST_GAP_MS = 500.0


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    cells = needed(
        evidence.timed(is_tracked, faults=""),
        "a strategy that makes the device's writes visible",
    )
    findings = [
        Finding(
            cell.largest("service_gap_ms") < LONGEST_GAP_MS,
            (cell,),
            {
                ("longest gap", "ms"): cell.largest("service_gap_ms"),
                ("downtime", "ms"): cell.largest("downtime_ms"),
                ("vCPU pause", "ms"): cell.largest("vcpu_pause_ms"),
            },
        )
        for cell in cells
        if cell.has_migrated and not math.isnan(cell.largest("service_gap_ms"))
    ]
    if not findings:
        raise NotEnough("no migration that completed with a gap measured")
    unfinished = len(cells) - len(findings)
    remark = _limits(findings)
    remark += f" In {unfinished} more cells the migration never completed." if unfinished else ""
    axes = (
        "datapath_migrating",
        "datapath",
        "dma_visible_by",
        "migration.downtime_limit_ns",
        "guest.memory_bytes",
    )
    return Judgement(findings, axes, remark, subject=len(cells))


def _limits(findings: list[Finding]) -> str:
    """What was asked for: nothing is known of the gap at limits that no run had."""
    limits = [int(each.cells[0]["migration.downtime_limit_ns"]) for each in findings]
    low, high = (format_quantity(edge, "ns") for edge in (min(limits), max(limits)))
    return (
        f"Asked for were downtime limits of {low}."
        if low == high
        else f"Asked for were limits of {low} to {high}."
    )


CLAIM = Claim(
    id="C12",
    text="Network downtime stays under 500 ms.",
    source="the follow-up thread: what one cloud promised its users",
    settled_by="the longest gap in the packets that the peer sees, not the vCPU pause",
    rule=judge,
    advice={
        "holds": "promise 500 ms at the downtime limits that were asked for, and no more than was run.",
        "fails": "do not promise 500 ms; look at what the gap is made of.",
        "holds-within": "promise 500 ms only {holds}; {fails} the peer waits longer.",
    },
)
