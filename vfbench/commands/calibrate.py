"""`bench calibrate`: what things cost on this machine, as a profile."""

from __future__ import annotations

from pathlib import Path

import click

from vfbench.commands.output import Output, force_option
from vfbench.experiment import DEFAULT_PROFILE

DEFAULT_REPEATS = 25


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Write the profile here; `--profile FILE.toml` takes it. [default: only show what was measured]",
)
@click.option(
    "--base",
    default=DEFAULT_PROFILE,
    show_default=True,
    metavar="NAME|FILE",
    help="Profile whose figures stay where nothing can be measured.",
)
@click.option(
    "--only",
    default="*",
    show_default=True,
    metavar="GLOB",
    help="Measure only figures whose name matches, like 'touch_*'.",
)
@click.option(
    "--repeat",
    type=click.IntRange(3, 10_000),
    default=DEFAULT_REPEATS,
    show_default=True,
    metavar="N",
    help="Times each figure is measured; the median counts, the 5th and 95th percentile are its spread.",
)
@force_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def calibrate(output: Path | None, base: str, only: str, repeat: int, force: bool) -> None:
    """Measure costs on this machine and make a profile of them.

    Dummy writes, copies, table walks, the dirty log; exits where guest code runs natively. What can't be measured
    keeps the figure of the base profile and says so.
    """
    from contextlib import nullcontext
    from datetime import UTC, datetime

    from vfbench.calibration.calibrate import calibrate as measure_all
    from vfbench.calibration.profile_file import profile_text
    from vfbench.calibration.show import lines
    from vfbench.errors import UserError
    from vfbench.profiles import load_profile

    if output is not None and output.suffix != ".toml":
        raise UserError(
            f"-o {output}: a profile is told from a name by its ending; give a path that ends in .toml"
        )
    figures = load_profile(base)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    with nullcontext() if output is None else Output(output, force=force) as place:
        found = measure_all(
            figures, only, repeat, date, lambda name: click.echo(f"measuring {name}", err=True)
        )
        click.echo("\n".join(lines(found, figures)))
        if place is not None:
            beside = tuple(each for each in found.results if not each.belongs)
            place.write(profile_text(found.profile, beside))
            click.echo(f"Profile: {output}", err=True)
