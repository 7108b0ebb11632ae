"""`bench advise`: what should I use?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.limit import run_limit_option
from vfbench.demands import CHANGES
from vfbench.errors import UserError
from vfbench.units import parse_number, parse_whole

if TYPE_CHECKING:
    from vfbench.advice.facts import Facts
    from vfbench.advice.ranking import Measured
    from vfbench.advice.ways import Way
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

EXIT_FAILED = 1
WEIGHTS = "downtime,throughput,host-cpu,risk"


class Quantity(click.ParamType):  # type: ignore[type-arg]
    """A quantity with its unit, as everywhere in `bench`."""

    name = "quantity"

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The quantity in its base unit; whole but for shares."""
        if isinstance(value, int | float):
            return value
        try:
            return (
                parse_number(str(value), self.unit)
                if self.unit == "ratio"
                else parse_whole(str(value), self.unit)
            )
        except UserError as error:
            self.fail(str(error), param, ctx)


_LOAD = (
    click.option(
        "--link", "link_bps", type=Quantity("bps"), metavar="RATE", help="The guest's link, like 25Gbps."
    ),
    click.option(
        "--frame", "frame_bytes", type=Quantity("bytes"), metavar="SIZE", help="Frame size with FCS."
    ),
    click.option("--capture", metavar="FILE", help="A capture of the traffic instead."),
    click.option(
        "--rate", "rate_bps", type=Quantity("bps"), metavar="RATE", help="Offered rate. [default: the link's]"
    ),
    click.option(
        "--send",
        "send_share",
        type=Quantity("ratio"),
        metavar="SHARE",
        help="Frames sent for one received, 0 to 1.",
    ),
    click.option(
        "--memory", "memory_bytes", type=Quantity("bytes"), metavar="SIZE", help="The guest's memory."
    ),
    click.option(
        "--dirty-rate",
        "dirty_pages_per_s",
        type=Quantity("pages_per_s"),
        metavar="RATE",
        help="Pages that the guest dirties beside its packets, like 20kpages/s.",
    ),
    click.option(
        "--downtime-limit",
        "downtime_limit_ns",
        type=Quantity("ns"),
        metavar="TIME",
        help="QEMU's downtime limit.",
    ),
)
_HOST = (
    click.option(
        "--card", "card_text", metavar="NAME|ID", help="Name, PCI vendor:device, or the VF's driver."
    ),
    click.option("--vfs", type=click.IntRange(1, 256), metavar="N", help="VFs of the guest. [default: 1]"),
    click.option("--firmware", metavar="VERSION", help="The card's firmware, like 28.41.1000."),
    click.option("--kernel", metavar="VERSION", help="The hosts' Linux."),
    click.option("--guest-kernel", metavar="VERSION", help="The guest's Linux."),
    click.option(
        "--kernel-option",
        "options",
        multiple=True,
        metavar="NAME=y|m|n",
        help="A kernel option of the hosts, like CONFIG_MLX5_VFIO_PCI=n; may be repeated.",
    ),
    click.option("--bound", metavar="variant|vfio-pci|other", help="What the hosts have bound to the VF."),
    click.option(
        "--migratable/--not-migratable",
        default=None,
        help="Whether the VF is marked migratable in its PF (devlink).",
    ),
    click.option("--qemu", metavar="VERSION", help="The hosts' QEMU."),
    click.option("--libvirt", metavar="VERSION", help="The hosts' libvirt."),
    click.option(
        "--iommu", metavar="KIND", help="The hosts' IOMMU: vt-d, vt-d-scalable, amd, smmuv3 or none."
    ),
    click.option("--pml/--no-pml", default=None, help="Whether the processor logs its writes (PML)."),
    click.option(
        "--viommu/--no-viommu", default=None, help="Whether the guest has a virtual IOMMU for the VF."
    ),
    click.option(
        "--may-change",
        multiple=True,
        metavar="WORD[,WORD...]",
        help=f"What may be changed, of {', '.join(CHANGES)}. [default: guest-config, host-config]",
    ),
)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed((*_LOAD, *_HOST)):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--here", is_flag=True, help="Take what is not given from this Linux host.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --here: read a copy of a host's /sys, /proc, /boot and /lib/modules below this folder.",
)
@click.option("--ask", metavar="TEXT", help="Answer a question in words, and nothing else.")
@click.option(
    "--weigh",
    default=WEIGHTS,
    show_default=True,
    metavar="WORD[=WEIGHT][,...]",
    help="What matters, the most first: each counts half of the one before, or as its weight says.",
)
@click.option(
    "--strategy", "names", multiple=True, default=["all"], show_default=True, metavar="NAME[,NAME...]|all"
)
@click.option("--profile", default="", metavar="NAME|FILE", help="What things cost. [default: the card's]")
@click.option("--no-run", is_flag=True, help="Say what is possible; run nothing.")
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, metavar="N", help="Runs of each."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Folder that takes the records.",
)
@run_limit_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@pass_registries
def advise(registries: Registries, /, as_json: bool, **given: Any) -> int:
    """Say what to use to migrate a guest with a VF, from a few facts.

    What is possible at all with this card, kernel and QEMU, and why the rest is not; what that costs, by running it
    on the model; a ranking by what matters, and what would turn it. What is not given is assumed, and said to be.
    """
    if given["ask"] is not None:
        return _answer(given["ask"], as_json)
    from vfbench.advice.show import lines

    advice, failed = _advice(registries, _Asked(**{key: given[key] for key in _Asked.__annotations__}), given)
    if as_json:
        click.echo(json.dumps(advice.to_json(), allow_nan=False))
    else:
        click.echo("\n".join(lines(advice)))
    return EXIT_FAILED if failed else 0


@dataclass(frozen=True)
class _Asked:
    """What is to be done with the facts."""

    here: bool
    root: Path | None
    weigh: str
    names: tuple[str, ...]
    profile: str
    no_run: bool
    repeat: int
    results: Path
    limit_s: float


def _answer(text: str, as_json: bool) -> int:
    from vfbench.advice.questions import answer_to, lines

    found = answer_to(text)
    if as_json:
        keys = ("id", "question", "answer", "sure", "source")
        click.echo(json.dumps({key: getattr(found, key) for key in keys}))
    else:
        click.echo("\n".join(lines(found)))
    return 0


def _advice(registries: Registries, asked: _Asked, given: Mapping[str, Any]) -> tuple[Any, bool]:
    from vfbench.advice.load import planned, profile_of
    from vfbench.advice.possible import findings
    from vfbench.advice.ranking import ranked, weights_of
    from vfbench.advice.show import Advice
    from vfbench.advice.ways import way
    from vfbench.options import chosen_strategies

    weights = weights_of(asked.weigh)
    facts = _facts(given, asked)
    profile = profile_of(facts, asked.profile)
    name = asked.profile or (facts.card.profile if facts.card else profile.name)
    strategies, workloads = registries.strategies(), registries.workloads()
    chosen = chosen_strategies(asked.names, strategies)
    each = planned(facts, profile, name, chosen, strategies, workloads)
    found = findings(facts, profile)
    ways = [way(experiment, found, facts) for experiment in each]
    possible = [
        (experiment, known) for experiment, known in zip(each, ways, strict=True) if known.is_possible
    ]
    measured, failed = ([], False) if asked.no_run else _measured(possible, profile, asked)
    places = ranked(measured, weights)
    return Advice(facts, profile, found, ways, measured, places, weights), failed


def _facts(given: Mapping[str, Any], asked: _Asked) -> Facts:
    from vfbench.advice.facts import Facts, checked, over

    known = {key: given[key] for key in Facts.__dataclass_fields__ if given.get(key) is not None}
    known["options"] = dict(_pair(text) for text in given["options"])
    words = tuple(word for text in given["may_change"] for word in text.split(",") if word)
    known.pop("may_change")
    if words:
        known["may_change"] = words
    facts = checked(Facts(**known))
    if asked.root is not None and not asked.here:
        raise UserError("--root is where --here looks; give --here too")
    if not asked.here:
        return facts
    from vfbench.advice.here import look

    if asked.root is not None and not (asked.root / "sys").is_dir():
        raise UserError(f"--root {asked.root}: there is no sys below it; give a copy of a host's root")
    # A copy of another host says nothing of the QEMU that is installed here.
    found = look(asked.root, ask=False) if asked.root is not None else look()
    return over(facts, found.facts)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--kernel-option {text!r} is not NAME=y, m or n, like CONFIG_MLX5_VFIO_PCI=n")
    return name, value


def _measured(
    possible: Sequence[tuple[Experiment, Way]], profile: Profile, asked: _Asked
) -> tuple[list[Measured], bool]:
    """Run what is possible, each on disk at once; a strategy whose run failed is left out of the ranking."""
    from vfbench.advice.ranking import measured_of
    from vfbench.records import ResultSet, read_record
    from vfbench.report.progress import progress_bar
    from vfbench.runner import repeats_of, run_all, to_skip

    if not possible:
        return [], False
    experiments = [experiment for experiment, _ in possible]
    runs = repeats_of(experiments, asked.repeat)
    names = [each.strategy.name for each in experiments]
    results = ResultSet.create(asked.results, names, experiments[0].workload.name, datetime.now(UTC))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    skip = to_skip(runs, profile)
    with progress_bar(len(runs)) as progress:
        for done in run_all(runs, profile, results, progress, skip, asked.limit_s):
            row = dict(read_record(done.folder).run)
            if row["state"] in ("failed", "timed-out", "skipped"):
                click.echo(f"{done.experiment.strategy.name}: {row['state']}: {row['reason']}", err=True)
            else:
                rows[done.experiment.strategy.name].append(row)
    click.echo(f"Records: {results.folder}", err=True)
    failed = any(len(found) < asked.repeat for found in rows.values())
    return [measured_of(way, rows[way.strategy]) for _, way in possible if rows[way.strategy]], failed
