"""`bench ndr`: the highest rate without loss."""

from __future__ import annotations

import sys

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.limit import run_limit_option
from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, LARGEST_SEED
from vfbench.units import parse_number, parse_whole

EXIT_FAILED = 1
SMALL_GUEST = "guest.memory=256MiB"
"""Memory is no matter in the steady state, and the migration that ends each run copies it."""


class Share(click.ParamType):  # type: ignore[type-arg]
    """A share of something: `0.5%`, or the same as 0.005; above 0 and below 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number."""
        if isinstance(value, float):
            return value
        try:
            share = parse_number(str(value), "ratio")
        except UserError as error:
            self.fail(str(error), param, ctx)
        if not 0 < share < 1:
            self.fail(f"{value} is out of range (above 0, below 1)", param, ctx)
        return share


@click.command()
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    default=["all"],
    show_default=True,
    metavar="NAME[,NAME...]|all",
    help="Strategies to search for; may be repeated.",
)
@click.option(
    "--workload",
    default="bulk",
    show_default=True,
    metavar="NAME",
    help="A workload with a frame size and a rate.",
)
@click.option(
    "--frame",
    "frames",
    multiple=True,
    metavar="SIZE[,SIZE...]",
    help="Frame sizes with FCS; may be repeated. [default: RFC 2544's 64B to 1518B]",
)
@click.option("--trial", default="2s", show_default=True, metavar="TIME", help="Virtual time of each trial.")
@click.option(
    "--tolerance",
    type=Share(),
    default="0.5%",
    show_default=True,
    help="How close to get, as a share of the rate.",
)
@click.option(
    "--partial-drop",
    type=Share(),
    default="0.5%",
    show_default=True,
    help="Share of frames that may be lost at the partial-drop rate.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME.PARAM=VALUE",
    help=f"Set a parameter, as for `bench run`; may be repeated. [default: {SMALL_GUEST}]",
)
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME|FILE", help="What things cost."
)
@click.option(
    "--seed", type=click.IntRange(0, LARGEST_SEED), default=1, show_default=True, metavar="N", help="Seed."
)
@run_limit_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@pass_registries
def ndr(
    registries: Registries,
    strategies: tuple[str, ...],
    workload: str,
    frames: tuple[str, ...],
    trial: str,
    tolerance: float,
    partial_drop: float,
    settings: tuple[str, ...],
    profile: str,
    seed: int,
    limit_s: float,
    as_json: bool,
) -> int:
    """Find the highest rate without loss, by strategy and frame size.

    The non-drop rate (NDR; RFC 2544 calls it throughput) loses no frame, the partial-drop rate (PDR) no more than
    --partial-drop, as in FD.io CSIT. Both are found by binary search on the model, in the steady state: no
    migration is under way.
    """
    from vfbench.options import Options
    from vfbench.profiles import load_profile
    from vfbench.report.ndr_table import ndr_document, print_ndr
    from vfbench.report.progress import search_progress_bar
    from vfbench.search.ndr import Limits, planned, search

    limits = Limits(_trial_ns(trial), tolerance, partial_drop, limit_s)
    owners = [setting.partition("=")[0] for setting in settings]
    small = () if "guest.memory" in owners or "guest.memory_bytes" in owners else (SMALL_GUEST,)
    options = Options(strategies, workload, (*small, *settings), profile=profile, seed=seed)
    sizes = [size for text in frames for size in text.split(",")]
    each = planned(options, sizes, limits, registries.strategies(), registries.workloads())
    costs = load_profile(profile)
    found = []
    with search_progress_bar(len(each)) as progress:
        for experiment in each:
            found.append(search(experiment, costs, limits))
            progress()
    if as_json:
        click.echo(ndr_document(found, limits))
    else:
        print_ndr(found, limits, sys.stdout)
    return EXIT_FAILED if any(one.reason for one in found) else 0


def _trial_ns(text: str) -> int:
    try:
        trial_ns = parse_whole(text, "ns")
    except UserError as error:
        raise UserError(f"--trial: {error}") from None
    if not 1_000_000 <= trial_ns <= 600 * 10**9:
        raise UserError(f"--trial: {text} is out of range (1ms to 600s)")
    return trial_ns - trial_ns % 10
