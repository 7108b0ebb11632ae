"""`bench sweep`: a grid of experiments on many workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfbench import stopping
from vfbench.commands import Registries, pass_registries
from vfbench.commands.complete import complete_sweep
from vfbench.commands.display import damage_code, fail_on_damage_option

if TYPE_CHECKING:
    from vfbench.records import Record
    from vfbench.sweeps.results import SweepResults
    from vfbench.sweeps.sweep import DoneCell, Plan

EXIT_FAILED_CELL = 1


@click.command()
@click.argument("file", metavar="FILE|NAME", shell_complete=complete_sweep)
@click.option("--list", "list_only", is_flag=True, help="List the cells and the state of each; run nothing.")
@click.option("--dry-run", is_flag=True, help="Say how many cells would run and how long; run nothing.")
@click.option(
    "--filter",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Only cells that match, like 'GRID/*' or '*dummy-write*'; may be repeated. --list shows the labels.",
)
@click.option("--force", is_flag=True, help="Run finished cells again; each new record replaces the old one.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that run cells on this machine. [default: one for each processor]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Use the Dask cluster with this scheduler, like tcp://host:8786, instead of processes here.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Folder in which the sweep has a folder of its own, called like FILE.",
)
@click.option("--profile", metavar="NAME|FILE", help="What things cost, in place of what the grids say.")
@click.option(
    "--time-limit", metavar="TIME", help="Wall time for each cell, like 90s, in place of what the grids say."
)
@fail_on_damage_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@pass_registries
def sweep(
    registries: Registries,
    file: str,
    list_only: bool,
    dry_run: bool,
    globs: tuple[str, ...],
    force: bool,
    workers: int | None,
    scheduler: str | None,
    results: Path,
    profile: str | None,
    time_limit: str | None,
    fail_on_damage: bool,
) -> int:
    """Run every cell of the grids in FILE.

    FILE is TOML, as docs/sweeps.md describes, or the NAME of one that is shipped (quick, argument). Finished cells
    are skipped, so the same command goes on where an earlier one was stopped. The cells' records are in
    DIR/<name of FILE>, for `bench show` and all else that reads results.
    """
    from vfbench.errors import UserError
    from vfbench.report.sweep_summary import describe_plan, list_cells
    from vfbench.sweeps.cells import cells_of, matching
    from vfbench.sweeps.grid import read_grids, replaced
    from vfbench.sweeps.results import SweepResults
    from vfbench.sweeps.shipped import grid_file
    from vfbench.sweeps.sweep import default_workers, make_plan

    if workers and scheduler:
        raise UserError("--workers and --scheduler are both given; a cluster has its own workers")
    path = grid_file(file)
    grids = [replaced(grid, profile, time_limit) for grid in read_grids(path)]
    every = cells_of(grids, registries.strategies(), registries.workloads())
    cells = matching(every, globs)
    if not cells:
        raise UserError(
            f"none of the {len(every)} cells matches {', '.join(globs)}; --list shows their labels"
        )
    folder = SweepResults(results / path.stem)
    plan = make_plan(cells, folder, force=force)
    if list_only:
        click.echo("\n".join(list_cells(plan)))
        return 0
    if dry_run:
        click.echo("\n".join(describe_plan(plan, workers or default_workers())))
        return 0
    exit_code = _run(plan, folder, workers or default_workers(), scheduler)
    return exit_code or (damage_code(_records_of(plan, folder), True) if fail_on_damage else 0)


def _records_of(plan: Plan, folder: SweepResults) -> list[Record]:
    """What there is of the plan's cells, those that were finished before as well."""
    from vfbench.records import read_records

    wanted = {cell.experiment.digest for cell in plan.cells}
    return [record for record in read_records(folder.folder) if record.run["experiment"] in wanted]


def _run(plan: Plan, folder: SweepResults, workers: int, scheduler: str | None) -> int:
    from vfbench.errors import UserError
    from vfbench.report.progress import sweep_progress_bar
    from vfbench.report.sweep_summary import summarise
    from vfbench.sweeps.sweep import Tally, on_scheduler, on_this_machine, run_plan

    if plan.other_sources:
        click.echo(
            f"bench: {plan.other_sources} finished cells were run with other sources of vfbench; "
            "--force runs them again",
            err=True,
        )
    tally = Tally(finished_before=plan.finished)
    execute = on_scheduler(scheduler) if scheduler else on_this_machine(workers)
    exit_code = 0
    try:
        with sweep_progress_bar(plan) as progress:

            def note(done: DoneCell) -> None:
                tally.done.append(done)
                progress(done)

            run_plan(plan, folder, execute, on_this_machine(1), note)
    except KeyboardInterrupt:
        left = len(plan.to_run) - len(tally.done)
        click.echo(f"bench: {stopping.reason()} with {left} cells to run; the same command goes on", err=True)
        exit_code = stopping.exit_code()
    except UserError:
        if tally.done:
            click.echo("\n".join(summarise(tally, folder.folder)))
        raise
    click.echo("\n".join(summarise(tally, folder.folder)))
    failed = any(done.outcome.state in ("failed", "timed-out") for done in tally.done)
    return exit_code or (EXIT_FAILED_CELL if failed else 0)
