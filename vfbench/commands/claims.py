"""`bench claims`: what records say about the twelve claims of the argument."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.display import damage_code, fail_on_damage_option
from vfbench.commands.result_path import ResultPath

if TYPE_CHECKING:
    from vfbench.search.claim_turns import Store
    from vfbench.search.sensitivity import Plan


@click.command()
@click.argument("results", type=ResultPath(), default=Path("results"))
@click.option(
    "--claim",
    "ids",
    multiple=True,
    metavar="ID",
    help="Only this claim, like C3; may be repeated. [default: all]",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Run some of each verdict's work again with each cost at the ends of its range; goes on where it stopped.",
)
@click.option(
    "--costs",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="With --sensitivity: vary only these costs, like 'exit_*'; may be repeated. [default: all that have a range]",
)
@click.option(
    "--works",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="With --sensitivity: how many works of each verdict run again.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="With --sensitivity: processes of this machine.  [default: its cores]",
)
@click.option("--dry-run", is_flag=True, help="With --sensitivity: say how many runs are left; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@fail_on_damage_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@pass_registries
def claims(
    registries: Registries,
    results: Path,
    ids: tuple[str, ...],
    sensitivity: bool,
    globs: tuple[str, ...],
    works: int,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    fail_on_damage: bool,
) -> int:
    """Say which claims of the argument hold.

    RESULTS is a result set or a folder of result sets. [default: results] Each claim holds, fails, holds within a
    range, or the records are not enough; figures and ids of the runs stand beside it. Testbeds and profiles are
    never pooled. docs/verdicts.md has the rules.

    What --sensitivity found is stored beside RESULTS, in RESULTS.sensitivity.json, and shown from then on.
    """
    from vfbench.records import intervals_frame, read_records, rounds_frame, runs_frame
    from vfbench.report.blocks import width_of
    from vfbench.report.verdicts import verdict_lines, verdicts_document
    from vfbench.search.claim_turns import Store, plans_of, with_turns
    from vfbench.verdicts import chosen_claims, evaluate

    if not sensitivity and (globs or dry_run or workers):
        raise click.UsageError(
            "--costs, --workers and --dry-run say what --sensitivity is to do: give it as well"
        )
    chosen = chosen_claims(ids)
    records = read_records(results)
    store = Store.beside(results)
    if sensitivity:
        known = (registries.strategies(), registries.workloads())
        plans = list(plans_of(records, *known, chosen, globs, works))
        _vary(store, plans, globs, workers, dry_run)
    verdicts = evaluate(runs_frame(records), rounds_frame(records), intervals_frame(records), chosen)
    verdicts = with_turns(verdicts, store)
    click.echo(
        verdicts_document(verdicts)
        if as_json
        else "\n".join(verdict_lines(verdicts, width_of(sys.stdout))).rstrip()
    )
    return damage_code(records, fail_on_damage)


def _vary(
    store: Store, plans: list[tuple[str, Plan]], globs: tuple[str, ...], workers: int | None, dry_run: bool
) -> None:
    """What is not stored yet, profile by profile."""
    from vfbench.report.progress import count_progress
    from vfbench.search.claim_turns import missing_experiments, run_plan
    from vfbench.sweeps.sweep import default_workers

    processes = workers or default_workers()
    for profile, planned in plans:
        left = missing_experiments(store, profile, planned)
        seconds = planned.seconds * left / max(1, len(planned.experiments)) / processes
        size = f"{left} of {len(planned.experiments)} experiments left, each with up to {len(planned.variations)}"
        click.echo(
            f"{profile}: {size} ends of costs; {processes} processes, {round(seconds)} s at most as the records tell",
            err=True,
        )
        if dry_run or not left:
            continue
        with count_progress(left, "experiments") as done:
            run_plan(store, profile, planned, done, processes, globs)
