"""The answer in three to six lines: what arrived whole, who is best at what and by how much, what the others cost.

The same lines end `bench run` and `bench show`, lead the page, and stand in the JSON document.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from vfbench.records import Record
from vfbench.records.damage import DAMAGED, WHOLE
from vfbench.report.blocks import wrap
from vfbench.report.groups import Group
from vfbench.report.scenarios import Scenario, scenarios
from vfbench.report.watched import GBPS, LATENCY_P99, PROCESSOR_TIME, RESENT, SERVICE_GAP, Watched
from vfbench.statistics import ratio

MOST_LINES = 6
NEGLIGIBLE = 0.005
"""A ratio nearer to 1 than this is called the same, however sure it is."""
MANY_TIMES = 2.0
"""From this ratio on, `x2.9` reads better than `+190 %`."""

RANKED = (
    (GBPS, "Most throughput"),
    (SERVICE_GAP, "Shortest gap"),
    (PROCESSOR_TIME, "Least CPU, guest and host"),
    (RESENT, "Least re-sent"),
    (LATENCY_P99, "Lowest latency p99"),
)
"""In the order in which they are given up where lines are few."""


@dataclass(frozen=True)
class Statement:
    """A lead, its items in order, the worst last, and what ends it; fits a line by leaving out items in the middle."""

    lead: str
    items: tuple[str, ...]
    end: str = "."
    keeps_last: bool = False
    more: str = "more"

    def fitted(self, width: int) -> str:
        """With as many items as a line of `width` holds, and how many there are besides."""
        text = self._with(len(self.items))
        kept = len(self.items)
        while len(text) > width and kept > 1:
            kept -= 1
            text = self._with(kept)
        return text

    def _with(self, kept: int) -> str:
        left_out = len(self.items) - kept
        if not left_out:
            return f"{self.lead} {', '.join(self.items)}{self.end}"
        if self.keeps_last:
            first, last = self.items[: max(0, kept - 1)], self.items[-1]
            return f"{self.lead} {', '.join([*first, f'{left_out} {self.more}', last])}{self.end}"
        return f"{self.lead} {', '.join(self.items[:kept])} and {left_out} {self.more}{self.end}"


@dataclass(frozen=True)
class Answer:
    """`integrity`: who arrived whole and who did not. `ranking`: who is best at what, of those that arrived whole."""

    integrity: tuple[Statement, ...]
    ranking: tuple[Statement, ...]

    def lines(self, width: int = 100) -> list[str]:
        """Three to six lines of `width` at most; of a narrow terminal a long name may take one more."""
        found: list[str] = []
        for statement in self.integrity:
            found += wrap(statement.fitted(width), width)
        for statement in self.ranking:
            lines = wrap(statement.fitted(width), width)
            if len(found) + len(lines) <= MOST_LINES or len(found) < len(self.integrity) + 1:
                found += lines
        return found

    @property
    def sentences(self) -> list[str]:
        """For a page, whose lines are as long as they need to be."""
        return [statement.fitted(240) for statement in (*self.integrity, *self.ranking)][:MOST_LINES]


def answer_of(records: Sequence[Record]) -> Answer:
    """Of all the runs of a command: of one scenario, or how often each is best over several."""
    found = scenarios(records)
    return answer(found[0]) if len(found) == 1 else over_several(found)


def answer(scenario: Scenario) -> Answer:
    """Of one scenario; what isn't known is said, not left out."""
    groups = scenario.groups
    whole = [group for group in groups if group.damage.verdict == WHOLE]
    ranked = [group for group in scenario.typical.groups if group in whole]
    return Answer(tuple(_integrity(groups)), tuple(_rankings(ranked, scenario)))


def over_several(found: Sequence[Scenario]) -> Answer:
    """Strategy by strategy: damaged if any scenario is, and in how many it is best of those that arrived whole."""
    names = list(dict.fromkeys(_strategy(group) for each in found for group in each.groups))
    damaged, judged = Counter[str](), Counter[str]()
    for each in found:
        verdicts = {(_strategy(group), group.damage.verdict) for group in each.groups}
        damaged.update(name for name, verdict in verdicts if verdict == DAMAGED)
        judged.update({name for name, verdict in verdicts if verdict})
    whole = [name for name in names if judged[name] and not damaged[name]]
    integrity = [Statement(f"{WHOLE} in all of {len(found)} scenarios:", tuple(whole) or ("none",))]
    if damaged:
        worst = sorted(damaged, key=lambda name: -damaged[name])
        items = tuple(f"{name} in {damaged[name]} of {judged[name]}" for name in worst)
        integrity.append(Statement(f"{DAMAGED}:", items))
    unknown = tuple(name for name in names if not judged[name])
    if unknown:
        integrity.append(Statement("Never compared:", unknown))
    return Answer(tuple(integrity), tuple(_wins(found)))


def _strategy(group: Group) -> str:
    return str(group.first.run["strategy"])


def _integrity(groups: Sequence[Group]) -> Iterable[Statement]:
    whole = [group for group in groups if group.damage.verdict == WHOLE]
    damaged = [group for group in groups if group.damage.verdict == DAMAGED]
    unknown = [group for group in groups if group.damage.verdict is None]
    yield Statement(
        f"{WHOLE}:", tuple(_partly(group) for group in whole) or ("none",), f" ({_runs(groups)})."
    )
    if damaged:
        yield _damaged(damaged)
    if unknown:
        items = tuple(f"{group.label} ({group.states})" for group in unknown)
        yield Statement("Never compared:", items)


def _damaged(damaged: Sequence[Group]) -> Statement:
    """The worst of all where there are several: each one's is in the table."""
    if len(damaged) == 1:
        return Statement(
            f"{DAMAGED}:", (f"{damaged[0].label}{str(damaged[0].damage).removeprefix(DAMAGED)}",)
        )
    items = tuple(f"{group.label} ({group.damage.damaged}/{group.damage.runs} runs)" for group in damaged)
    return Statement(f"{DAMAGED}:", items, end="; the table says what.")


def _partly(group: Group) -> str:
    """With how its runs ended, where some did otherwise than well."""
    found = group.damage
    if group.states != "ok":
        return f"{group.label} ({group.states})"
    return (
        group.label
        if found.compared == found.runs
        else f"{group.label} ({found.compared}/{found.runs} compared)"
    )


def _runs(groups: Sequence[Group]) -> str:
    counts = sorted({len(group.records) for group in groups})
    if counts == [1]:
        return "1 run each"
    return f"{counts[0]} runs each" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs each"


def _rankings(groups: Sequence[Group], scenario: Scenario) -> Iterable[Statement]:
    if not groups:
        return
    if scenario.functional:
        yield Statement("Guest code was emulated:", ("times and throughput don't count",))
    if len(groups) == 1:
        (only,) = groups
        known = [(watched, watched.values(only.measured)) for watched, _ in RANKED]
        items = tuple(f"{watched.title} {watched.with_unit(_middle(own))}" for watched, own in known if own)
        if items:
            yield Statement(f"{only.label}, the only one to rank:", items)
        return
    for watched, best in RANKED:
        found = [(group, values) for group in groups if (values := watched.values(group.measured))]
        if len(found) > 1:
            yield _ranking(watched, best, found)


def _ranking(watched: Watched, best: str, found: Sequence[tuple[Group, list[float]]]) -> Statement:
    """`Shortest gap: a 24.2 ms; b +12 %, c x3.1`; those that can't be told apart lead together."""
    sign = -1 if watched.better == "higher" else 1
    ordered = sorted(found, key=lambda each: sign * _middle(each[1]))
    (leader, first), *others = ordered
    level = [group.label for group, values in others if _same(values, first)]
    behind = [(group, values) for group, values in others if not _same(values, first)]
    top = watched.with_unit(_middle(first))
    names = leader.label if not level else f"{leader.label} = {' = '.join(level)}"
    if len(level) > 2:
        names = f"{leader.label} and {len(level)} more alike"
    if not behind:
        return Statement(f"{best}: {top},", (f"all {len(ordered)} alike",))
    items = tuple(f"{group.label} {_against(watched, values, first)}" for group, values in behind)
    return Statement(f"{best}: {names} {top};", items, keeps_last=True, more="between")


def _wins(found: Sequence[Scenario]) -> Iterable[Statement]:
    for watched, best in RANKED:
        wins: Counter[str] = Counter()
        held = 0
        for scenario in found:
            rivals: dict[str, list[float]] = {}
            for group in scenario.plainest.groups:
                if group.damage.verdict == WHOLE and (values := watched.values(group.measured)):
                    rivals.setdefault(_strategy(group), values)
            if len(rivals) > 1:
                held += 1
                top = min(
                    rivals.values(),
                    key=lambda each: (-1 if watched.better == "higher" else 1) * _middle(each),
                )
                wins.update(name for name, values in rivals.items() if _same(values, top))
        if held:
            items = tuple(f"{name} {count}" for name, count in wins.most_common())
            yield Statement(f"{best} in {held} scenarios, ties counted:", items)


def _middle(values: Sequence[float]) -> float:
    return float(median(values))


def _same(values: list[float], first: list[float]) -> bool:
    found = ratio(values, first)
    if math.isnan(found.ratio):
        return _middle(values) == _middle(first)
    return abs(found.ratio - 1) < NEGLIGIBLE or found.low <= 1 <= found.high


def _against(watched: Watched, values: list[float], first: list[float]) -> str:
    """`+12 %`, `-40 %`, `x3.1`; the figure itself where the best is 0, to which nothing has a ratio."""
    found = ratio(values, first)
    if math.isnan(found.ratio):
        return watched.with_unit(_middle(values))
    if found.ratio >= MANY_TIMES:
        return f"x{found.ratio:.2g}" if found.ratio < 100 else f"x{found.ratio:,.0f}"
    change = 100 * (found.ratio - 1)
    return f"{change:+.0f} %" if abs(change) >= 1 else f"{change:+.1f} %"
