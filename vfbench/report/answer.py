"""The answer in a few sentences, each drawn from the records: what arrived whole, and at what price."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vfbench.records.damage import DAMAGED, WHOLE
from vfbench.report.groups import Group
from vfbench.report.scenarios import Scenario
from vfbench.report.watched import GBPS, LATENCY_P99, SERVICE_GAP, WATCHED, Watched
from vfbench.statistics import compare, estimate

MOST_NAMED = 6
"""A sentence that names more variants than this is read by nobody: the best and the worst are named then."""

RANKED = (
    (GBPS, "the most in the steady state"),
    (next(each for each in WATCHED if each.measure == "gbps_migrating"), "the most while migrating"),
    (LATENCY_P99, "the lowest 99th percentile of latency"),
    (SERVICE_GAP, "the shortest gap in the packets that the peer sees"),
    (next(each for each in WATCHED if each.measure == "resent_bytes"), "the least sent again"),
)


@dataclass(frozen=True)
class Answer:
    """`facts`: what ran and what arrived. `ranking`: who is best at what, among those that `among` says."""

    facts: tuple[str, ...]
    among: str = ""
    ranking: tuple[str, ...] = ()


def answer(scenario: Scenario) -> Answer:
    """Sentences on one scenario; what isn't known is said, not left out."""
    facts = [_what_ran(scenario), *_ended_otherwise(scenario.groups)]
    measured = [group for group in scenario.groups if group.measured]
    if not measured:
        return Answer((*facts, "No run was measured."))
    whole = [group for group in measured if group.damage.verdict == WHOLE]
    facts += _arrived(measured, whole)
    if all(len(group.records) == 1 for group in scenario.groups):
        facts.append("Each ran once: how far repeats would spread is not known.")
    if scenario.functional:
        facts.append("Guest code was emulated: times and throughput don't count and are left out.")
    among = "Of those that arrived whole" if len(whole) < len(measured) else "Of these"
    typical = scenario.typical
    if typical is not scenario:
        among += ", the plainest variant of each strategy"
    ranked = [group for group in typical.groups if group in whole]
    ranking = [sentence for watched, best in RANKED for sentence in _ranking(watched, best, ranked)]
    return Answer(tuple(facts), among, tuple(ranking))


def _what_ran(scenario: Scenario) -> str:
    names = {str(group.first.run["strategy"]) for group in scenario.groups}
    what = _counted(len(names), "strategy", "strategies")
    if len(scenario.groups) > len(names):
        what += f" in {len(scenario.groups)} variants"
    workload = scenario.groups[0].first.run["workload"]
    runs = _counted(len(scenario.records), "run", "runs")
    return f"{runs} of {what} under workload {workload} on testbed {scenario.testbed}."


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _ended_otherwise(groups: Iterable[Group]) -> Iterable[str]:
    otherwise = [group for group in groups if group.states != "ok"]
    if len(otherwise) > MOST_NAMED:
        yield f"{len(otherwise)} variants did not end ok in every run; the table says which."
        return
    for group in otherwise:
        yield f"{group.label} ended {group.states}."


def _arrived(measured: Sequence[Group], whole: Sequence[Group]) -> Iterable[str]:
    unknown = [group for group in measured if group.damage.verdict is None]
    if unknown:
        yield f"Whether memory arrived whole is not known of {_names(unknown)}."
    damaged = [group for group in measured if group.damage.verdict == DAMAGED]
    if len(damaged) > MOST_NAMED:
        yield f"{len(damaged)} of {len(measured)} variants damaged what they migrated; the table says which."
    else:
        for group in damaged:
            yield f"{group.label} is {group.damage}."
    if whole:
        everything = "Every strategy" if len(whole) == len(measured) else _names(whole)
        yield f"{everything} arrived {WHOLE}: no stale page, no corrupted packet in any run that was compared."


def _names(groups: Sequence[Group]) -> str:
    if len(groups) > MOST_NAMED:
        return f"{len(groups)} variants"
    names = [group.label for group in groups]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ranking(watched: Watched, best: str, groups: Sequence[Group]) -> Iterable[str]:
    """`a has the shortest gap: 24.2 ms; b 12 % more, c the same.`"""
    found = [(values, group) for group in groups if (values := watched.values(group.measured))]
    if len(found) < 2:
        return
    sign = -1 if watched.better == "higher" else 1
    found.sort(key=lambda each: sign * estimate(each[0]).median)
    (first, leader), *others = found
    if len(others) > MOST_NAMED:
        others = others[-1:]
    against = ", ".join(f"{group.label} {_against(values, first)}" for values, group in others)
    top = watched.with_unit(estimate(first).median)
    verb = "delivers" if watched.measure.startswith("gbps") else "has"
    yield f"{leader.label} {verb} {best}: {top}; {against}."


def _against(values: list[float], first: list[float]) -> str:
    found = compare(values, first)
    if math.isnan(found.ratio.ratio):
        return f"{estimate(values).median:,.4g}"
    if found.outcome == "same" or abs(found.ratio.ratio - 1) < 0.0005:
        return "the same"
    share = abs(found.ratio.ratio - 1)
    times = found.ratio.ratio >= 3
    change = f"{found.ratio.ratio:.3g} times that" if times else _percent(share)
    direction = "" if times else (" more" if found.ratio.ratio > 1 else " less")
    unsure = found.outcome == "unclear" and found.ratio.low <= 1 <= found.ratio.high
    return f"{change}{direction}" + (" (the repeats can't tell)" if unsure else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
