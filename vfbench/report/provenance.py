"""Where the figures come from: environments, profiles with their sources, seeds, and the commands that repeat all."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vfbench.records import Record
from vfbench.report.groups import repeats

SURE = {"A": "read in the source itself", "B": "quoted by a third party", "C": "memory or an estimate"}


@dataclass(frozen=True)
class Environment:
    """A machine with its software, and how many of the runs were made on it."""

    runs: int
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Costs:
    """A profile as the records carry it: every figure with unit, range, source, how sure."""

    name: str
    digest: str
    runs: int
    figures: tuple[tuple[str, dict[str, Any]], ...]


def environments(records: Iterable[Record]) -> list[Environment]:
    """Each different one, in order of appearance."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        environment = record.manifest["environment"]
        found.setdefault(json.dumps(environment, sort_keys=True), []).append(environment)
    return [Environment(len(each), tuple(environment_lines(each[0]))) for each in found.values()]


def environment_lines(environment: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Name and value of everything in it; packages one by one."""
    for name, value in environment.items():
        if isinstance(value, dict):
            yield from ((f"{name.removesuffix('s')} {key}", _text(each)) for key, each in value.items())
        else:
            yield name.replace("_", " "), _text(value)


def profiles(records: Iterable[Record]) -> list[Costs]:
    """Each different one, by its digest."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        profile = record.manifest["profile"]
        found.setdefault(str(profile.get("digest")), []).append(profile)
    return [
        Costs(str(each[0].get("name")), digest, len(each), tuple(_figures(each[0])))
        for digest, each in found.items()
    ]


def _figures(profile: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    figures = profile.get("figures")
    costs = figures.get("costs", {}) if isinstance(figures, dict) else {}
    return ((name, figure) for name, figure in costs.items() if isinstance(figure, dict))


def seeds(records: Iterable[Record]) -> str:
    """`1 to 5`, or each of them."""
    return _spans(sorted({int(record.run["seed"] or 0) for record in records}))


def commands(records: Sequence[Record]) -> list[str]:
    """The `bench run` line of each experiment, its repeats put into `--repeat` where their seeds follow on."""
    return [command for each in repeats(records) for command in _commands(each)]


def _commands(records: Sequence[Record]) -> list[str]:
    by_seed = {int(record.run["seed"] or 0): str(record.manifest["command"]) for record in records}
    numbers = sorted(by_seed)
    first = by_seed[numbers[0]]
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        words = shlex.split(first)
        if "--seed" in words:
            return [re.sub(r"(--seed \d+)", rf"\1 --repeat {len(numbers)}", first)]
    return [by_seed[number] for number in numbers]


def _spans(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _text(value: object) -> str:
    return "not known" if value is None else str(value)
