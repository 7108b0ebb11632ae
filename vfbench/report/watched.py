"""The measures by which runs are held against each other, and which way is better: said here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeGuard

from vfbench.records import Record
from vfbench.records.damage import KINDS
from vfbench.report.numbers import number, size, whole


@dataclass(frozen=True)
class Watched:
    """A measure, how it is shown, and which way is better.

    `timed`: it is a time or a throughput, which does not count where guest code was emulated.
    """

    measure: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    text: Callable[[float], str] = number
    timed: bool = True
    of: tuple[str, ...] = ()
    """The measures that are added up, if it is not `measure` itself."""

    def values(self, records: tuple[Record, ...] | list[Record]) -> list[float]:
        """What was measured, of the records that count for it."""
        counting = [record for record in records if not (self.timed and record.run["functional"])]
        found = [[record.run.get(name) for name in self.of or (self.measure,)] for record in counting]
        numbers = [[float(value) for value in each if _is_number(value)] for each in found]
        return [sum(each) for each in numbers if len(each) == len(self.of or (self.measure,))]

    def with_unit(self, value: float) -> str:
        """`24.2 ms`."""
        text = self.text(value)
        return text if self.text is size or not self.unit else f"{text} {self.unit}"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and math.isfinite(value)


GBPS = Watched("gbps", "throughput", "Gb/s", "higher")
GUEST_CYCLES = Watched("guest_cycles_per_packet", "guest cycles per packet", "cycles", "lower")
HOST_CYCLES = Watched("host_cycles_per_packet", "host cycles per packet", "cycles", "lower")
LATENCY_P99 = Watched("latency_p99_us", "latency p99", "us", "lower")
SERVICE_GAP = Watched("service_gap_ms", "service gap", "ms", "lower")
RESENT = Watched("resent_bytes", "re-sent", "", "lower", size, timed=False)
PROCESSOR_TIME = Watched(
    "cycles_per_packet",
    "processor time",
    "cycles/packet",
    "lower",
    of=("guest_cycles_per_packet", "host_cycles_per_packet"),
)
"""Whoever pays it: what a strategy moves from the guest to the host is not saved."""

WATCHED = (
    GBPS,
    Watched("gbps_migrating", "throughput while migrating", "Gb/s", "higher"),
    GUEST_CYCLES,
    HOST_CYCLES,
    Watched("latency_p50_us", "latency p50", "us", "lower"),
    LATENCY_P99,
    Watched("latency_p999_us", "latency p99.9", "us", "lower"),
    RESENT,
    Watched("total_time_ms", "migration", "ms", "lower"),
    Watched("downtime_ms", "downtime", "ms", "lower"),
    SERVICE_GAP,
)
"""Prices: one may be paid for another."""

_IN_FULL_ONLY = ("latency_p50_us", "latency_p999_us", "total_time_ms")
HEADLINE = tuple(each for each in WATCHED if each.measure not in _IN_FULL_ONLY)
"""Those that a page has room for."""

DAMAGE = tuple(Watched(kind.measure, kind.many, "", "lower", whole, timed=False) for kind in KINDS)
"""Wrong: what arrived is not what was sent. Anything but zero is damage."""
