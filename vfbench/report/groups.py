"""Repeats put together: the records that differ in nothing but their seed."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vfbench.parameters import unit_of, user_name
from vfbench.records import Record
from vfbench.records.damage import Damage, damage
from vfbench.units import format_quantity
from vfbench.untrusted import printable

MEASURED = ("ok", "not-converged")
"""Only runs in these states count towards a median."""


@dataclass(frozen=True)
class Group:
    """Repeats of one experiment, and what to call them beside the other groups."""

    label: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """Any of them: they differ in their seed only."""
        return self.records[0]

    @property
    def states(self) -> str:
        """`ok`, or `ok 4, failed 1` where the repeats ended differently."""
        counts = Counter(str(record.run["state"]) for record in self.records)
        if len(counts) == 1:
            return next(iter(counts))
        return ", ".join(f"{state} {count}" for state, count in counts.most_common())

    @property
    def measured(self) -> list[Record]:
        """The repeats that count."""
        return [record for record in self.records if record.run["state"] in MEASURED]

    @property
    def damage(self) -> Damage:
        """Of all its repeats: the worst, and in how many; a median would hide it."""
        return damage(record.run for record in self.records)

    @property
    def functional(self) -> bool:
        """Whether some run says of itself that its times and throughputs do not count."""
        return any(bool(record.run["functional"]) for record in self.records)

    @property
    def hypothetical(self) -> str:
        """What of the machine is not to be had in the profile's year, as a run says it; empty if nothing."""
        found = (record.run.get("hypothetical") for record in self.records)
        return next((str(each) for each in found if each), "")

    def median(self, measure: str) -> float | None:
        """Median over the repeats that have a value; of a yes-or-no measure the share of yes."""
        values = [record.run.get(measure) for record in self.measured]
        numbers = [float(value) for value in values if isinstance(value, bool | int | float)]
        if any(isinstance(value, bool) for value in values):
            return statistics.fmean(numbers)
        return statistics.median(numbers) if numbers else None


def grouped(records: Iterable[Record]) -> list[Group]:
    """The groups in order of appearance, labelled by strategy and by whatever sets them apart."""
    members = repeats(records)
    named = labels([aspects_of_record(each[0]) for each in members])
    return [Group(label, tuple(each)) for label, each in zip(named, members, strict=True)]


def repeats(records: Iterable[Record]) -> list[list[Record]]:
    """The records that differ in their seed only, in order of appearance."""
    found: dict[str, list[Record]] = {}
    for record in records:
        experiment = {key: value for key, value in record.identity.items() if key != "seed"}
        key = json.dumps([experiment, record.run["profile_digest"]], sort_keys=True)
        found.setdefault(key, []).append(record)
    return list(found.values())


def thinned(records: Sequence[Record]) -> list[Record]:
    """The records, with the intervals of each group's first one only."""
    first = {each[0].path for each in repeats(records)}
    return [each if each.path in first else dataclasses.replace(each, intervals=[]) for each in records]


def labels(aspects: Sequence[dict[str, str]]) -> list[str]:
    """A label each: the strategy, and every aspect that sets it apart from another one of them."""
    return [_label(own, aspects) for own in aspects]


@lru_cache(maxsize=None, typed=True)  # the same few settings thousands of times; True is not 1
def aspect(name: str, value: object) -> tuple[str, str]:
    """`("guest.memory", "4GiB")` for the setting `guest.memory_bytes`, as it stands in a label."""
    owner, _, field = name.partition(".")
    return f"{owner}.{setting_name(field)}", setting_text(field, value)


def setting_text(field: str, value: object) -> str:
    """`4GiB` for the field `memory_bytes`, as the user would write it."""
    unit = unit_of(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else printable(str(value))
    return format_quantity(value, unit or "number")


def setting_name(field: str) -> str:
    """`memory` for the field `memory_bytes`."""
    return user_name(field, unit_of(field))


def profile_text(record: Record) -> str:
    """Name and digest: a profile that was edited between two runs is another one."""
    return f"{record.run['profile']}@{str(record.run['profile_digest'])[:8]}"


def aspects_of_record(record: Record) -> dict[str, str]:
    """Everything that may set a group apart, as it would stand in a label."""
    aspects = {name: str(record.run[name]) for name in ("strategy", "workload", "testbed")}
    aspects["profile"] = profile_text(record)
    aspects.update(aspect(name, value) for name, value in record.settings.items())
    return aspects


FEWEST_TO_SHORTEN = 4
"""From this many variants of a strategy on, a label says only what isn't the commonest among them."""


def _label(own: dict[str, str], everyone: Sequence[dict[str, str]]) -> str:
    parts = [own["strategy"]]
    for name, text in own.items():
        if name == "strategy":
            continue
        # Parameters of a strategy or a workload set it apart from its own kind only.
        kind = name.partition(".")[0]
        rivals = [
            other for other in everyone if kind not in ("strategy", "workload") or other[kind] == own[kind]
        ]
        texts = [other.get(name) for other in (everyone if name == kind else rivals)]
        if kind == "strategy" and len(rivals) >= FEWEST_TO_SHORTEN and text == _commonest(texts):
            continue
        if any(other != text for other in texts):
            parts.append(f"{name.removeprefix('strategy.')}={text}")
    return " ".join(parts)


def _commonest(texts: Sequence[str | None]) -> str | None:
    """The first of those that are as common as any."""
    return Counter(texts).most_common(1)[0][0]
