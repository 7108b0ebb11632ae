"""`bench run`: strategies under a workload, recorded and shown."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from vfbench import stopping, time_limit
from vfbench.commands import Registries, pass_registries
from vfbench.commands.complete import complete_setting, complete_strategy, complete_workload
from vfbench.commands.display import Display, damage_code, display_options, show_records
from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, DEFAULT_TESTBED, GROUPS, LARGEST_SEED
from vfbench.options import PRESETS, SHORTCUTS, Options
from vfbench.parameters import find, unknown
from vfbench.units import SCALES, accepted_units

DEFAULT_STRATEGY = "all"
EXIT_FAILED_RUN = 1

Command = Callable[..., Any]


def shortcut_options(command: Command) -> Command:
    """The options that stand for a `--set`, with help from the parameters that they set."""
    for shortcut, setting in reversed(SHORTCUTS.items()):
        owner, _, name = setting.partition(".")
        known = find(GROUPS[owner], name)
        unit = known.unit or "number"
        units = "" if unit == "count" else f" Units: {accepted_units(unit)}."
        words = f"{known.help[0].upper()}{known.help[1:]}.{units} [default: {known.format(known.default)}]"
        command = click.option(f"--{shortcut}", metavar=SCALES[unit].metavar, help=words)(command)
    return command


@click.command()
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=[DEFAULT_STRATEGY],
    show_default=True,
    metavar="NAME[,NAME...]|all",
    shell_complete=complete_strategy,
    help="Strategies to run; may be repeated. See `bench list strategies`.",
)
@click.option(
    "--workload",
    metavar="NAME",
    shell_complete=complete_workload,
    help="Workload to run them under. See `bench list workloads`. [default: the shipped comparison: "
    "mixed frames at a rate that every strategy carries, with a downtime limit at which pre-copies run in rounds]",
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
    shell_complete=complete_setting,
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
@shortcut_options
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
@click.option(
    "--time-limit",
    "limit",
    default=time_limit.DEFAULT,
    show_default=True,
    metavar="TIME",
    help="Wall time for each run; one that takes longer is ended and recorded as timed-out.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the consoles and logs of --testbed qemu's guests, and say where."
)
@display_options
@click.option("--debug", is_flag=True, help="Show the traceback of an error and of a failed run.")
@pass_registries
def run(
    registries: Registries,
    /,
    strategies: tuple[str, ...],
    workload: str | None,
    settings: tuple[str, ...],
    preset: str,
    testbed: str,
    profile: str,
    repeat: int,
    seed: int,
    results: Path,
    limit: str,
    keep: bool,
    debug: bool,
    display: Display,
    **shortcuts: str | None,
) -> int:
    """Run strategies under a workload.

    What was measured is recorded, and printed as tables that end with the answer: what arrived whole, and who of
    these is best at what. Exit code 1 if a run failed, 3 for damage with --fail-on-damage.
    """
    given = {name.replace("_", "-"): text for name, text in shortcuts.items() if text is not None}
    if workload is None:
        workload, settings, given = _shipped(registries.comparison, settings, given, testbed)
    options = Options(strategies, workload, settings, given, preset, profile, testbed, seed)
    limit_s = time_limit.parse_time_limit(limit, "--time-limit")
    if keep and testbed != "qemu":
        raise UserError(f"--keep: testbed {testbed!r} has no guests with consoles and logs; only qemu has")
    from vfbench.testbeds.qemu.boot.folder import kept_folders

    with kept_folders(keep):
        return _run(registries, options, repeat, results, display, limit_s, debug=debug)


def _shipped(
    comparison: tuple[str, dict[str, str]], settings: tuple[str, ...], given: dict[str, str], testbed: str
) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """The shipped comparison's workload and settings, where the command line says nothing else."""
    workload, defaults = comparison
    said = {setting.partition("=")[0].replace("_", "-") for setting in settings}
    said |= {SHORTCUTS.get(name, f"{workload}.{name}") for name in given}
    if testbed == "qemu":
        # A stock guest's driver is its own.
        said |= {name for name in defaults if name.startswith("driver.")}
    more = tuple(f"{name}={text}" for name, text in defaults.items() if name not in said)
    return workload, (*more, *settings), given


def _run(
    registries: Registries,
    options: Options,
    repeat: int,
    results: Path,
    display: Display,
    limit_s: float,
    *,
    debug: bool,
) -> int:
    from vfbench.profiles import load_profile
    from vfbench.records import ResultSet, read_record
    from vfbench.report.progress import progress_bar
    from vfbench.runner import asked_for, repeats_of, run_all, to_skip

    display.check()
    each = asked_for(options, registries.strategies(), registries.workloads())
    planned = repeats_of(each, repeat)
    profile = load_profile(options.profile)
    skip = to_skip(planned, profile)
    names = [experiment.strategy.name for experiment in each]
    if display.baseline is not None and display.baseline not in names:
        raise unknown("--baseline: there is no run of a strategy", display.baseline, names)
    result_set = ResultSet.create(results, names, options.workload, datetime.now(UTC))

    finished = []
    records = []
    exit_code = 0
    try:
        with progress_bar(len(planned), quiet=display.quiet) as progress:
            for done in run_all(planned, profile, result_set, progress, skip, limit_s):
                finished.append(done)
                if done.error is not None and debug:
                    traceback.print_exception(done.error)
    except KeyboardInterrupt:
        click.echo(f"bench: {stopping.reason()} after {len(finished)} of {len(planned)} runs", err=True)
        exit_code = stopping.exit_code()
    finally:
        result_set.discard_empty()
        if finished:
            records = [read_record(done.folder) for done in finished]
            show_records(records, display, f"Records: {result_set.folder}")
    if any(done.outcome.state == "timed-out" for done in finished):
        click.echo(f"bench: a run took longer than {limit_s:g} s; --time-limit gives it more", err=True)
    failed = any(done.outcome.state in ("failed", "timed-out") for done in finished)
    return exit_code or damage_code(records, display) or (EXIT_FAILED_RUN if failed else 0)
