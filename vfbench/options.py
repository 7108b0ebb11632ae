"""From the options of `bench run` to experiments, and from an experiment back to its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vfbench import parameters
from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED, GROUPS, Experiment

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

PRESETS: dict[str, dict[str, str]] = {
    "default": {},
    "qemu": {"migration.bandwidth": "128MiB/s", "migration.downtime-limit": "300ms"},
}
"""Named sets of parameters; what is given beside a preset wins over it."""

SHORTCUTS = {
    "memory": "guest.memory",
    "queues": "guest.queues",
    "bandwidth": "migration.bandwidth",
    "downtime-limit": "migration.downtime-limit",
    "packets": "phases.packets",
}
"""Options that stand for a `--set`; `--rate` and `--capture` set the workload's parameters of that name."""


@dataclass(frozen=True)
class Options:
    """What `bench run` was told, as text."""

    strategies: Sequence[str]
    workload: str
    settings: Sequence[str] = ()
    shortcuts: Mapping[str, str] = field(default_factory=dict)
    preset: str = "default"
    profile: str = DEFAULT_PROFILE
    testbed: str = DEFAULT_TESTBED
    seed: int = 1


def experiments(
    options: Options,
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
) -> list[Experiment]:
    """One experiment per strategy; UserError for any name, parameter or value that won't do."""
    chosen = chosen_strategies(options.strategies, strategies)
    if options.workload not in workloads:
        raise parameters.unknown("no workload is called", options.workload, workloads)
    if options.workload in chosen:
        raise UserError(f"{options.workload!r} is a strategy and a workload: --set can't tell them apart")
    if options.preset not in PRESETS:
        raise parameters.unknown("no preset is called", options.preset, PRESETS)
    workload = workloads[options.workload]
    given = _given(options, workload, workloads)
    _refuse_strangers(given, chosen, workload.name, strategies, workloads)
    preset = _by_owner(PRESETS[options.preset])
    groups: dict[str, Any] = {}
    for name, group in GROUPS.items():
        base = parameters.change(group(), preset.get(name, {}))
        groups[name] = parameters.change(base, given.get(name, {}))
    return [
        Experiment(
            strategy=_made(strategies[name], given),
            workload=_made(workload, given),
            profile=options.profile,
            testbed=options.testbed,
            seed=options.seed,
            **groups,
        )
        for name in chosen
    ]


def set_explicitly(options: Options, owner: type) -> frozenset[str]:
    """The fields of ``owner`` (a strategy, say) that ``options`` set, be it to their defaults."""
    name = parameters.owner_name(owner)
    given = (_split(setting)[0].partition(".") for setting in options.settings)
    return frozenset(parameters.find(owner, each).field for owned_by, _, each in given if owned_by == name)


def chosen_strategies(texts: Iterable[str], strategies: Mapping[str, object]) -> list[str]:
    """The names in `a,b`, `all` and so on, each once, in the order given; UserError for an unknown one."""
    names: list[str] = []
    for text in texts:
        for name in text.split(","):
            if name == "all":
                names += strategies
            elif name in strategies:
                names.append(name)
            else:
                raise parameters.unknown("no strategy is called", name, [*strategies, "all"])
    return list(dict.fromkeys(names))


def command_line(experiment: Experiment) -> str:
    """The `bench run` command that repeats the experiment, seed and all."""
    words = ["bench", "run", "--strategy", experiment.strategy.name, "--workload", experiment.workload.name]
    for name, text in experiment.settings().items():
        words += ["--set", f"{name}={text}"]
    if experiment.profile != DEFAULT_PROFILE:
        words += ["--profile", experiment.profile]
    if experiment.testbed != DEFAULT_TESTBED:
        words += ["--testbed", experiment.testbed]
    return shlex.join([*words, "--seed", str(experiment.seed)])


def _given(
    options: Options, workload: type[Workload], workloads: Mapping[str, type[Workload]]
) -> dict[str, dict[str, str]]:
    """What was set explicitly, owner -> parameter -> text; UserError if something was set twice."""
    pairs = [_split(setting) for setting in options.settings]
    for shortcut, text in options.shortcuts.items():
        pairs.append((SHORTCUTS.get(shortcut) or _of_workload(shortcut, workload, workloads), text))
    given: dict[str, str] = {}
    for name, text in pairs:
        spelled = name.replace("_", "-")
        if spelled in given:
            raise UserError(f"{spelled} is set twice: to {given[spelled]!r} and to {text!r}")
        given[spelled] = text
    return _by_owner(given)


def _of_workload(shortcut: str, workload: type[Workload], workloads: Mapping[str, type[Workload]]) -> str:
    """`rate` -> `small-packets.rate`; UserError if the workload has no such parameter."""

    def has_it(each: type[Workload]) -> bool:
        return any(known.name == shortcut for known in parameters.parameters_of(each))

    if not has_it(workload):
        able = [name for name, each in workloads.items() if has_it(each)]
        raise UserError(
            f"--{shortcut} means nothing to workload {workload.name!r}; it does to: "
            + (", ".join(able) or "none")
        )
    return f"{workload.name}.{shortcut}"


def _split(setting: str) -> tuple[str, str]:
    name, equals, text = setting.partition("=")
    owner, dot, parameter = name.partition(".")
    if not (equals and dot and owner and parameter):
        raise UserError(f"--set {setting!r} is not NAME.PARAM=VALUE, like guest.memory=4GiB")
    return name, text


def _by_owner(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    owners: dict[str, dict[str, str]] = {}
    for name, text in texts.items():
        owner, _, parameter = name.partition(".")
        owners.setdefault(owner, {})[parameter] = text
    return owners


def _refuse_strangers(
    owners: Iterable[str],
    chosen: Sequence[str],
    workload: str,
    strategies: Mapping[str, object],
    workloads: Mapping[str, object],
) -> None:
    """An option that would be ignored is an error."""
    for owner in owners:
        if owner in (*GROUPS, *chosen, workload):
            continue
        if owner in strategies:
            raise UserError(f"--set {owner}: this strategy is not being run (run are: {', '.join(chosen)})")
        if owner in workloads:
            raise UserError(f"--set {owner}: this workload is not being run (run is: {workload})")
        raise parameters.unknown("--set: nothing is called", owner, [*chosen, workload, *GROUPS])


def _made(named: Any, texts: Mapping[str, Mapping[str, str]]) -> Any:
    return parameters.change(named(), texts.get(named.name, {}))
