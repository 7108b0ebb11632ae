"""Both directions count: no strategy is better by not sending, or by not delivering."""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell
from vfbench.verdicts.finding import exceeds

RECEIVED, SENT = "gbps", "tx_gbps"


def is_asked_to_send(cell: Cell) -> bool:
    """Whether the work has the guest send at all."""
    return float(cell.shared.get("workload.send_ratio") or 0) > 0


def keeps_up(cell: Cell, reference: Cell, share: float, suffix: str = "") -> bool | None:
    """Whether each direction has over ``share`` of the reference's; None where the spread is too wide to say."""
    found = [_exceeds(cell, reference, name, share) for name in _directions(cell, reference, suffix)]
    if False in found:
        return False
    return None if None in found else True


def is_faster(cell: Cell, reference: Cell, margin: float, suffix: str = "") -> bool | None:
    """Whether one direction has over ``margin`` more and the other no less; None where it can't be said."""
    names = _directions(cell, reference, suffix)
    more = [_exceeds(cell, reference, name, 1 + margin) for name in names]
    less = [_exceeds(reference, cell, name, 1 + margin) for name in names]
    if None in (*more, *less):
        return None
    return any(more) and not any(less)


def _directions(cell: Cell, reference: Cell, suffix: str) -> list[str]:
    """What is received, and what is sent where the work asks for it; older records don't know what was sent."""
    names = [f"{RECEIVED}{suffix}"]
    sent = f"{SENT}{suffix}"
    if is_asked_to_send(cell) and len(cell.values(sent)) and len(reference.values(sent)):
        names.append(sent)
    return names


def _exceeds(cell: Cell, reference: Cell, measure: str, factor: float) -> bool | None:
    if reference.median(measure) == 0:
        return cell.median(measure) > 0 or factor <= 1
    return exceeds(cell.values(measure), reference.values(measure), factor)


def sends_as_much(cell: Cell, reference: Cell, share: float, suffix: str = "") -> bool:
    """Whether nothing shows that less than ``share`` of the reference's frames are sent."""
    sent = f"{SENT}{suffix}"
    if sent not in _directions(cell, reference, suffix):
        return True
    return _exceeds(cell, reference, sent, share) is not False
