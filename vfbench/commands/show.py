"""`bench show` and `bench list`: what was recorded, and what there is to choose from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.display import Display, damage_code, display_options, print_answer, show_records
from vfbench.commands.result_path import ROOT, result_argument
from vfbench.experiment import GROUPS

if TYPE_CHECKING:
    from vfbench.records import Record

MOST_SCENARIOS = 4
MOST_ROWS = 60
"""With more than these, tables are no answer: what is there is told instead."""

_debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)


@click.command()
@result_argument
@click.option("--full", is_flag=True, help="Every table, however many runs there are.")
@display_options
@_debug_option
def show(
    result: Path,
    full: bool,
    display: Display,
) -> int:
    """Print the tables of stored runs again, with the answer as the last lines.

    RESULT: a folder, the name of a result set or its beginning, `latest`, or `previous`. Of a folder of several
    sets, or a set with many scenarios, it says what is there; --full prints every table. Exit code 3 for damage
    with --fail-on-damage.
    """
    from vfbench.records import read_records
    from vfbench.report.groups import repeats
    from vfbench.report.scenarios import scenarios

    display.check()
    records = read_records(result)
    many = len(scenarios(records)) > MOST_SCENARIOS or len(repeats(records)) > MOST_ROWS
    if many and not (full or display.is_special):
        _overview(result, records)
    else:
        show_records(records, display)
    return damage_code(records, display)


def _overview(result: Path, records: list[Record]) -> None:
    """What is there, and how to see a part of it."""
    from vfbench.report.blocks import width_of, wrap
    from vfbench.report.overall import overall
    from vfbench.report.result_sets import set_folders, set_lines, summaries, summary
    from vfbench.report.scenarios import scenarios

    width = width_of(sys.stdout)
    several = set_folders(result)
    found = scenarios(records)
    for line in set_lines(summaries(result) if len(several) > 1 else [summary(result)], width):
        click.echo(line)
    click.echo()
    hint = (
        f"{len(found)} scenarios. `bench show SET` shows one set, `bench report {result}` writes them into one page, "
        "--full prints every table."
    )
    for line in wrap(hint, width):
        click.echo(line)
    for sentence in overall(found):
        for number, line in enumerate(wrap(sentence, width - 2)):
            click.echo(f"{'- ' if number == 0 else '  '}{line}")
    click.echo()
    print_answer(records)


WHAT = ("strategies", "workloads", "settings", "profiles", "testbeds", "measures", "results")


@click.command("list")
@click.argument("what", type=click.Choice(WHAT), required=False)
@click.argument("name", required=False)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=ROOT,
    show_default=True,
    metavar="DIR",
    help="Where `list results` looks.",
)
@_debug_option
@pass_registries
def list_(registries: Registries, what: str | None, name: str | None, results: Path) -> None:
    """List what there is to choose from.

    One line on each, and its parameters with unit, default and range; with NAME only that one, in full. `measures`
    says what each column means, `results` what was recorded.
    """
    from vfbench.errors import UserError
    from vfbench.parameters import unknown
    from vfbench.report import listing
    from vfbench.report.blocks import width_of
    from vfbench.report.columns import every_column, measure_lines

    width = width_of(sys.stdout)
    if what is None:
        click.echo("\n".join(listing.list_kinds(WHAT)))
        return
    named: dict[str, Callable[[], Mapping[str, type]]] = {
        "strategies": registries.strategies,
        "workloads": registries.workloads,
        "settings": lambda: GROUPS,
    }
    if what in named:
        classes = named[what]()
        if name is not None and name not in classes:
            raise unknown(f"there is no {what} called", name, classes)
        lines = listing.list_one(classes[name], width) if name else listing.list_classes(classes, width)
        click.echo("\n".join(lines).rstrip())
        return
    if name is not None and what != "measures":
        raise UserError(f"bench list {what} takes no name, not {name!r}")
    if name is not None and name not in {each.measure for each in every_column()}:
        raise unknown("no measure is called", name, [each.measure for each in every_column()])
    others: dict[str, Callable[[], Iterable[str]]] = {
        "profiles": lambda: listing.list_profiles(width),
        "testbeds": lambda: listing.list_testbeds(width),
        "measures": lambda: measure_lines(width, name),
        "results": lambda: _list_results(results, width),
    }
    click.echo("\n".join(others[what]()).rstrip())


def _list_results(root: Path, width: int) -> Iterable[str]:
    from vfbench.report.result_sets import set_lines, summaries

    found = summaries(root)
    if not found:
        yield f"No results in {str(root)!r} yet: `bench run` records its runs there."
        return
    yield from set_lines(found, width)
    yield ""
    yield "`bench show latest`, `previous`, or a name or its beginning; so for report, compare, claims and pack."
