"""`bench history`: result sets over time, by date and commit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from vfbench.commands.complete import complete_strategy
from vfbench.commands.report import _percentage

EXIT_REGRESSED = 1
DEFAULT_THRESHOLD = "5%"


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME[,NAME...]",
    shell_complete=complete_strategy,
    help="Only these; may be repeated. [default: all]",
)
@click.option(
    "--threshold",
    metavar="SHARE",
    default=DEFAULT_THRESHOLD,
    show_default=True,
    callback=_percentage,
    help="Worse by more than this than the set before is a regression, if the repeats don't spread as far.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit with code 1 if the latest set regressed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def history(
    results: Path, strategies: tuple[str, ...], threshold: float, fail_on_regression: bool, as_json: bool
) -> int:
    """Show the same experiments over the result sets in RESULTS. [default: results]

    The oldest first, each with the commit of its sources. A row that is worse than the one before it says in what;
    a run that is damaged where none was is a regression whatever its figures.
    """
    from vfbench.report.blocks import width_of
    from vfbench.report.history import courses, history_document, history_lines

    found = courses(results, threshold, [name for text in strategies for name in text.split(",")])
    if as_json:
        click.echo(json.dumps(history_document(found), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(history_lines(found, width_of(sys.stdout))))
    regressed = any(course.points[-1].worse for course in found)
    return EXIT_REGRESSED if fail_on_regression and regressed else 0
