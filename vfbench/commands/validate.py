"""`bench validate`: predictions beside what was observed. Each validation stands in a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

from vfbench.commands.validate_linux import linux
from vfbench.commands.validate_model import model
from vfbench.commands.validate_options import debug_option, results_option
from vfbench.commands.validate_published import published
from vfbench.commands.validate_qemu import qemu


@click.group(no_args_is_help=True)
def validate() -> None:
    """Compare what the suite predicts with what was observed.

    Each command prints a table of predicted, observed and error, stores it, and ends with exit code 1 where a
    goal is missed.
    """


@validate.command()
@results_option
@debug_option
def report(results: Path) -> int:
    """Print all tables that are stored, and write them into one page."""
    import sys

    from vfbench.validation.page import write_page
    from vfbench.validation.show import print_table

    path, tables = write_page(results)
    if not tables:
        click.echo(f"No validation is stored in {results}; `make validate` runs them all.")
    for table in tables:
        print_table(table, sys.stdout)
    click.echo(f"\nPage: {path}")
    return 1 if any(table.missed for table in tables) else 0


validate.add_command(linux)
validate.add_command(qemu)
validate.add_command(published)
validate.add_command(model)
