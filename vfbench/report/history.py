"""Result sets over time: the same experiments again and again, and where one got worse (asv's view)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfbench.errors import UserError
from vfbench.records import Record, read_records
from vfbench.records.damage import Damage
from vfbench.report.blocks import Column, rendered, wrap
from vfbench.report.groups import Group, grouped, labels
from vfbench.report.groups import aspects_of_record as aspects
from vfbench.report.result_sets import set_folders
from vfbench.report.watched import GBPS, LATENCY_P99, PROCESSOR_TIME, RESENT, SERVICE_GAP, WATCHED, Watched
from vfbench.statistics import ratio

SHOWN = (GBPS, SERVICE_GAP, PROCESSOR_TIME, RESENT, LATENCY_P99)
COMMIT_DIGITS = 10


@dataclass(frozen=True)
class Point:
    """An experiment in one result set; `worse` names the measures that regressed since the point before."""

    name: str
    started: str
    commit: str
    group: Group
    worse: tuple[str, ...] = ()

    @property
    def damage(self) -> Damage:
        """Over its repeats."""
        return self.group.damage


@dataclass(frozen=True)
class Course:
    """An experiment over all sets that have it, the oldest first."""

    label: str
    points: tuple[Point, ...]


def courses(root: Path, threshold: float, only: Sequence[str] = ()) -> list[Course]:
    """Of every experiment that is in two sets or more. UserError for a folder with fewer than two sets."""
    folders = set_folders(root)
    if len(folders) < 2:
        raise UserError(f"{str(root)!r} holds {len(folders)} result sets; a history takes two or more")
    found: dict[str, list[Point]] = {}
    for folder in folders:
        for group in grouped(read_records(folder)):
            if not only or group.first.run["strategy"] in only:
                found.setdefault(_work(group), []).append(_point(folder.name, group))
    several = [points for points in found.values() if len(points) > 1]
    if not several:
        raise UserError(f"no experiment is in two of the {len(folders)} sets in {str(root)!r}")
    named = labels([aspects(points[-1].group.first) for points in several])
    return [
        Course(label, tuple(_marked(sorted(points, key=lambda point: point.started), threshold)))
        for label, points in zip(named, several, strict=True)
    ]


def _work(group: Group) -> str:
    """Seed, profile and sources may differ: they are what a history is about."""
    experiment = group.first.manifest["experiment"]
    return json.dumps(
        {key: value for key, value in experiment.items() if key not in ("seed", "profile")}, sort_keys=True
    )


def _point(name: str, group: Group) -> Point:
    return Point(name, str(group.first.manifest["started"]), _commit(group.first), group)


def _commit(record: Record) -> str:
    """The commit that was checked out, or else a digest of the sources."""
    environment = record.manifest["environment"]
    commit = environment.get("git_commit")
    if isinstance(commit, str):
        return commit[:COMMIT_DIGITS] + ("+" if commit.endswith("-dirty") else "")
    return f"src {str(environment.get('source_hash'))[:COMMIT_DIGITS]}"


def _marked(points: Sequence[Point], threshold: float) -> Iterable[Point]:
    yield points[0]
    for before, after in itertools.pairwise(points):
        worse = [*_damage_worse(before, after), *_measures_worse(before, after, threshold)]
        yield Point(after.name, after.started, after.commit, after.group, tuple(worse))


def _damage_worse(before: Point, after: Point) -> Iterable[str]:
    share = [point.damage.damaged / max(1, point.damage.runs) for point in (before, after)]
    if share[1] > share[0]:
        yield "damage"
    if before.group.measured and not after.group.measured:
        yield "state"


def _measures_worse(before: Point, after: Point, threshold: float) -> Iterable[str]:
    for watched in WATCHED:
        old, new = watched.values(before.group.measured), watched.values(after.group.measured)
        if old and new and _is_worse(watched, old, new, threshold):
            yield watched.title


def _is_worse(watched: Watched, old: list[float], new: list[float], threshold: float) -> bool:
    """Beyond the threshold, and not within what the repeats spread; more than nothing is worse than nothing."""
    found = ratio(new, old)
    sign = 1 if watched.better == "lower" else -1
    if found.ratio != found.ratio:
        return sign * (sorted(new)[len(new) // 2] - sorted(old)[len(old) // 2]) > 0
    if found.low <= 1 <= found.high:
        return False
    return sign * (found.ratio - 1) > threshold


def history_lines(found: Sequence[Course], width: int) -> Iterable[str]:
    """A table for each experiment, the latest last; a row that regressed says in what."""
    for course in found:
        points = course.points
        yield from wrap(course.label, width)
        columns = [
            Column("verdict", tuple(point.damage.short for point in points), left=True),
            Column("commit", tuple(point.commit for point in points), left=True),
            Column("date (UTC)", tuple(point.started[:10] for point in points), left=True),
            *(_measure(watched, points) for watched in SHOWN),
            Column("regressed", tuple("; ".join(point.worse) for point in points), left=True),
        ]
        yield from rendered([point.name for point in points], columns, width, bold=False, lead="result set")
        yield ""
    regressed = [course for course in found if course.points[-1].worse]
    count = f"{len(regressed)} of {len(found)} experiments" if regressed else "None"
    yield from wrap(f"{count} regressed in the latest set that has them.", width)


def _measure(watched: Watched, points: Sequence[Point]) -> Column:
    title = f"{watched.title}\n{watched.unit}" if watched.unit else watched.title
    values = [watched.values(point.group.measured) for point in points]
    return Column(
        title, tuple(watched.text(sorted(each)[len(each) // 2]) if each else "-" for each in values)
    )


def history_document(found: Sequence[Course]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [
        {
            "experiment": course.label,
            "points": [
                {
                    "set": point.name,
                    "started": point.started,
                    "commit": point.commit,
                    "integrity": point.damage.to_json(),
                    "medians": {each.measure: point.group.median(each.measure) for each in WATCHED},
                    "regressed": list(point.worse),
                }
                for point in course.points
            ],
        }
        for course in found
    ]
