"""`bench validate published`: what others published against what the suite predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.limit import run_limit_option
from vfbench.commands.validate_options import debug_option, json_option, results_option

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.strategy import Strategy
    from vfbench.validation.published.entries import Published
    from vfbench.workload import Workload


@click.command("published")
@click.option(
    "--only",
    default="*",
    show_default=True,
    metavar="GLOB",
    help="Only results whose name matches, like 'power-*'; the stored table then holds only these.",
)
@click.option("--commands", is_flag=True, help="Run nothing: print the `bench run` commands of each result.")
@run_limit_option
@results_option
@json_option
@debug_option
@pass_registries
def published(
    registries: Registries, only: str, commands: bool, limit_s: float, results: Path, as_json: bool
) -> int:
    """Run an experiment for each published result and compare.

    No cost is ever set by a result. One that is off by more than 25 % misses its goal, and so does one whose
    mechanism is not modelled yet; what explains a miss stands beside it and changes nothing.
    """
    import fnmatch

    from vfbench.errors import UserError
    from vfbench.validation.published.entries import published_results

    entries = tuple(each for each in published_results() if fnmatch.fnmatchcase(each.name, only))
    if not entries:
        names = ", ".join(each.name for each in published_results())
        raise UserError(f"--only {only!r} matches no published result; there are {names}")
    strategies, workloads = registries.strategies(), registries.workloads()
    if commands:
        from vfbench.validation.published.predict import commands_of

        click.echo("\n".join(commands_of(entries, strategies, workloads)))
        return 0
    return _compare(entries, strategies, workloads, limit_s, results, as_json)


def _compare(
    entries: tuple[Published, ...],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    limit_s: float,
    results: Path,
    as_json: bool,
) -> int:
    from datetime import UTC, datetime

    from vfbench.kernels import ALL_SOURCES, source_hash
    from vfbench.validation.published.predict import measures_on_model, predictions
    from vfbench.validation.published.table import published_table
    from vfbench.validation.show import conclude

    found = []

    def measured(experiment: Experiment) -> Mapping[str, object]:
        return measures_on_model(experiment, limit_s)

    for each in predictions(entries, strategies, workloads, measured):
        click.echo(f"predicted {each.published.name}", err=True)
        found.append(each)
    circumstances = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "sources": source_hash(ALL_SOURCES),
        "runs": "bench validate published --commands",
    }
    return conclude(published_table(found, circumstances), as_json=as_json, folder=results)
