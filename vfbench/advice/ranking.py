"""Ranking what was run by what the user says matters, and what would turn the ranking.

Each criterion gives a strategy a penalty from 0 (as good as the best) towards 1. Downtime and host CPU: 1 - best / own.
Throughput: 1 - own / best. Risk: a step for each thing that no stock system has, each capability that is hypothetical,
and a migration that did not converge, over the most that any has. The score is the mean of the penalties by weight.
What arrived damaged is not ranked at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from vfbench.advice.ways import Way
from vfbench.errors import UserError
from vfbench.records.damage import DAMAGED, damage

CRITERIA: Final = ("downtime", "throughput", "host-cpu", "risk")
"""What may matter; the order is the default weight, each half of the one before."""
MORE_IS_BETTER: Final = ("throughput",)
UNITS: Final = {"downtime": "ms", "throughput": "Gb/s", "host-cpu": "cycles/packet", "risk": "steps"}
LARGEST_FACTOR: Final = 100.0
"""A weight that would have to be changed by more than this does not turn anything that a reader can use."""


@dataclass(frozen=True)
class Measured:
    """What was found of a strategy, over its repeats: the worst downtime, the medians of the rest.

    `downtime_ms` is the longest time without service or without the guest, whichever is more. `damaged` says what
    arrived wrong, in words; empty if nothing did.
    """

    way: Way
    downtime_ms: float
    gbps: float
    host_cycles_per_packet: float
    converged: bool
    damaged: str = ""

    @property
    def risk(self) -> int:
        """Steps: unmerged changes, hypothetical capabilities, a migration that did not converge."""
        return len(self.way.unmerged) + len(self.way.hypothetical) + (not self.converged)

    def value(self, criterion: str) -> float:
        """The figure of a criterion, in its unit."""
        figures = {
            "downtime": self.downtime_ms,
            "throughput": self.gbps,
            "host-cpu": self.host_cycles_per_packet,
            "risk": float(self.risk),
        }
        return figures[criterion]


@dataclass(frozen=True)
class Place:
    """A strategy in the ranking; `penalties` by criterion, `score` 0 for one that is best in everything."""

    measured: Measured
    penalties: Mapping[str, float]
    score: float

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        figures = {name: _finite(self.measured.value(name)) for name in CRITERIA}
        return {
            "strategy": self.measured.way.strategy,
            "score": self.score,
            "figures": figures,
            "penalties": dict(self.penalties),
        }


def weights_of(text: str) -> dict[str, float]:
    """`downtime,risk`: each counts half of the one before; `downtime=3,risk=1`: as given. UserError for another word.

    A criterion that is left out does not count.
    """
    weights: dict[str, float] = {}
    words = [word.strip() for word in text.split(",") if word.strip()]
    for number, word in enumerate(words):
        name, equals, given = word.partition("=")
        if name not in CRITERIA or name in weights:
            raise UserError(
                f"--weigh {word!r}: give each of {', '.join(CRITERIA)} once at most, like downtime,risk"
            )
        weights[name] = _weight(word, given) if equals else 0.5**number
    if not weights or not any(weights.values()):
        raise UserError(f"--weigh {text!r}: name what matters, of {', '.join(CRITERIA)}")
    return weights


def measured_of(way: Way, rows: Sequence[Mapping[str, Any]]) -> Measured:
    """From the rows of a strategy's runs, repeats of one experiment."""
    found = damage(rows)
    worst = max(max(_number(row, "downtime_ms"), _number(row, "service_gap_ms")) for row in rows)
    return Measured(
        way,
        worst,
        _median(
            min(_number(row, "gbps"), _number(row, "gbps_migrating", _number(row, "gbps"))) for row in rows
        ),
        _median(_number(row, "host_cycles_per_packet") for row in rows),
        all(row.get("state") == "ok" for row in rows),
        _in_words(found) if found.verdict == DAMAGED else "",
    )


def ranked(measured: Iterable[Measured], weights: Mapping[str, float]) -> tuple[Place, ...]:
    """The best first; without those that arrived damaged, and with those that never converged last."""
    sound = [each for each in measured if not each.damaged]
    best = {name: _best(name, sound) for name in CRITERIA}
    most_risk = max((each.risk for each in sound), default=0)
    places = []
    for each in sound:
        penalties = {name: _penalty(name, each, best[name], most_risk) for name in weights}
        total = sum(weights.values())
        places.append(
            Place(each, penalties, sum(weights[name] * penalties[name] for name in weights) / total)
        )
    return tuple(sorted(places, key=lambda place: (not place.measured.converged, place.score)))


def turning(places: Sequence[Place], weights: Mapping[str, float]) -> Iterator[str]:
    """What would put another first: a criterion that counts more or less, or a figure that is better or worse."""
    if len(places) < 2:
        return
    first = places[0]
    for other in places[1:]:
        if not other.measured.converged:
            yield f"{other.measured.way.strategy} first: never, it did not converge under this load"
            continue
        ways = [*_by_weight(first, other, weights), *_by_figure(places, other, weights)]
        name = other.measured.way.strategy
        yield (
            f"{name} first: if {'; or if '.join(ways)}"
            if ways
            else f"{name} first: by no weight or figure alone"
        )


def _by_weight(first: Place, other: Place, weights: Mapping[str, float]) -> Iterator[str]:
    """The weight of one criterion at which both score the same, the others as they are."""
    for name, weight in weights.items():
        apart = first.penalties[name] - other.penalties[name]
        rest = sum(
            weights[each] * (first.penalties[each] - other.penalties[each])
            for each in weights
            if each != name
        )
        if apart == 0 or weight == 0:
            continue
        factor = -rest / (apart * weight)
        if 0 < factor < LARGEST_FACTOR and not math.isclose(factor, 1):
            yield (
                f"{name} counts {factor:.2g} times as much"
                if factor > 1
                else f"{name} counts {factor:.0%} of that"
            )


def _by_figure(places: Sequence[Place], other: Place, weights: Mapping[str, float]) -> Iterator[str]:
    """How much worse a figure of the first must be for the other to score less, found by ranking anew."""
    first = places[0].measured
    for name in weights:
        own = first.value(name)
        if name == "risk" or own <= 0 or not math.isfinite(own):
            continue
        turn = _turn(places, other, weights, name)
        if turn is not None:
            yield f"the {name} of {first.way.strategy} were {turn:.3g} {UNITS[name]} instead of {own:.3g}"


def _turn(places: Sequence[Place], other: Place, weights: Mapping[str, float], name: str) -> float | None:
    """The figure at which the two change places, to 1 %; None where none does within LARGEST_FACTOR."""
    first = places[0].measured
    field = {"downtime": "downtime_ms", "throughput": "gbps", "host-cpu": "host_cycles_per_packet"}[name]

    def is_first_still(factor: float) -> bool:
        own = first.value(name) / factor if name in MORE_IS_BETTER else first.value(name) * factor
        change: dict[str, Any] = {field: own}
        worse = replace(first, **change)
        scores = {
            each.measured.way.strategy: each.score
            for each in ranked([worse, *(place.measured for place in places[1:])], weights)
        }
        return scores[first.way.strategy] <= scores[other.measured.way.strategy]

    low, high = 1.0, LARGEST_FACTOR
    if is_first_still(high):
        return None
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_first_still(middle) else (low, middle)
    return first.value(name) / high if name in MORE_IS_BETTER else first.value(name) * high


def _penalty(name: str, each: Measured, best: float, most_risk: int) -> float:
    own = each.value(name)
    if name == "risk":
        return own / most_risk if most_risk else 0.0
    if name in MORE_IS_BETTER:
        return 1 - own / best if best > 0 else 0.0
    if own == best:
        return 0.0
    return 1 - best / own if own > 0 and math.isfinite(own) else 1.0


def _best(name: str, measured: Sequence[Measured]) -> float:
    values = [each.value(name) for each in measured if math.isfinite(each.value(name))]
    if not values:
        return 0.0
    return max(values) if name in MORE_IS_BETTER else min(values)


def _number(row: Mapping[str, Any], name: str, without: float = 0.0) -> float:
    value = row.get(name)
    return without if value is None or value != value else float(value)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _in_words(found: Any) -> str:
    return ", ".join(f"{count:,.0f} {name.replace('_', ' ')}" for name, count in found.worst.items())


def _weight(word: str, given: str) -> float:
    try:
        weight = float(given)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1e6:
        raise UserError(f"--weigh {word!r}: give a weight from 0 to 1000000")
    return weight


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
