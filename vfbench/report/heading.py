"""What the runs were, in a few lines above their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vfbench.experiment import GROUPS
from vfbench.parameters import parameters_of
from vfbench.report.groups import Group, profile_text, setting_name, setting_text

ALWAYS = (
    "guest.memory_bytes",
    "guest.queues",
    "link.rate_bps",
    "migration.bandwidth_bps",
    "migration.downtime_limit_ns",
)
"""Shown even at their defaults: no figure means anything without them."""


def heading(groups: Sequence[Group]) -> list[str]:
    """Workload, machine, testbed, profile, seeds, strategies; settings that vary are left to the labels."""
    lines = [
        f"workload   {_each(_with_parameters(group, 'workload') for group in groups)}",
        f"machine    {', '.join(_machine(groups))}",
        f"measured   {_measured(groups)}",
    ]
    strategies = list(dict.fromkeys(_with_parameters(group, "strategy") for group in groups))
    return lines + [f"{'strategy' if n == 0 else '':<10} {text}" for n, text in enumerate(strategies)]


def _measured(groups: Sequence[Group]) -> str:
    records = [record for group in groups for record in group.records]
    testbeds = _each(str(record.run["testbed"]) for record in records)
    profiles = _each(profile_text(record) for record in records)
    seeds = sorted({int(record.run["seed"] or 0) for record in records})
    span = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    shown = f"{seeds[0]} to {seeds[-1]}" if span else ", ".join(map(str, seeds))
    return f"testbed {testbeds}, profile {profiles}, seed{'s' if len(seeds) > 1 else ''} {shown}"


def _machine(groups: Sequence[Group]) -> Iterable[str]:
    """Settings that all groups share, unless at their default and not in ALWAYS."""
    for name, value in groups[0].first.settings.items():
        owner, _, field = name.partition(".")
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
