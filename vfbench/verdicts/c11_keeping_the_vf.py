"""C11: keeping the VF through pre-copy is worth the trouble.

The VF kept until the stop against the VF given up for the migration's time. What is compared is what the user
misses: bytes offered and not delivered over the same span from the start of the migration, blackout and changes of
device included; the run that ended earlier is taken to go on as in its steady state. A cell holds if giving it up
misses over 5 % more: a draw is not worth the trouble, nor is a VF whose guest sends less meanwhile. The longest gap
that the peer sees is told beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

import pandas

from vfbench.verdicts.directions import sends_as_much
from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, exceeds
from vfbench.verdicts.kinds import is_given_up, is_kept_and_tracked
from vfbench.verdicts.verdict import Claim, NotEnough

MB = 1e6
WORTH_IT = 1.05


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    tracked = evidence.timed(is_kept_and_tracked, faults="")
    kept = [cell for cell in tracked if cell.has_migrated]
    needed(kept, "a VF that is tracked and kept until the stop, and a migration that completes")
    given_up = evidence.completed(is_given_up, faults="")
    pairs = paired(kept, needed(given_up, "a VF that is given up for the time of the migration"))
    findings = [_finding(evidence, cell, other) for cell, other in pairs]
    if not findings:
        raise NotEnough("no run of both with the same work")
    axes = (
        "dma_visible_by",
        "workload.rate_bps",
        "migration.downtime_limit_ns",
        "guest.memory_bytes",
        "driver.page_reuse",
    )
    stuck = len(paired([cell for cell in tracked if not cell.has_migrated], given_up))
    remark = f"In {stuck} more cells only the VF given up ever completed its migration." if stuck else ""
    return Judgement(findings, axes, remark, subject=len(tracked))


def _finding(evidence: Evidence, cell: Cell, other: Cell) -> Finding:
    kept, given_up = (_passages(evidence, each) for each in (cell, other))
    span_ms = max((each.span_ms for each in (*kept, *given_up)), default=0.0)
    own, others = ([each.missed_mb(span_ms) for each in passages] for passages in (kept, given_up))
    measures = {
        ("not delivered with the VF kept", "MB"): median(own) if own else math.nan,
        ("given up", "MB"): median(others) if others else math.nan,
        ("longest gap with the VF kept", "ms"): cell.median("service_gap_ms"),
        ("longest gap given up", "ms"): other.median("service_gap_ms"),
    }
    holds = _loses_less(own, others)
    if holds and not sends_as_much(cell, other, 1 / WORTH_IT, "_migrating"):
        holds = False
    return Finding(holds, (cell, other), measures)


def _loses_less(own: list[float], others: list[float]) -> bool | None:
    if not own or not others:
        return None
    if min(*own, *others) <= 0:  # there is no ratio where nothing was lost
        return WORTH_IT * median(own) < median(others)
    return exceeds(others, own, WORTH_IT)


@dataclass(frozen=True)
class Passage:
    """One repeat from the start of its migration to its end."""

    span_ms: float
    missed_packets: float
    steady_missed_per_ms: float
    bytes_per_packet: float

    def missed_mb(self, span_ms: float) -> float:
        """Bytes on the wire that were offered within ``span_ms`` and not delivered.

        A run that ended earlier is taken to go on as in its steady state.
        """
        packets = self.missed_packets + (span_ms - self.span_ms) * self.steady_missed_per_ms
        return packets * self.bytes_per_packet / MB


def _passages(evidence: Evidence, cell: Cell) -> list[Passage]:
    """Of each repeat that has a steady state in which something was delivered."""
    return [found for rows in evidence.intervals_of(cell) if (found := _passage(rows)) is not None]


def _passage(intervals: pandas.DataFrame) -> Passage | None:
    steady = intervals[intervals["phase"] == "steady"]
    since = intervals[intervals["phase"] != "steady"]
    delivered = float(steady["packets_delivered"].sum())
    if delivered == 0 or since.empty:
        return None
    bytes_on_wire = float((steady["gbps"] * steady["length_ms"]).sum()) * 1e6 / 8
    return Passage(
        span_ms=float(since["length_ms"].sum()),
        missed_packets=_missed(since),
        steady_missed_per_ms=max(0.0, _missed(steady)) / float(steady["length_ms"].sum()),
        bytes_per_packet=bytes_on_wire / delivered,
    )


def _missed(intervals: pandas.DataFrame) -> float:
    return float(intervals["packets_offered"].sum() - intervals["packets_delivered"].sum())


CLAIM = Claim(
    id="C11",
    text="Keeping the VF through pre-copy is worth the trouble.",
    source="linux-pci, October 2015: against unplugging the VF for the migration",
    settled_by="bytes delivered over the whole migration plus the blackout, against falling back to virtio-net",
    rule=judge,
    advice={
        "holds": "keep the VF up to the stop.",
        "fails": "give the VF up for the migration: it is simpler and nothing is lost by it.",
        "holds-within": "keep the VF up to the stop {holds}; {fails} give it up, which loses no more.",
    },
)
