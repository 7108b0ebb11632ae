"""Two result sets side by side, and a gate on what got worse.

The gate passes what it has judged and nothing else: an experiment or a measure that is in one set only, a run that
failed or did not converge, and a measure that fewer of an experiment's runs have than before, all fail it and say so.
"""

from __future__ import annotations

import json
from collections import Counter
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
    """A measure of one experiment in both sets.

    `before`, `after`: medians, None for a set that has no value. `worse_by` is a share of A, negative is better; None
    where there is none, of A's nothing or to B's. `standing`: worse, better or equal, `in A only`, `in B only`.
    """

    measure: str
    unit: str
    before: float | None
    after: float | None
    worse_by: float | None
    standing: str
    outcome: str
    fails: bool
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """An experiment that is in both sets, seeds aside."""

    label: str
    damage: tuple[Damage, Damage]
    states: tuple[str, str]
    runs: tuple[int, int]
    changes: tuple[Change, ...]
    state_fails: bool
    """Whether B has runs that failed or did not converge, and there is a gate."""
    damage_fails: bool
    state_note: str = ""

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
        """Whether the gate stops anything; what it can't judge, because it is in one set only, it stops."""
        unjudged = bool(self.only_before or self.only_after)
        return self.fail_over is not None and (unjudged or any(pair.fails for pair in self.pairs))


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

    for name, side in zip("AB", sides, strict=True):
        _check_different(name, [_key(group) for group in side], side)
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


def _check_different(name: str, keys: Sequence[str], side: Sequence[Group]) -> None:
    """UserError where two of a set's experiments have one identity: one of them would be ignored."""
    for key, group in zip(keys, side, strict=True):
        if keys.count(key) > 1:
            raise UserError(
                f"{name} holds {group.label!r} under two versions of profile {group.first.run['profile']!r}: "
                "name the result set of one"
            )


def _work(group: Group) -> str:
    """What both machines must have done alike; what it cost them is what is compared."""
    experiment = group.first.identity
    work = {name: value for name, value in experiment.items() if name not in ("seed", "profile")}
    return json.dumps(work, sort_keys=True)


def _pair(label: str, before: Group, after: Group, fail_over: float | None) -> Pair:
    changes = [_change(each, before, after, fail_over) for each in COMPARED]
    note = _ended_badly(after)
    return Pair(
        label,
        (before.damage, after.damage),
        (before.states, after.states),
        (len(before.records), len(after.records)),
        tuple(change for change in changes if change is not None),
        fail_over is not None and bool(note),
        fail_over is not None and _is_worse(before.damage, after.damage),
        note,
    )


def _ended_badly(group: Group) -> str:
    """`2 of its 3 runs in B ended not-converged`; empty if all are ok."""
    bad = Counter(str(record.run["state"]) for record in group.records if record.run["state"] != "ok")
    ended = ", ".join(f"{count} {state}" for state, count in bad.items())
    return f"of its {len(group.records)} runs in B {ended}" if bad else ""


def _change(watched: Watched, before: Group, after: Group, fail_over: float | None) -> Change | None:
    old, new = watched.values(before.measured), watched.values(after.measured)
    if not old and not new:
        return None
    if not old or not new:
        return _one_sided(watched, old, new, gated=fail_over is not None)
    a, b = estimate(old).median, estimate(new).median
    worse = (b - a) if watched.better == "lower" else (a - b)
    standing = "equal" if worse == 0 else "worse" if worse > 0 else "better"
    share = worse / abs(a) if a else None if worse else 0.0
    # From nothing to something there is no share, and none is small enough.
    over = fail_over is not None and worse > 0 and (share is None or share > fail_over)
    fewer = len(new) * len(before.records) < len(old) * len(after.records)
    note = f"{len(new)} of {len(after.records)} runs have it in B" if fewer else ""
    fails = over or (fewer and fail_over is not None)
    return Change(
        watched.measure, watched.unit, a, b, share, standing, compare(new, old).outcome, fails, note
    )


def _one_sided(watched: Watched, old: list[float], new: list[float], *, gated: bool) -> Change:
    a, b = (estimate(values).median if values else None for values in (old, new))
    where = "in A only" if old else "in B only"
    return Change(watched.measure, watched.unit, a, b, None, where, "unclear", gated)


def _is_worse(before: Damage, after: Damage) -> bool:
    """More of the runs are damaged, or more is in the worst of them, or fewer were compared so that nobody knows."""
    if after.compared * before.runs < before.compared * after.runs:
        return True
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
    mark = "" if found.fail_over is None else "  FAILS  "
    for where, names in (("A", found.only_before), ("B", found.only_after)):
        for label in names:
            yield f"{mark}only in {where}: {label}"
    for pair in found.pairs:
        yield ""
        yield f"{pair.label}: {pair.runs[0]} and {pair.runs[1]} runs, {pair.states[0]} and {pair.states[1]}"
        a, b = map(str, pair.damage)
        yield f"  {f'{a} in both' if a == b else f'A {a}, B {b}'}{'  FAILS' if pair.damage_fails else ''}"
        if pair.state_fails:
            yield f"  FAILS  {pair.state_note}"
        for change in pair.changes:
            yield _line(change)
    if found.fail_over is not None:
        yield ""
        yield _gate(found)


def _line(change: Change) -> str:
    watched = next(each for each in COMPARED if each.measure == change.measure)
    before, after = (
        "-" if value is None else watched.with_unit(value) for value in (change.before, change.after)
    )
    note = f"  {change.note}" if change.note else ""
    mark = "  FAILS" if change.fails else ""
    return f"  {watched.title:<26} {before:>16} {after:>16}  {_worse(change)}{note}{mark}"


def _worse(change: Change) -> str:
    if change.worse_by is None:
        from_zero = change.standing in ("worse", "better")
        return f"{change.standing} (from zero)" if from_zero else f"measured {change.standing}"
    if change.standing == "equal":
        return "equal"
    note = "" if change.outcome in ("higher", "lower") else f" ({change.outcome} by its repeats)"
    return f"{abs(change.worse_by):.1%} {change.standing}{note}"


def _gate(found: SideBySide) -> str:
    limit = f"{found.fail_over:.3%}".rstrip("%").rstrip("0").rstrip(".") + " %"
    reasons = tuple(_reasons(found, limit))
    if not reasons:
        return f"gate passed: nothing is worse by more than {limit}"
    return f"gate failed: {'; '.join(reasons)}"


def _reasons(found: SideBySide, limit: str) -> Iterable[str]:
    """What fails the gate, by kind."""
    failing = [change for pair in found.pairs for change in pair.changes if change.fails]
    for count, one, more in (
        (
            sum(change.standing == "worse" and not change.note for change in failing),
            f"1 measure is worse by more than {limit}",
            f"{{}} measures are worse by more than {limit}",
        ),
        (
            sum(change.standing != "worse" or bool(change.note) for change in failing),
            "1 measure is of one set only, or of fewer runs than before",
            "{} measures are of one set only, or of fewer runs than before",
        ),
        (
            sum(pair.state_fails for pair in found.pairs),
            "1 experiment has runs in B that failed or did not converge",
            "{} experiments have runs in B that failed or did not converge",
        ),
        (
            sum(pair.damage_fails for pair in found.pairs),
            "1 experiment is damaged more than before, or was not compared",
            "{} experiments are damaged more than before, or were not compared",
        ),
        (
            len(found.only_before) + len(found.only_after),
            "1 experiment is in one set only",
            "{} experiments are in one set only",
        ),
    ):
        if count:
            yield one if count == 1 else more.format(count)


def json_document(found: SideBySide) -> str:
    """Everything above as one document; a share that there is none of is null."""
    document = {**asdict(found), "failing": found.failing}
    for shown, pair in zip(document["pairs"], found.pairs, strict=True):
        shown["damage"] = [each.to_json() for each in pair.damage]
    return json.dumps(document, indent=2, allow_nan=False)
