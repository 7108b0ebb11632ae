"""What commands that show runs have in common: how much to print, in which form, and whether damage is an error."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vfbench.errors import UserError

if TYPE_CHECKING:
    from vfbench.records import Record

EXIT_DAMAGE = 3
"""Of `--fail-on-damage`."""

Command = Callable[..., Any]

baseline_option = click.option(
    "--baseline",
    metavar="STRATEGY",
    help="Also show every measure relative to this strategy's, with intervals over the repeats. [default: none]",
)
fail_on_damage_option = click.option(
    "--fail-on-damage",
    is_flag=True,
    help=f"Exit with code {EXIT_DAMAGE} if a run is damaged: one of many repeats is enough.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)


@dataclass(frozen=True)
class Display:
    """What of the runs is printed."""

    as_json: bool = False
    as_csv: bool = False
    brief: bool = False
    quiet: bool = False
    columns: tuple[str, ...] = ()
    baseline: str | None = None
    fail_on_damage: bool = False

    @property
    def is_special(self) -> bool:
        """Whether something else than the usual tables was asked for."""
        return bool(self.as_json or self.as_csv or self.quiet or self.columns or self.baseline)

    def check(self) -> None:
        """UserError for forms that exclude each other, or a column that there isn't, before anything runs."""
        from vfbench.report.columns import chosen

        forms = [name for name in ("as_json", "as_csv", "brief", "quiet") if getattr(self, name)]
        if len(forms) > 1:
            one, other = (f"--{name.removeprefix('as_')}" for name in forms[:2])
            raise UserError(f"{one} and {other} are both given: choose one")
        if self.columns and (self.as_json or self.quiet):
            raise UserError("--columns chooses columns of a table or of --csv; leave --json and --quiet out")
        chosen(self.columns)


def display_options(command: Command) -> Command:
    """The options of :class:`Display`, which the command gets as ``display``."""

    @functools.wraps(command)
    def collected(*arguments: Any, **named: Any) -> Any:
        own = {each.name: named.pop(each.name) for each in dataclasses.fields(Display)}
        return command(*arguments, display=Display(**own), **named)

    decorated: Command = collected
    for option in reversed(
        (
            json_option,
            click.option(
                "--csv", "as_csv", is_flag=True, help="Print a row for each run, for a spreadsheet."
            ),
            click.option("--brief", is_flag=True, help="The main table and the answer only."),
            click.option("--quiet", "-q", is_flag=True, help="The answer only, and no progress."),
            click.option(
                "--columns",
                multiple=True,
                metavar="NAME[,NAME...]",
                help="One table with these measures instead. See `bench list measures`.",
            ),
            baseline_option,
            fail_on_damage_option,
        )
    ):
        decorated = option(decorated)
    return decorated


def show_records(records: list[Record], display: Display, where: str = "") -> None:
    """Print runs; the answer is the last lines. `where`: what is said of the folder, above the answer."""
    from vfbench.report.columns import chosen
    from vfbench.report.relative_table import print_relative, relative_rows

    relative = [] if display.baseline is None else relative_rows(records, display.baseline)
    columns = chosen(display.columns)
    if display.as_json:
        from vfbench.report.document import json_document

        click.echo(json_document(records, [row.to_json() for row in relative]))
    elif display.as_csv:
        from vfbench.report.spreadsheet import write_csv

        write_csv(records, sys.stdout, columns)
    elif records:
        if not display.quiet:
            from vfbench.report.table import print_tables

            print_tables(records, sys.stdout, columns=columns, brief=display.brief)
            if display.baseline is not None:
                print_relative(relative, display.baseline, sys.stdout)
            click.echo(f"\n{where}" if where else "")
        print_answer(records)
    if where and (display.as_json or display.as_csv or display.quiet):
        click.echo(where, err=True)


def print_answer(records: list[Record]) -> None:
    """Three to six lines, the last of a command."""
    from vfbench.report.answer import answer_of
    from vfbench.report.blocks import width_of

    for line in answer_of(records).lines(width_of(sys.stdout)):
        click.echo(line)


def damage_code(records: list[Record], display_or_flag: Display | bool) -> int:
    """`EXIT_DAMAGE` if it was asked for and a run is damaged, 0 otherwise."""
    from vfbench.records.damage import damage

    asked = display_or_flag.fail_on_damage if isinstance(display_or_flag, Display) else display_or_flag
    return EXIT_DAMAGE if asked and damage(record.run for record in records).damaged else 0
