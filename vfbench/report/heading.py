"""What the runs were, in a few lines above their table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from vfbench.experiment import GROUPS
from vfbench.parameters import parameters_of
from vfbench.report.groups import Group, profile_text, setting_name, setting_text
from vfbench.report.load import offered
from vfbench.testbeds import TESTBEDS

ALWAYS = (
    "guest.memory_bytes",
    "guest.queues",
    "link.rate_bps",
    "migration.bandwidth_bps",
    "migration.downtime_limit_ns",
)
"""Shown even at their defaults: no figure means anything without them."""


COLUMN = 11
"""Where the text of each line begins."""

MOST_STRATEGIES = 6
"""Of more, only those are described whose parameters are not at their defaults."""


def heading(groups: Sequence[Group], width: int = 100) -> list[str]:
    """Workload, load, machine, testbed, profile, seeds, strategies; settings that vary are left to the labels.

    Lines of `width` at most, broken between words only.
    """
    parts = [("workload", _each(_with_parameters(group, "workload") for group in groups))]
    if load := offered(groups):
        parts.append(("offered", load))
    parts += [("machine", ", ".join(_machine(groups))), ("measured", _measured(groups))]
    parts += [("strategy" if number == 0 else "", text) for number, text in enumerate(_strategies(groups))]
    return [line for name, text in parts for line in _lines(name, text, width)]


def _lines(name: str, text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=name.ljust(COLUMN),
        subsequent_indent=" " * COLUMN,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _strategies(groups: Sequence[Group]) -> list[str]:
    """Each with its parameters; of many only the names, since labels say what sets variants apart."""
    described = list(dict.fromkeys(_with_parameters(group, "strategy") for group in groups))
    if len(described) <= MOST_STRATEGIES:
        return described
    names = list(dict.fromkeys(str(group.first.run["strategy"]) for group in groups))
    return [f"{', '.join(names)} (`bench list strategies NAME`: parameters and defaults)"]


def _measured(groups: Sequence[Group]) -> str:
    records = [record for group in groups for record in group.records]
    testbeds = _each(str(record.run["testbed"]) for record in records)
    profiles = _each(profile_text(record) for record in records)
    seeds = sorted({int(record.run["seed"] or 0) for record in records})
    return f"testbed {testbeds}, profile {profiles}, seed{'s' if len(seeds) > 1 else ''} {spans(seeds)}"


def spans(numbers: Iterable[int]) -> str:
    """`1 to 5`, or each of them."""
    found = sorted(set(numbers))
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))


def _machine(groups: Sequence[Group]) -> Iterable[str]:
    """Settings that all groups share, unless at their default and not in ALWAYS."""
    for name, value in groups[0].first.settings.items():
        owner, _, field = name.partition(".")
        if owner in TESTBEDS and owner != groups[0].first.run["testbed"]:
            continue  # what only another testbed has
        if owner not in GROUPS or any(group.first.settings.get(name) != value for group in groups):
            continue
        defaults = {each.field: each.default for each in parameters_of(GROUPS[owner])}
        if name in ALWAYS or value != defaults.get(field):
            yield f"{owner}.{setting_name(field)} {setting_text(field, value)}"


def _with_parameters(group: Group, part: str) -> str:
    """`small-packets (rate 10Gbps, flows 64)`."""
    own = [
        f"{setting_name(name.partition('.')[2])} {setting_text(name.partition('.')[2], value)}"
        for name, value in group.first.settings.items()
        if name.startswith(f"{part}.") and value != ""
    ]
    return f"{group.first.run[part]}" + (f" ({', '.join(own)})" if own else "")


def _each(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
