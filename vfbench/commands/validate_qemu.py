"""`bench validate qemu`."""

from __future__ import annotations

from pathlib import Path

import click

from vfbench.commands.limit import all_of_it_within, command_limit_option
from vfbench.commands.validate_options import debug_option, json_option, results_option


@click.command("qemu")
@click.option(
    "--qemu",
    "binary",
    default="auto",
    show_default=True,
    metavar="NAME|PATH",
    help="The QEMU to hold the model against; auto: the one that `bench fetch` fetched, else the one on the PATH.",
)
@command_limit_option
@results_option
@json_option
@debug_option
def qemu(binary: str, limit_s: float, results: Path, as_json: bool) -> int:
    """Pre-copy against a real QEMU: rounds, bytes, times, verdicts.

    Boots a guest of one boot sector, which dirties memory at a known rate, and live-migrates it between two QEMU
    processes (TCG, loopback) over a grid of dirty rates, bandwidths and downtime limits: about two minutes.
    Goals: syncs within one, bytes and total time within 10 %, the same verdict.
    """
    from vfbench.validation.qemu.comparison import compare
    from vfbench.validation.show import conclude

    with all_of_it_within(limit_s):
        table = compare(binary, lambda line: click.echo(line, err=True))
    return conclude(table, as_json=as_json, folder=results)
