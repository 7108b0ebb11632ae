"""`bench validate model`."""

from __future__ import annotations

from pathlib import Path

import click

from vfbench.commands.limit import all_of_it_within, command_limit_option
from vfbench.commands.validate_options import debug_option, json_option, results_option


@click.command("model")
@command_limit_option
@results_option
@json_option
@debug_option
def model(limit_s: float, results: Path, as_json: bool) -> int:
    """The model against limits and closed forms.

    Line rates of RFC 2544's frame sizes, the processor's limit, pre-copy's geometric series, M/D/1 waiting times,
    Little's law.
    """
    from vfbench.validation.known.comparison import compare
    from vfbench.validation.show import conclude

    with all_of_it_within(limit_s):
        table = compare()
    return conclude(table, as_json=as_json, folder=results)
