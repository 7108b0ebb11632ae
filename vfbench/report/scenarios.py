"""Runs that may be held against each other: a scenario is all that they share, strategies are what differs."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vfbench.records import Record
from vfbench.report.groups import Group, aspect, grouped, profile_text

MOST_VARIANTS = 8
"""A picture with more series than this is legible to nobody."""

FEWEST_ROUNDS = 3
"""With fewer there is no course of rounds to be seen."""


@dataclass(frozen=True)
class Scenario:
    """The strategies' repeats under one workload, guest, link, migration, testbed and profile."""

    title: str
    groups: tuple[Group, ...]

    @property
    def records(self) -> list[Record]:
        """Of all its groups."""
        return [record for group in self.groups for record in group.records]

    @property
    def testbed(self) -> str:
        """The one that all ran on."""
        return str(self.groups[0].first.run["testbed"])

    @property
    def full_title(self) -> str:
        """With the testbed, whether or not it sets the scenario apart."""
        return self.title if ", testbed " in self.title else f"{self.title}, testbed {self.testbed}"

    @property
    def functional(self) -> bool:
        """Whether guest code was emulated, so that times and throughput don't count."""
        return any(bool(record.run["functional"]) for record in self.records)

    @property
    def weight(self) -> tuple[int, int]:
        """How much it says: strategies, then runs."""
        names = {group.first.run["strategy"] for group in self.groups if group.measured}
        return len(names), sum(len(group.measured) for group in self.groups)

    @property
    def typical(self) -> Scenario:
        """The same, or with more than MOST_VARIANTS the plainest variant of each strategy: fit for a picture."""
        return self if len(self.groups) <= MOST_VARIANTS else self.plainest

    @property
    def plainest(self) -> Scenario:
        """With one variant of each strategy, the one with the fewest settings of its own."""
        plainest: dict[str, Group] = {}
        for group in sorted(self.groups, key=lambda group: (not group.measured, group.label.count("="))):
            plainest.setdefault(str(group.first.run["strategy"]), group)
        kept = tuple(group for group in self.groups if group in plainest.values())
        return dataclasses.replace(self, groups=kept)


def scenarios(records: Iterable[Record]) -> list[Scenario]:
    """In order of appearance, titled by the workload and by whatever sets them apart."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(_key(record), []).append(record)
    members = list(found.values())
    named = titles([aspects_of(each[0]) for each in members])
    return [Scenario(title, tuple(grouped(each))) for title, each in zip(named, members, strict=True)]


def main_scenarios(found: Sequence[Scenario]) -> list[Scenario]:
    """Per testbed the one that says most."""
    testbeds = dict.fromkeys(each.testbed for each in found)
    return [max((s for s in found if s.testbed == testbed), key=lambda s: s.weight) for testbed in testbeds]


def in_rounds(main: Scenario, found: Sequence[Scenario]) -> Scenario:
    """`main`, or if no pre-copy of it ran in rounds the one of its testbed that compares most strategies that did."""
    others = [each for each in found if each.testbed == main.testbed]
    return max(
        [main, *others], key=lambda each: (_rounds(each) > 0 and main is each, _rounds(each), each.weight)
    )


def _rounds(scenario: Scenario) -> int:
    """Strategies whose pre-copy went on after its second sync."""
    return len(
        {
            group.first.run["strategy"]
            for group in scenario.groups
            if any(int(record.run["rounds"] or 0) >= FEWEST_ROUNDS for record in group.measured)
        }
    )


def _key(record: Record) -> str:
    shared = {key: value for key, value in record.identity.items() if key not in ("seed", "strategy")}
    return json.dumps([shared, record.run["profile_digest"]], sort_keys=True)


def aspects_of(record: Record) -> dict[str, str]:
    """Everything but the strategy that may set two scenarios apart, as it would stand in a title."""
    aspects = {"testbed": str(record.run["testbed"]), "workload": str(record.run["workload"])}
    aspects["profile"] = profile_text(record)
    settings = {name: value for name, value in record.settings.items() if not name.startswith("strategy.")}
    return aspects | dict(aspect(name, value) for name, value in settings.items())


ALWAYS_TOLD = ("testbed", "workload.frame", "workload.rate", "workload.send")
"""Aspects that stand in every title, if they tell scenarios apart at all."""

PLAIN = {
    "workload.frame": "{} frames",
    "workload.rate": "at {}",
    "workload.send": "sending {}",
    "guest.queues": "{} queues",
    "guest.memory": "guest of {}",
    "migration.downtime-limit": "limit {}",
    "migration.bandwidth": "migrating at {}",
    "driver.page-reuse none": "fresh pages",
    "driver.page-reuse flip": "reused pages",
    "driver.page-order fifo": "oldest page first",
    "driver.page-order lifo": "newest page first",
    "workload.rate 0": "at line rate",
    "workload.send 0": "receiving",
}
"""Aspects in words; of all others a title says the name and the value."""


def titles(aspects: Sequence[dict[str, str]]) -> list[str]:
    """A plain name each: the workload, and what sets it apart from most others, in words.

    Settings at which most of the scenarios agree are left out, unless two would be called the same without them.
    """
    names = dict.fromkeys(name for each in aspects for name in each if name != "workload")
    telling = [name for name in names if len({each.get(name, "") for each in aspects if name in each}) > 1]
    usual = {name: _commonest([each.get(name) for each in aspects]) for name in telling}
    told = [
        [name for name in telling if name in own and (name in ALWAYS_TOLD or own[name] != usual[name])]
        for own in aspects
    ]
    named = [_title(own, each) for own, each in zip(aspects, told, strict=True)]
    for alike in {title for title in named if named.count(title) > 1}:
        places = [place for place, title in enumerate(named) if title == alike]
        apart = [name for name in telling if len({aspects[place].get(name) for place in places}) > 1]
        for place in places:
            more = [name for name in telling if name in aspects[place] and name in (*told[place], *apart)]
            named[place] = _title(aspects[place], more)
    return named


def _title(own: dict[str, str], names: Sequence[str]) -> str:
    return ", ".join([own["workload"], *(_in_words(name, own[name]) for name in names)])


def _in_words(name: str, value: str) -> str:
    plain = PLAIN.get(f"{name} {value}") or PLAIN.get(name)
    return plain.format(value) if plain else f"{name.rpartition('.')[2]} {value}"


def _commonest(values: Sequence[str | None]) -> str | None:
    return Counter(values).most_common(1)[0][0]
