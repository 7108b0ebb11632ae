"""The `bench` command: options in, one call out.

Nothing heavy is imported before a command needs it: `bench --help` is to answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfbench.commands import Registries
from vfbench.commands.calibrate import calibrate
from vfbench.commands.claims import claims
from vfbench.commands.doctor import doctor
from vfbench.commands.fetch import fetch
from vfbench.commands.ndr import ndr
from vfbench.commands.report import compare, pack, report
from vfbench.commands.sensitivity import sensitivity
from vfbench.commands.sweep import sweep
from vfbench.commands.validate import validate
from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED, GROUPS, LARGEST_SEED
from vfbench.options import PRESETS, SHORTCUTS, Options, experiments
from vfbench.parameters import find, unknown
from vfbench.units import SCALES, accepted_units

if TYPE_CHECKING:
    from vfbench.records import Record
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

DEFAULT_STRATEGY = "all"
DEFAULT_WORKLOAD = "small-packets"

EXIT_FAILED_RUN = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

Command = Callable[..., Any]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code: 0, 1 (a run failed), 2 (bad input), 130 (interrupted)."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        registries = Registries(_strategies, _workloads)
        arguments = words or ["--help"]
        return bench.main(args=arguments, prog_name="bench", obj=registries, standalone_mode=False) or 0
    except (UserError, click.ClickException) as error:
        if "--debug" in words:
            traceback.print_exc()
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"bench: {' '.join(message.split())}", err=True)
        return EXIT_USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("bench: interrupted", err=True)
        return EXIT_INTERRUPTED


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vfbench", prog_name="bench", message="%(prog)s %(version)s")
def bench() -> None:
    """Compare ways to live-migrate a VM whose network card is an SR-IOV virtual function."""


# `main` looks for the word itself, so that errors of the command line show their traceback too.
_debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)


_baseline_option = click.option(
    "--baseline",
    metavar="STRATEGY",
    help="Also show every measure relative to this strategy's, with intervals over the repeats. [default: none]",
)


def _shortcut_options(command: Command) -> Command:
    """The options that stand for a `--set`, with help from the parameters that they set."""
    for shortcut, setting in reversed(SHORTCUTS.items()):
        owner, _, name = setting.partition(".")
        known = find(GROUPS[owner], name)
        unit = known.unit or "number"
        units = "" if unit == "count" else f" Units: {accepted_units(unit)}."
        words = f"{known.help[0].upper()}{known.help[1:]}.{units} [default: {known.format(known.default)}]"
        command = click.option(f"--{shortcut}", metavar=SCALES[unit].metavar, help=words)(command)
    return command


@bench.command()
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=[DEFAULT_STRATEGY],
    show_default=True,
    metavar="NAME[,NAME...]|all",
    help="Strategies to run; may be repeated. See `bench list strategies`.",
)
@click.option(
    "--workload",
    default=DEFAULT_WORKLOAD,
    show_default=True,
    metavar="NAME",
    help="Workload to run them under. See `bench list workloads`.",
)
@click.option(
    "--capture",
    metavar="FILE",
    help="Capture file for a workload that replays one (its parameter `capture`). [default: the workload's]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME.PARAM=VALUE",
    help=f"Set a parameter of a strategy, of the workload, or of {', '.join(GROUPS)}; may be repeated. "
    "Defaults, units and ranges: `bench list strategies|workloads|settings`.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Start from these settings (qemu: what QEMU has, bandwidth 128MiB/s and downtime limit 300ms).",
)
@_shortcut_options
@click.option(
    "--rate",
    metavar="RATE",
    help="Offered rate of the workload (its parameter `rate`), like 5Gbps. [default: the workload's]",
)
@click.option("--testbed", default=DEFAULT_TESTBED, show_default=True, metavar="NAME", help="Where to run.")
@click.option(
    "--profile",
    default=DEFAULT_PROFILE,
    show_default=True,
    metavar="NAME|FILE",
    help="What things cost: a shipped profile or a .toml file.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Times to run each strategy; they take turns, and each repeat has the next seed.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=1,
    show_default=True,
    metavar="N",
    help="Seed of the first repeat.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Folder that takes the records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@_baseline_option
@click.option("--debug", is_flag=True, help="Show the traceback of an error and of a failed run.")
def run(
    strategies: tuple[str, ...],
    workload: str,
    settings: tuple[str, ...],
    preset: str,
    testbed: str,
    profile: str,
    repeat: int,
    seed: int,
    results: Path,
    as_json: bool,
    baseline: str | None,
    debug: bool,
    **shortcuts: str | None,
) -> int:
    """Run strategies under a workload.

    What was measured is recorded, and printed as a table.
    """
    given = {name.replace("_", "-"): text for name, text in shortcuts.items() if text is not None}
    options = Options(strategies, workload, settings, given, preset, profile, testbed, seed)
    return _run(options, repeat, results, as_json=as_json, baseline=baseline, debug=debug)


def _run(
    options: Options, repeat: int, results: Path, *, as_json: bool, baseline: str | None, debug: bool
) -> int:
    from vfbench.profiles import load_profile
    from vfbench.records import ResultSet, read_record
    from vfbench.report.progress import progress_bar
    from vfbench.runner import repeats_of, run_all, to_skip

    each = experiments(options, _strategies(), _workloads())
    planned = repeats_of(each, repeat)
    profile = load_profile(options.profile)
    skip = to_skip(planned, profile)
    names = [experiment.strategy.name for experiment in each]
    if baseline is not None and baseline not in names:
        raise unknown("--baseline: there is no run of a strategy", baseline, names)
    result_set = ResultSet.create(results, names, options.workload, datetime.now(UTC))

    finished = []
    exit_code = 0
    try:
        with progress_bar(len(planned)) as progress:
            for done in run_all(planned, profile, result_set, progress, skip):
                finished.append(done)
                if done.error is not None and debug:
                    traceback.print_exception(done.error)
    except KeyboardInterrupt:
        click.echo(f"bench: interrupted after {len(finished)} of {len(planned)} runs", err=True)
        exit_code = EXIT_INTERRUPTED
    finally:
        result_set.discard_empty()
        if finished:
            _show([read_record(done.folder) for done in finished], as_json, baseline)
            click.echo(f"Records: {result_set.folder}", err=as_json)
    failed = any(done.outcome.state in ("failed", "timed-out") for done in finished)
    return exit_code or (EXIT_FAILED_RUN if failed else 0)


@bench.command("list")
@click.argument("what", type=click.Choice(["strategies", "workloads", "settings", "profiles", "testbeds"]))
@_debug_option
def list_(what: str) -> None:
    """List what there is to choose from.

    One line on each, and its parameters with unit, default and range.
    """
    from vfbench.report import listing

    lines: dict[str, Callable[[], Iterable[str]]] = {
        "strategies": lambda: listing.list_classes(_strategies()),
        "workloads": lambda: listing.list_classes(_workloads()),
        "settings": listing.list_settings,
        "profiles": listing.list_profiles,
        "testbeds": listing.list_testbeds,
    }
    click.echo("\n".join(lines[what]()).rstrip())


@bench.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@_baseline_option
@_debug_option
def show(result: Path, as_json: bool, baseline: str | None) -> None:
    """Print the table of stored runs again.

    RESULT is a run's folder, a result set, or a folder of result sets.
    """
    from vfbench.records import read_records

    _show(read_records(result), as_json, baseline)


@bench.command()
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME|FILE", help="What things cost."
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only this strategy, or the variants whose name holds this; may be repeated.",
)
@_debug_option
def crosscheck(profile: str, only: tuple[str, ...]) -> int:
    """Run the same experiments on the model and on a real VM, and compare.

    Dirty pages by round (within 5 %), the classes of stale pages and of damaged packets, and whether the
    pre-copy converged. Exit code 1 where they differ.
    """
    from vfbench.profiles import load_profile
    from vfbench.testbeds import load_testbed
    from vfbench.testbeds.crosscheck import as_in_lockstep, crosscheck, describe, planned

    figures = as_in_lockstep(load_profile(profile))
    plan = planned(_strategies(), _workloads(), only)
    model, kvm = load_testbed("model"), load_testbed("kvm")

    def quietly(fraction: float, phase: str) -> None:
        """No progress: each check prints its lines."""

    differing = 0
    for check in crosscheck(
        plan, lambda e: model.run(e, figures, quietly), lambda e: kvm.run(e, figures, quietly)
    ):
        click.echo("\n".join(describe(check)))
        differing += bool(check.differences)
    click.echo(f"{len(plan) - differing} of {len(plan)} experiments agree")
    return EXIT_FAILED_RUN if differing else 0


bench.add_command(calibrate)
bench.add_command(claims)
bench.add_command(doctor)
bench.add_command(fetch)
bench.add_command(sensitivity)
bench.add_command(sweep)
bench.add_command(ndr)
bench.add_command(report)
bench.add_command(compare)
bench.add_command(pack)
bench.add_command(validate)


def _show(records: list[Record], as_json: bool, baseline: str | None) -> None:
    from vfbench.report.relative_table import print_relative, relative_rows

    relative = [] if baseline is None else relative_rows(records, baseline)
    if as_json:
        from vfbench.report.document import json_document

        click.echo(json_document(records, [row.to_json() for row in relative]))
    elif records:
        from vfbench.report.table import print_tables

        print_tables(records, sys.stdout)
        if baseline is not None:
            print_relative(relative, baseline, sys.stdout)


@contextmanager
def _numba_without_scipy() -> Iterator[None]:
    """Importing numba loads scipy's BLAS where it finds it, a third of a second's work; no kernel uses it."""
    absent = "scipy" not in sys.modules
    if absent:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["scipy"]


def _strategies() -> dict[str, type[Strategy]]:
    with _numba_without_scipy():
        import numba.np.arraymath  # noqa: F401  the module that asks for it, when the first kernel is loaded

        from strategies import ALL_STRATEGIES
    from vfbench.plugins import load_strategies

    return load_strategies(ALL_STRATEGIES)


def _workloads() -> dict[str, type[Workload]]:
    from vfbench.plugins import load_workloads

    with _numba_without_scipy():
        from workloads import ALL_WORKLOADS

    return load_workloads(ALL_WORKLOADS)


if __name__ == "__main__":
    sys.exit(main())
