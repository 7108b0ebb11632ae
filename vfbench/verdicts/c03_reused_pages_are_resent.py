"""C3: reused Rx pages are rewritten in a loop, so marking them dirty re-sends them for ever.

A cell holds if the pages dirtied by packets don't die out: the last sync of the pre-copy finds at least half as
many of them as any sync after the first pass. Only runs with three syncs or more can tell; a pre-copy that
switches over earlier never came to re-send in rounds.
"""

from __future__ import annotations

import pandas

from vfbench.verdicts.evidence import Cell, Evidence, needed
from vfbench.verdicts.finding import Finding, Judgement, short
from vfbench.verdicts.kinds import is_dummy_write
from vfbench.verdicts.verdict import Claim, NotEnough

FEWEST_SYNCS = 3
PERSISTING_SHARE = 0.5
RING_SLACK = 1.1
"""Pages of the descriptors themselves, and those just replaced."""
MIB = 1 << 20
PAGES = ("packet pages dirtied per round", "")


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    marked = needed(
        evidence.cells(is_dummy_write, faults=""),
        "a strategy whose guest stores make DMA visible",
    )
    reusing = [cell for cell in marked if cell.shared.get("driver.page_reuse") != "none"]
    findings = _findings(evidence, needed(reusing, "such a strategy with recycled receive pages"))
    if not findings:
        raise NotEnough(
            f"every pre-copy with recycled pages switched over before its {FEWEST_SYNCS}rd dirty-log sync that says "
            "which pages were packets'; a shorter "
            "downtime limit makes it run in rounds"
        )
    return Judgement(
        findings,
        ("workload.rate_bps", "workload.frame_bytes"),
        _remark(evidence, findings, marked),
        subject=len(reusing),
    )


def _findings(evidence: Evidence, cells: list[Cell]) -> list[Finding]:
    found = []
    for cell in cells:
        per_run = [rounds for rounds in evidence.rounds_of(cell) if _can_tell(rounds)]
        if per_run:
            persisting = [_persists(rounds) for rounds in per_run]
            holds = sum(persisting) > len(persisting) / 2
            found.append(Finding(holds, (cell,), _per_round(per_run)))
    return found


def _can_tell(rounds: pandas.DataFrame) -> bool:
    """A stock QEMU does not say which of the pages that a sync found dirty are packets'; who counts them may know."""
    return len(_counted(rounds)) >= FEWEST_SYNCS


def _counted(rounds: pandas.DataFrame) -> pandas.DataFrame:
    return rounds[rounds["dirty_pages_dma"].notna()]


def _persists(rounds: pandas.DataFrame) -> bool:
    later = _counted(rounds)["dirty_pages_dma"].iloc[1:].astype(float)
    return bool(later.max() > 0 and later.iloc[-1] >= PERSISTING_SHARE * later.max())


def _per_round(per_run: list[pandas.DataFrame]) -> dict[tuple[str, str], float]:
    later = pandas.concat([_counted(rounds).iloc[1:] for rounds in per_run])
    return {
        PAGES: float(later["dirty_pages_dma"].astype(float).median()),
        ("re-sent per round", "MiB"): float(later["resent_bytes"].astype(float).median()) / MIB,
    }


def _remark(evidence: Evidence, findings: list[Finding], marked: list[Cell]) -> str:
    cells = [finding.cells[0] for finding in findings]
    stuck = sum(bool((cell.runs["state"] == "not-converged").any()) for cell in cells)
    bound = sum(finding.measures[PAGES] <= RING_SLACK * ring_pages(finding.cells[0]) for finding in findings)
    smallest, largest = (edge(ring_pages(cell) for cell in cells) for edge in (min, max))
    ring = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    text = (
        f"Recycling bounds it: {bound} of {len(cells)} cells stay within the receive rings' {ring} pages, "
        f"{stuck} never came below the downtime limit."
    )
    fresh = _findings(evidence, [cell for cell in marked if cell.shared.get("driver.page_reuse") == "none"])
    if fresh:
        pages = max(finding.measures[PAGES] for finding in fresh)
        text += f" Without recycling it is up to {short(pages)} pages a round."
    return text


def ring_pages(cell: Cell) -> int:
    """Pages that the receive rings of all queues hold."""
    return int(cell["driver.rx_ring"]) * int(cell["guest.queues"])


CLAIM = Claim(
    id="C3",
    text="Reused Rx pages are rewritten in a loop, so marking them dirty re-sends them for ever.",
    source="linux-pci, October 2015: the objection from ixgbevf's page reuse",
    settled_by="dirty pages per round and re-sent bytes, over packet size and the share of pages recycled",
    rule=judge,
    advice={
        "holds": "size the downtime limit for the ring's pages, which every round finds; more rounds do not help.",
        "fails": "do not let page reuse keep you from dummy writes: the pages die out.",
        "holds-within": "size the downtime limit for the ring's pages {holds}; {fails} they die out.",
    },
)
