"""`bench faults`: every fault switched on, and what was caught of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.limit import run_limit_option
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED, LARGEST_SEED

if TYPE_CHECKING:
    from vfbench.report.fault_table import Caught
    from vfbench.sweeps.faults import Pair

EXIT_NOT_CAUGHT = 1


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="NUMBER|STRATEGY",
    help="Only these faults; may be repeated. [default: all]",
)
@click.option("--commands", is_flag=True, help="Print the `bench run` line of each; run nothing.")
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME|FILE", help="What things cost."
)
@click.option("--testbed", default=DEFAULT_TESTBED, show_default=True, metavar="NAME", help="Where to run.")
@click.option(
    "--seed", type=click.IntRange(0, LARGEST_SEED), default=1, show_default=True, metavar="N", help="Seed."
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
def faults(
    registries: Registries,
    only: tuple[str, ...],
    commands: bool,
    profile: str,
    testbed: str,
    seed: int,
    results: Path,
    limit_s: float,
    as_json: bool,
) -> int:
    """Switch on every fault, and show what the comparison caught.

    Each runs twice: with the switch off, which has to arrive whole, and on, which has to be damaged. The settings
    stand in sweeps/faults.toml. Exit code 1 if one was not caught, or was damaged without its switch.
    """
    from vfbench.report.fault_table import fault_lines
    from vfbench.sweeps.faults import chosen_faults, pairs, read_faults

    chosen = chosen_faults(read_faults(), only)
    planned = pairs(
        chosen, registries.strategies(), registries.workloads(), profile=profile, testbed=testbed, seed=seed
    )
    if commands:
        from vfbench.options import command_line

        click.echo(
            "\n".join(
                f"# {pair.fault.number}: {pair.fault.what}\n{command_line(pair.on)}" for pair in planned
            )
        )
        return 0
    from vfbench.report.blocks import width_of

    found = _run(planned, profile, results, limit_s)
    if as_json:
        click.echo(json.dumps({"faults": [each.to_json() for each in found]}, indent=2))
    else:
        click.echo("\n".join(fault_lines(found, width_of(sys.stdout))))
    return 0 if all(each.as_it_should for each in found) else EXIT_NOT_CAUGHT


def _run(planned: list[Pair], profile_name: str, results: Path, limit_s: float) -> list[Caught]:
    """Both runs of each pair, recorded; a fault that can't be had is a row that says why."""
    from vfbench.profiles import load_profile
    from vfbench.records import ResultSet, read_record
    from vfbench.report.fault_table import Caught
    from vfbench.report.progress import progress_bar
    from vfbench.runner import run_all, to_skip

    profile = load_profile(profile_name)
    each = list({run.digest: run for pair in planned for run in (pair.off, pair.on)}.values())
    skip = to_skip(each, profile)
    result_set = ResultSet.create(results, [run.strategy.name for run in each], "faults", datetime.now(UTC))
    runs: dict[str, dict[str, Any]] = {}
    try:
        with progress_bar(len(each)) as progress:
            for done in run_all(each, profile, result_set, progress, skip, limit_s):
                runs[done.experiment.digest] = read_record(done.folder).run
    finally:
        result_set.discard_empty()
    click.echo(f"Records: {result_set.folder}", err=True)
    return [Caught(pair.fault, runs[pair.off.digest], runs[pair.on.digest]) for pair in planned]
