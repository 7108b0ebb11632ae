"""Scenarios that differ in one parameter of the workload only, to be drawn along it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vfbench.records import Record
from vfbench.report.scenarios import Scenario, aspects_of, scenarios, titles

FRAME_SIZE = "frame_bytes"


@dataclass(frozen=True)
class Family:
    """At least two frame sizes, and all else equal."""

    title: str
    scenarios: tuple[Scenario, ...]

    @property
    def records(self) -> list[Record]:
        """Of all its scenarios."""
        return [record for scenario in self.scenarios for record in scenario.records]

    @property
    def typical(self) -> list[Record]:
        """Of the plainest variants, where there are too many for a picture."""
        fullest = max(self.scenarios, key=lambda scenario: scenario.weight)
        kept = [group.first.manifest["experiment"]["strategy"] for group in fullest.typical.groups]
        return [each for each in self.records if each.manifest["experiment"]["strategy"] in kept]


def frame_size_families(records: Sequence[Record]) -> list[Family]:
    """The families in order of appearance, those with the most runs first; only strategies run at every size."""
    found: dict[str, list[Scenario]] = {}
    for scenario in scenarios(records):
        experiment = scenario.groups[0].first.manifest["experiment"]
        parameters = dict(experiment["workload"].get("parameters", {}))
        if parameters.pop(FRAME_SIZE, None) is None or not any(group.measured for group in scenario.groups):
            continue
        rest = {
            key: value for key, value in experiment.items() if key not in ("seed", "strategy", "workload")
        }
        key = [
            experiment["workload"]["name"],
            parameters,
            rest,
            scenario.groups[0].first.run["profile_digest"],
        ]
        found.setdefault(json.dumps(key, sort_keys=True), []).append(scenario)
    members = [each for each in found.values() if len(each) > 1]
    named = titles([_aspects(each[0]) for each in members])
    families = [Family(title, tuple(each)) for title, each in zip(named, members, strict=True)]
    return sorted(families, key=lambda family: -len(family.records))


def _aspects(scenario: Scenario) -> dict[str, str]:
    aspects = aspects_of(scenario.groups[0].first)
    return {name: text for name, text in aspects.items() if name != "workload.frame"}
