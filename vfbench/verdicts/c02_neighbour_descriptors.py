"""C2: a dummy write pulls in neighbour descriptors whose data was not dummy-written yet.

The stop without draining is where that can show: descriptors written back and not yet seen by the driver share a
ring page with one that was marked. A cell holds if a repeat resumes with a descriptor that claims data which is
not there: packets corrupted at the destination while packet pages are stale. The device still stops before the
guest, so that no DMA after the last sync can be the cause.
"""

from __future__ import annotations

from vfbench.verdicts.damage import damage_per_migration, was_compared
from vfbench.verdicts.evidence import Cell, Evidence, needed
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.kinds import is_dummy_write
from vfbench.verdicts.verdict import Claim, NotEnough

FEWEST_MIGRATIONS = 20
"""Without damage in this many, damage in over 15 % of all migrations is ruled out at 95 % (rule of three)."""


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    cells = [
        cell
        for cell in evidence.cells(is_dummy_write, stop_order="undrained", faults="3")
        if was_compared(cell)
    ]
    needed(cells, "a strategy whose guest stores make DMA visible and which stops without draining")
    findings = [Finding(is_hit(cell), (cell,), damage_per_migration(cell)) for cell in cells]
    migrations = sum(len(cell.runs) for cell in cells)
    hit = sum(migrations_hit(cell) for cell in cells)
    if hit == 0 and migrations < FEWEST_MIGRATIONS:
        raise NotEnough(
            f"no damage in {migrations} migrations without draining; it takes {FEWEST_MIGRATIONS} to say that "
            "there is none"
        )
    axes = ("workload.rate_bps", "driver.rx_ring", "device.interrupt_interval_ns", "driver.page_reuse")
    remark = f"{hit} of {migrations} migrations were hit." + _with_draining(evidence)
    subject = evidence.cells(is_dummy_write, stop_order="undrained", faults="3")
    return Judgement(findings, axes, remark, subject=len(subject))


def is_hit(cell: Cell) -> bool:
    """Whether any repeat was."""
    return migrations_hit(cell) > 0


def migrations_hit(cell: Cell) -> int:
    """Repeats that delivered content which was never sent for its descriptor, from a stale packet page."""
    corrupted = cell.runs["packets_corrupted"].fillna(0) + cell.runs["packets_phantom"].fillna(0)
    return int(((corrupted > 0) & (cell.runs["stale_pages_payload"].fillna(0) > 0)).sum())


def _with_draining(evidence: Evidence) -> str:
    drained = [
        cell
        for cell in evidence.cells(is_dummy_write, stop_order="device-first", faults="")
        if was_compared(cell)
    ]
    if not drained:
        return ""
    migrations = sum(len(cell.runs) for cell in drained)
    return f" With draining: {sum(migrations_hit(cell) for cell in drained)} of {migrations}."


CLAIM = Claim(
    id="C2",
    text="A dummy write pulls in neighbour descriptors whose data was not dummy-written yet: after the migration they "
    "claim data that is not there.",
    source="linux-pci, October 2015: the objection to the dummy write",
    settled_by="damage after a stop without draining, over packet rate, ring size, interrupt delay, page recycling",
    rule=judge,
    advice={
        "holds": "never stop without draining the ring.",
        "fails": "draining the ring is not needed for this reason; drain it all the same, it costs microseconds.",
        "holds-within": "drain the ring before the stop; without it a migration can be hit {holds}.",
    },
)
