"""Which strategy where: by workload and direction down, by frame size across, the fastest that arrived whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from vfbench.records.damage import WHOLE
from vfbench.report.groups import Group, setting_text
from vfbench.report.scenarios import Scenario
from vfbench.report.watched import GBPS, PROCESSOR_TIME

LEVEL = 0.01
"""Within this share of the fastest a strategy is level with it; of these the cheapest wins, and of those that cost the
same, by this share as well, the one with the shortest gap."""

CHEAPEST, SHORTEST = "least processor time", "shortest gap"
FEWEST_SCENARIOS = 2
MIXED = "mixed"


@dataclass(frozen=True)
class Choice:
    """What to take in one field of the map; `strategy` is empty where none arrived whole."""

    strategy: str
    won: int
    scenarios: int
    why: str
    """`12 % faster than the next`, `level, least processor time`, or `level, shortest gap`."""


@dataclass(frozen=True)
class DecisionMap:
    """`fields` by row and column; a field without scenarios is missing."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    fields: dict[tuple[str, str], Choice]


def decision_map(found: Sequence[Scenario]) -> DecisionMap | None:
    """Over the scenarios in which two strategies or more ran; None where these are too few for a map."""
    shared = [each for each in found if not each.functional and len(_plain(each)) > 1]
    if len(shared) < FEWEST_SCENARIOS:
        return None
    places: dict[tuple[str, str], list[Scenario]] = {}
    for each in shared:
        places.setdefault((_row(each), _column(each)), []).append(each)
    rows = tuple(dict.fromkeys(row for row, _ in places))
    columns = tuple(sorted({column for _, column in places}, key=_size))
    return DecisionMap(rows, columns, {place: _choice(each) for place, each in places.items()})


def _row(scenario: Scenario) -> str:
    first = scenario.groups[0].first
    sends = first.settings.get("workload.send_ratio")
    direction = "" if not isinstance(sends, int | float) else ", receiving" if sends == 0 else ", sending too"
    return f"{first.run['workload']}{direction}"


def _column(scenario: Scenario) -> str:
    size = scenario.groups[0].first.settings.get("workload.frame_bytes")
    return setting_text("frame_bytes", size) if isinstance(size, int) else MIXED


def _size(column: str) -> tuple[bool, int, str]:
    digits = "".join(letter for letter in column if letter.isdigit())
    return column == MIXED, int(digits or 0), column


def _plain(scenario: Scenario) -> list[Group]:
    return [group for group in scenario.plainest.groups if GBPS.values(group.measured)]


def _choice(scenarios: Sequence[Scenario]) -> Choice:
    won: Counter[str] = Counter()
    why: dict[str, list[tuple[float, str]]] = {}
    for each in scenarios:
        whole = [group for group in _plain(each) if group.damage.verdict == WHOLE]
        if whole:
            best, margin, by = _best(whole)
            won[best] += 1
            why.setdefault(best, []).append((margin, by))
    if not won:
        return Choice("", 0, len(scenarios), "none arrived whole")
    name, count = won.most_common(1)[0]
    margin = median(margin for margin, _ in why[name])
    by = Counter(by for _, by in why[name]).most_common(1)[0][0]
    words = f"{100 * margin:.0f} % faster than the next" if margin > LEVEL else f"level, {by}"
    return Choice(name, count, len(scenarios), words)


def _best(whole: Sequence[Group]) -> tuple[str, float, str]:
    """The fastest, and by how much; of several that are level, by nothing, what decided between them."""
    rates = {str(group.first.run["strategy"]): median(GBPS.values(group.measured)) for group in whole}
    fastest = max(rates.values())
    level = [group for group in whole if rates[str(group.first.run["strategy"])] >= (1 - LEVEL) * fastest]
    if len(level) > 1:
        least = min(_cost(group) for group in level)
        cheap = [group for group in level if _cost(group) <= (1 + LEVEL) * least]
        by = CHEAPEST if len(cheap) == 1 else SHORTEST
        return str(min(cheap, key=_gap).first.run["strategy"]), 0.0, by
    name = str(level[0].first.run["strategy"])
    others = [rate for other, rate in rates.items() if other != name]
    next_best = max(others, default=0.0)
    return name, (fastest / next_best - 1) if next_best else 1.0, CHEAPEST


def _gap(group: Group) -> float:
    gap_ms = group.median("service_gap_ms")
    return float("inf") if gap_ms is None else gap_ms


def _cost(group: Group) -> float:
    values = PROCESSOR_TIME.values(group.measured)
    return median(values) if values else float("inf")
