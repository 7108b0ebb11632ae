"""C7: a guest-visible IOMMU will not reach 10 Gb/s without special tricks.

Without tricks: one map or unmap per exit, handled in user space, unmapped at once, and told of at all times. To handle
them in the kernel is one of the tricks that the argument names, as are batches, another core and lazy unmaps. A cell
holds if such a VF stays below 99 % of the link's rate where the same VF without an IOMMU reaches it. Cells that
nothing reaches are no evidence. What the tricks bring is told beside it.
"""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.kinds import is_emulated_iommu
from vfbench.verdicts.line_rate import is_offered, is_reached
from vfbench.verdicts.verdict import Claim, NotEnough
from vfbench.verdicts.yardstick import plain_vf


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    mapped = [cell for cell in evidence.completed(is_emulated_iommu, faults="") if is_offered(cell)]
    needed(mapped, "a VF behind an IOMMU that the guest sees, offered the link's rate")
    free = [cell for cell in plain_vf(evidence) if is_reached(cell)]
    pairs = paired(mapped, needed(free, "a VF without an IOMMU that reaches the link's rate"))
    plain = [(cell, other) for cell, other in pairs if is_plain(cell)]
    if not plain:
        raise NotEnough("no run without tricks of work that a VF without an IOMMU carries at the link's rate")
    findings = [
        Finding(not is_reached(cell), (cell, other), {("behind the IOMMU", "Gb/s"): cell.median("gbps")})
        for cell, other in plain
    ]
    axes = ("driver.page_reuse", "workload.send_ratio", "exit_class", "workload.frame_bytes", "guest.queues")
    never = evidence.never_migrated(is_emulated_iommu, faults="")
    subject = sum(is_plain(cell) for cell in evidence.timed(is_emulated_iommu, faults=""))
    return Judgement(findings, axes, _tricks(pairs), never, subject)


def is_plain(cell: Cell) -> bool:
    """Whether it does without tricks."""
    return (
        cell["exit_class"] == "user-space"
        and cell["entries_per_call"] <= 1
        and cell["mapping"] == "strict"
        and bool(cell["tracks_always"])
    )


def _tricks(pairs: list[tuple[Cell, Cell]]) -> str:
    """Of the work that fails without tricks, how much each trick carries."""
    stuck = {cell.work for cell, _ in pairs if is_plain(cell) and not is_reached(cell)}
    found: dict[str, list[bool]] = {}
    for cell, _ in pairs:
        if cell.work in stuck and not is_plain(cell):
            found.setdefault(_trick(cell), []).append(is_reached(cell))
    if not found:
        return ""
    each = "; ".join(f"{trick} {sum(reached)} of {len(reached)}" for trick, reached in found.items())
    return f"Of the cells that stay below, with a trick these get there: {each}."


def _trick(cell: Cell) -> str:
    parts = []
    if cell["mapping"] != "strict":
        parts.append(f"{cell['mapping']} mapping")
    if cell["exit_class"] != "user-space" and cell["mapping"] != "static":
        words = {"none": "no exit at all", "other-core": "another core", "kernel": "the kernel"}
        parts.append(words.get(cell["exit_class"], str(cell["exit_class"])))
    if cell["entries_per_call"] > 1:
        parts.append(f"{cell['entries_per_call']} entries a call")
    if not cell["tracks_always"]:
        parts.append("tracking armed only while migrating")
    return " with ".join(parts)


CLAIM = Claim(
    id="C7",
    text="A guest-visible IOMMU will not reach 10 Gb/s without special tricks.",
    source="linux-pci, October 2015: the experience from POWER",
    settled_by="Gb/s over exit class (user space, kernel, none) and entries per call",
    rule=judge,
    advice={
        "holds": "do not put an emulated IOMMU that exits to user space for each map in front of a fast card.",
        "fails": "no trick is needed for line rate.",
        "holds-within": "use one of the tricks that get there {holds}; {fails} none is needed.",
    },
)
