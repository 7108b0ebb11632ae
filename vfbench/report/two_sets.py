"""Two result sets side by side, and a gate on what got worse."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vfbench.errors import UserError
from vfbench.records import Record
from vfbench.records.damage import Damage
from vfbench.report.groups import Group, grouped, labels
from vfbench.report.groups import aspects_of_record as aspects
from vfbench.report.provenance import environment_lines, profiles
from vfbench.report.watched import WATCHED, Watched
from vfbench.statistics import compare, estimate

COMPARED = WATCHED
"""The measures that the gate watches; each says which way is better. Damage is a verdict of its own."""
MOST_COSTS = 8


@dataclass(frozen=True)
class Change:
    """A measure of one experiment in both sets. `worse_by` is a share of A: negative is better, inf from zero."""

    measure: str
    unit: str
    before: float
    after: float
    worse_by: float
    outcome: str
    fails: bool


@dataclass(frozen=True)
class Pair:
    """An experiment that is in both sets, seeds aside."""

    label: str
    damage: tuple[Damage, Damage]
    states: tuple[str, str]
    runs: tuple[int, int]
    changes: tuple[Change, ...]
    state_fails: bool
    damage_fails: bool

    @property
    def fails(self) -> bool:
        """Whether the gate stops it."""
        return self.state_fails or self.damage_fails or any(change.fails for change in self.changes)


@dataclass(frozen=True)
class SideBySide:
    """What both sets hold, what only one holds, and where their environments differ."""

    pairs: tuple[Pair, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    differences: tuple[str, ...]
    fail_over: float | None

    @property
    def failing(self) -> bool:
        """Whether the gate stops anything."""
        return self.fail_over is not None and any(pair.fails for pair in self.pairs)


def side_by_side(
    before: Sequence[Record], after: Sequence[Record], fail_over: float | None = None
) -> SideBySide:
    """Match by the work: experiment without seed and profile; UserError if nothing matches.

    Where one set has the same work under several profiles, the profile's name must agree as well.
    """
    sides = [grouped(before), grouped(after)]
    by_profile = any(len({_work(group) for group in side}) < len(side) for side in sides)

    def _key(group: Group) -> str:
        return _work(group) + (str(group.first.run["profile"]) if by_profile else "")

    first, second = ({_key(group): group for group in side} for side in sides)
    shared = [key for key in first if key in second]
    if not shared:
        raise UserError(
            f"nothing matches: none of the {len(first)} experiments of A is among the {len(second)} of B "
            "(strategy, workload, testbed and every setting must agree; seeds and profiles may differ)"
        )
    everything = [*first.values(), *(group for key, group in second.items() if key not in first)]
    named = labels([aspects(group.first) for group in everything])
    label = {_key(group): text for group, text in zip(everything, named, strict=True)}
    return SideBySide(
        tuple(_pair(label[key], first[key], second[key], fail_over) for key in shared),
        tuple(label[key] for key in first if key not in second),
        tuple(label[key] for key in second if key not in first),
        tuple(_differences(before, after)),
        fail_over,
    )


def _work(group: Group) -> str:
    """What both machines must have done alike; what it cost them is what is compared."""
    experiment = group.first.manifest["experiment"]
    work = {name: value for name, value in experiment.items() if name not in ("seed", "profile")}
    return json.dumps(work, sort_keys=True)


def _pair(label: str, before: Group, after: Group, fail_over: float | None) -> Pair:
    changes = [_change(each, before, after, fail_over) for each in COMPARED]
    share = [len(group.measured) / len(group.records) for group in (before, after)]
    return Pair(
        label,
        (before.damage, after.damage),
        (before.states, after.states),
        (len(before.records), len(after.records)),
        tuple(change for change in changes if change is not None),
        fail_over is not None and share[1] < share[0],
        fail_over is not None and _is_worse(before.damage, after.damage),
    )


def _change(watched: Watched, before: Group, after: Group, fail_over: float | None) -> Change | None:
    old, new = watched.values(before.measured), watched.values(after.measured)
    if not old or not new:
        return None
    a, b = estimate(old).median, estimate(new).median
    worse = (b - a) if watched.better == "lower" else (a - b)
    share = worse / abs(a) if a else math.copysign(math.inf, worse) if worse else 0.0
    fails = fail_over is not None and share > fail_over
    return Change(watched.measure, watched.unit, a, b, share, compare(new, old).outcome, fails)


def _is_worse(before: Damage, after: Damage) -> bool:
    """More of the runs are damaged, or more is in the worst of them."""
    if after.damaged * max(1, before.runs) > before.damaged * max(1, after.runs):
        return True
    return any(count > before.worst.get(name, 0) for name, count in after.worst.items())


def _differences(before: Sequence[Record], after: Sequence[Record]) -> Iterable[str]:
    """Environment and profile, where the sets don't agree; what varies within a set is given in full."""
    a, b = _surroundings(before), _surroundings(after)
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield f"{name}: {_all(a.get(name))} in A, {_all(b.get(name))} in B"
    yield from _costs_that_differ(before, after)


def _costs_that_differ(before: Sequence[Record], after: Sequence[Record]) -> Iterable[str]:
    """Cost by cost, of the first profile of each side: a difference in results is to be held against these."""
    a, b = (next((dict(costs.figures) for costs in profiles(side)), {}) for side in (before, after))
    found = [
        f"{name} {_cost(a.get(name))} in A, {_cost(b.get(name))} in B"
        for name in dict.fromkeys([*a, *b])
        if _cost(a.get(name)) != _cost(b.get(name))
    ]
    if found:
        more = f" and {len(found) - MOST_COSTS} more" if len(found) > MOST_COSTS else ""
        yield f"costs, {len(found)} of {len({*a, *b})}: {'; '.join(found[:MOST_COSTS])}{more}"


def _cost(figure: dict[str, Any] | None) -> str:
    return "none" if figure is None else f"{figure.get('value'):g} {figure.get('unit')}"


def _surroundings(records: Sequence[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        profile = record.manifest["profile"]
        lines = [*environment_lines(record.manifest["environment"])]
        for name, text in [*lines, ("profile digest", str(profile.get("digest"))[:12])]:
            found.setdefault(name, set()).add(text)
    return found


def _all(texts: set[str] | None) -> str:
    return ", ".join(sorted(texts or {"none"}))


def describe(found: SideBySide) -> Iterable[str]:
    """Lines for a terminal."""
    for difference in found.differences:
        yield f"warning: environments differ: {difference}"
    for where, names in (("A", found.only_before), ("B", found.only_after)):
        for label in names:
            yield f"only in {where}: {label}"
    for pair in found.pairs:
        yield ""
        yield f"{pair.label}: {pair.runs[0]} and {pair.runs[1]} runs, {pair.states[0]} and {pair.states[1]}"
        a, b = map(str, pair.damage)
        yield f"  {f'{a} in both' if a == b else f'A {a}, B {b}'}{'  FAILS' if pair.damage_fails else ''}"
        if pair.state_fails:
            yield "  FAILS  fewer of its runs were measured"
        for change in pair.changes:
            yield _line(change)
    if found.fail_over is not None:
        yield ""
        yield _gate(found)


def _line(change: Change) -> str:
    watched = next(each for each in COMPARED if each.measure == change.measure)
    values = f"{watched.with_unit(change.before):>16} {watched.with_unit(change.after):>16}"
    mark = "  FAILS" if change.fails else ""
    return f"  {watched.title:<26} {values}  {_worse(change)}{mark}"


def _worse(change: Change) -> str:
    if change.worse_by == 0:
        return "equal"
    word = "worse" if change.worse_by > 0 else "better"
    if math.isinf(change.worse_by):
        return f"{word} (from zero)"
    note = "" if change.outcome in ("higher", "lower") else f" ({change.outcome} by its repeats)"
    return f"{abs(change.worse_by):.1%} {word}{note}"


def _gate(found: SideBySide) -> str:
    limit = f"{found.fail_over:.3g}" if found.fail_over is None else f"{found.fail_over:.3%}"
    limit = limit.rstrip("%").rstrip("0").rstrip(".") + " %"
    failing = [pair for pair in found.pairs if pair.fails]
    if not failing:
        return f"gate passed: nothing is worse by more than {limit}"
    count = sum(change.fails for pair in failing for change in pair.changes) + sum(
        pair.state_fails + pair.damage_fails for pair in failing
    )
    return f"gate failed: {count} measures of {len(failing)} experiments are worse by more than {limit}"


def json_document(found: SideBySide) -> str:
    """Everything above as one document; an infinite share is the text `inf`."""
    document = {**asdict(found), "failing": found.failing}
    for shown, pair in zip(document["pairs"], found.pairs, strict=True):
        shown["damage"] = [each.to_json() for each in pair.damage]
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
