"""C5: the device must stop before the guest.

The same strategy and work with the guest stopped first, or the device last, against the device stopped first. A
cell holds if the other order is damaged where device-first is not, and fails if the other order arrives whole. Where
device-first is damaged too, the order is not what did it, and the cell says nothing. Only strategies are asked that
use the VF and whose guest does its part to show what it writes: a host that sees the device's writes by itself has
another order of its own.
"""

from __future__ import annotations

from vfbench.verdicts.damage import damage_per_migration, is_damaged, was_compared
from vfbench.verdicts.evidence import ALL_TRAITS, Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement
from vfbench.verdicts.kinds import is_told_by_the_guest
from vfbench.verdicts.verdict import Claim, NotEnough


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    tracked = [cell for cell in evidence.cells(is_told_by_the_guest) if was_compared(cell)]
    first = needed(
        [cell for cell in tracked if cell["faults"] == "" and cell["stop_order"] == "device-first"],
        "a tracked VF whose device stops first",
    )
    later = needed(
        [cell for cell in tracked if cell["faults"] in ("1", "4")],
        "a tracked VF whose device stops after the guest",
    )
    pairs = paired(later, first, _but_the_order)
    findings = [
        Finding(is_damaged(cell), (cell, reference), damage_per_migration(cell))
        for cell, reference in pairs
        if not is_damaged(reference)
    ]
    if not findings:
        raise NotEnough(
            "no run of both stop orders with the same work that is undamaged with the device first"
        )
    axes = ("stop_order", "workload.rate_bps", "driver.page_reuse", "dma_visible_by")
    return Judgement(findings, axes, subject=len(later))


_OF_THE_ORDER = ("stop_order", "faults", "strategy.stop_order", ALL_TRAITS)


def _but_the_order(cell: Cell) -> object:
    return tuple((name, str(value)) for name, value in cell.shared.items() if name not in _OF_THE_ORDER)


CLAIM = Claim(
    id="C5",
    text="The device must stop before the guest.",
    source="linux-pci, October 2015: the order of the stop",
    settled_by="both stop orders; DMA that lands after the last dirty sync",
    rule=judge,
    advice={
        "holds": "stop the device before the guest, always.",
        "fails": "either order will do; stop the device first all the same, no run speaks against it.",
        "holds-within": "stop the device before the guest, always: {holds} the other order damages packets.",
    },
)
