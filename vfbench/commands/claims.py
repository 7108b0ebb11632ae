"""`bench claims`: what records say about the twelve claims of the argument."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vfbench.commands.display import damage_code, fail_on_damage_option
from vfbench.commands.result_path import ResultPath


@click.command()
@click.argument("results", type=ResultPath(), default=Path("results"))
@click.option(
    "--claim",
    "ids",
    multiple=True,
    metavar="ID",
    help="Only this claim, like C3; may be repeated. [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@fail_on_damage_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def claims(results: Path, ids: tuple[str, ...], as_json: bool, fail_on_damage: bool) -> int:
    """Say which claims of the argument hold.

    RESULTS is a result set or a folder of result sets. [default: results] Each claim holds, fails, holds within a
    range, or the records are not enough; figures and ids of the runs stand beside it. Testbeds and profiles are
    never pooled. docs/verdicts.md has the rules.
    """
    from vfbench.records import intervals_frame, read_records, rounds_frame, runs_frame
    from vfbench.report.blocks import width_of
    from vfbench.report.verdicts import verdict_lines, verdicts_document
    from vfbench.verdicts import chosen_claims, evaluate

    chosen = chosen_claims(ids)
    records = read_records(results)
    verdicts = evaluate(runs_frame(records), rounds_frame(records), intervals_frame(records), chosen)
    click.echo(
        verdicts_document(verdicts)
        if as_json
        else "\n".join(verdict_lines(verdicts, width_of(sys.stdout))).rstrip()
    )
    return damage_code(records, fail_on_damage)
