"""`bench sensitivity`: which costs of the profile turn a verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.result_path import ResultPath


@click.command()
@click.argument("results", type=ResultPath())
@click.option(
    "--claim",
    "--claims",
    "ids",
    multiple=True,
    metavar="ID[,ID...]",
    help="Only runs on which the verdict on this claim rests, like C6; may be repeated. [default: all runs]",
)
@click.option(
    "--costs",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Vary only these costs, like 'exit_*'; may be repeated. [default: all that have a range]",
)
@click.option("--dry-run", is_flag=True, help="Say how many runs there would be and how long; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@pass_registries
def sensitivity(
    registries: Registries,
    results: Path,
    ids: tuple[str, ...],
    globs: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say which costs turn a verdict or the order of strategies.

    The experiments in RESULTS, each with its lowest seed, run again with one cost of their profile at its low end,
    then at its high end, and so on for every cost. Nothing is recorded.
    """
    from vfbench.records import read_records
    from vfbench.report.progress import progress_bar
    from vfbench.report.sensitivity import print_sensitivity, sensitivity_document
    from vfbench.search.sensitivity import plan
    from vfbench.search.sensitivity import sensitivity as run
    from vfbench.verdicts import chosen_claims

    claims = chosen_claims(each for text in ids for each in text.split(","))
    known = (registries.strategies(), registries.workloads())
    planned = plan(read_records(results), *known, claims, globs, only_what_they_rest_on=bool(ids))
    size = f"{len(planned.experiments)} experiments x {1 + len(planned.variations)} profiles = {planned.runs} runs"
    click.echo(f"{size}, about {max(1, round(planned.seconds))} s as the records tell", err=True)
    if dry_run:
        return
    with progress_bar(planned.runs) as progress:
        turns = run(planned, progress)
    if as_json:
        click.echo(sensitivity_document(planned, turns))
    else:
        print_sensitivity(planned, turns, sys.stdout)
