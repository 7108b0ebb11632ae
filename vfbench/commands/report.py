"""`bench report` and `bench compare`: from records to a page, and two sets side by side."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vfbench.commands.display import damage_code, fail_on_damage_option
from vfbench.commands.output import Output, force_option
from vfbench.commands.result_path import ResultPath
from vfbench.errors import UserError

FORMATS = ("html", "md")
VALIDATION = Path("results/validation/index.html")
EXIT_WORSE = 1

_debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)


@click.command()
@click.argument("results", type=ResultPath(), default=Path("results"))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where the page goes; - is the screen. [default: report.html, or - with --format md]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="html: one page with pictures, no network; md: for a pull request. [default: by the file's name]",
)
@click.option(
    "--baseline", metavar="STRATEGY", help="What the others are held against. [default: what ran first]"
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The page of `bench validate report`, to be linked. [default: results/validation/index.html, if there]",
)
@click.option(
    "--ndr",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What `bench ndr --json` printed, to be shown as a section. [default: none]",
)
@force_option
@fail_on_damage_option
@_debug_option
def report(
    results: Path,
    output: Path | None,
    format_: str | None,
    baseline: str | None,
    validation: Path | None,
    ndr: Path | None,
    force: bool,
    fail_on_damage: bool,
) -> int:
    """Write a page that answers which strategy to take.

    RESULTS is a run's folder, a result set, or a folder of result sets. [default: results]
    """
    from vfbench.records import read_records
    from vfbench.report.ndr_section import read_ndr
    from vfbench.report.page import render

    kind = format_ or ("md" if output is not None and output.suffix == ".md" else "html")
    rates = read_ndr(ndr) if ndr else ()
    target = output or Path("report.html" if kind == "html" else "-")
    if str(target) == "-":
        records = read_records(results)
        click.echo(render(records, kind, baseline, _link(validation, target), rates), nl=False)
    else:
        with Output(target, force=force) as place:
            records = read_records(results)
            place.write(render(records, kind, baseline, _link(validation, target), rates))
        click.echo(f"Report: {target}", err=True)
    return damage_code(records, fail_on_damage)


def _link(validation: Path | None, page: Path) -> str:
    """From the page to the page of validations, relative, so that both can be moved together; empty without one."""
    chosen = validation or VALIDATION
    return Path(os.path.relpath(chosen, page.parent)).as_posix() if chosen.exists() else ""


def _percentage(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    from vfbench.units import parse_number

    if text is None:
        return None
    try:
        share = parse_number(text, "ratio")
    except UserError as error:
        raise UserError(f"--fail-over: {error}") from error
    if share > 1:
        raise UserError(
            f"--fail-over: {text!r} is {share:.0%}: write {text}% for that many per cent, 100% at most"
        )
    return share


@click.command()
@click.argument("before", metavar="A", type=ResultPath())
@click.argument("after", metavar="B", type=ResultPath())
@click.option(
    "--fail-over",
    metavar="SHARE",
    callback=_percentage,
    help="Exit with code 1 if a measure is worse in B by more than this, like 5%.",
)
@click.option(
    "--strategies",
    metavar="A=B",
    help="Hold this strategy of A against that of B, like dummy-write=emulated-iommu; A and B may be one set.",
)
@fail_on_damage_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@_debug_option
def compare(
    before: Path,
    after: Path,
    fail_over: float | None,
    strategies: str | None,
    fail_on_damage: bool,
    as_json: bool,
) -> int:
    """Set two result sets side by side: two machines, two versions, or two strategies on the same work.

    A and B: folders, names of sets in `results`, `latest`, `previous`. What is held against each other must agree in
    the work: strategy, workload, testbed and every setting; seeds and profiles may differ. What is in one set only is
    listed, and where costs or environments differ, that is said. Exit code 3 with --fail-on-damage if B is damaged.
    """
    from vfbench.records import read_records
    from vfbench.report import two_sets
    from vfbench.report.as_one import as_one

    earlier, later = read_records(before), read_records(after)
    if strategies is not None:
        earlier, later = as_one(earlier, later, strategies)
    found = two_sets.side_by_side(earlier, later, fail_over)
    text = two_sets.json_document(found) if as_json else "\n".join(two_sets.describe(found))
    click.echo(text)
    return damage_code(later, fail_on_damage) or (EXIT_WORSE if found.failing else 0)


@click.command()
@click.argument("results", type=ResultPath())
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="Where the packed set goes.",
)
@click.option(
    "--thin", is_flag=True, help="Keep the timeline (intervals) of each experiment's first repeat only."
)
@force_option
@_debug_option
def pack(results: Path, output: Path, thin: bool, force: bool) -> None:
    """Put many runs into one small folder.

    RESULTS is a result set or a folder of result sets. The packed set holds the same records, and every command
    reads it like any other: for publishing, or to keep beside sources.
    """
    from vfbench.records import read_records
    from vfbench.records.pack import check_place, write_packed
    from vfbench.report.groups import thinned

    check_place(output, force=force)
    records = read_records(results)
    if thin:
        records = thinned(records)
    write_packed(records, output, force=force)
    size = sum(path.stat().st_size for path in output.iterdir())
    click.echo(f"{len(records)} runs in {size / 1024:,.0f} KiB: {output}", err=True)
