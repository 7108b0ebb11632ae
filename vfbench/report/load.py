"""What was offered in the steady state, and how much of it was carried: no figure means anything without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from vfbench.records import Record
from vfbench.report.groups import Group
from vfbench.report.numbers import number, percent

CARRIED = 0.99
"""This share or more of what was offered counts as carried; the rest is in flight where the phase ends."""


@dataclass(frozen=True)
class Load:
    """Of a run's steady state: packets offered and delivered in it, and their rates."""

    carried: float
    """Delivered over offered, 1 at most: a queue that empties delivers more than came meanwhile."""
    offered_gbps: float
    offered_mpps: float
    share_of_link: float


def load_of(record: Record) -> Load | None:
    """None where the timeline was not kept, or nothing was delivered."""
    steady = [row for row in record.intervals if row["phase"] == "steady"]
    offered = sum(_number(row["packets_offered"]) for row in steady)
    delivered = sum(_number(row["packets_delivered"]) for row in steady)
    length_ms = sum(_number(row["length_ms"]) for row in steady)
    gbps = record.run.get("gbps")
    if not offered or not delivered or not length_ms or not isinstance(gbps, int | float):
        return None
    carried = delivered / offered
    link = record.settings.get("link.rate_bps")
    gbps_offered = gbps / carried
    share = gbps_offered * 1e9 / link if isinstance(link, int | float) and link else 0.0
    return Load(min(1.0, carried), gbps_offered, offered / length_ms / 1e3, share)


def carried(records: Iterable[Record]) -> float | None:
    """The least of the runs that say it: a run that was overloaded is not to be hidden by others."""
    found = [load.carried for record in records if (load := load_of(record)) is not None]
    return min(found, default=None)


def offered(groups: Sequence[Group]) -> str:
    """`2.00 Gb/s, 20 % of the link (0.655 Mpackets/s); carried 100 %`; empty where no run says."""
    loads = [load for group in groups for each in group.measured if (load := load_of(each)) is not None]
    if not loads:
        return ""
    gbps = _range([load.offered_gbps for load in loads])
    mpps = _range([load.offered_mpps for load in loads])
    link = median(load.share_of_link for load in loads)
    least, most = min(load.carried for load in loads), max(load.carried for load in loads)
    took = percent(least) if percent(least) == percent(most) else f"{percent(least)} to {percent(most)}"
    return f"{gbps} Gb/s, {percent(link)} of the link ({mpps} Mpackets/s); carried {took} of it"


def overloaded(groups: Sequence[Group]) -> list[tuple[Group, float]]:
    """The groups that carried less than was offered, with the share that they carried."""
    found = [(group, carried(group.measured)) for group in groups]
    return [(group, share) for group, share in found if share is not None and share < CARRIED]


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    close = max(values) <= 1.02 * min(values)
    return number(median(values)) if low == high or close else f"{low} to {high}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 0.0
