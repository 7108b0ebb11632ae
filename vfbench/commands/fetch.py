"""`bench fetch`: the parts of a real Linux guest, into the user's cache."""

from __future__ import annotations

import click

from vfbench.commands.validate_options import debug_option


@click.command()
@click.option("--anew", is_flag=True, help="Fetch the newest versions, also where a complete set is there.")
@debug_option
def fetch(anew: bool) -> None:
    """Fetch QEMU, Linux kernels, busybox and a small compiler into the user's cache.

    They are Debian packages, 270 MB, with every library that they need; they are unpacked, not installed, and need no
    root. --testbed qemu and `bench validate linux` use them. What was broken off goes on where it stopped.
    """
    from vfbench.testbeds.qemu.parts.fetch import fetch as fetch_parts

    fetch_parts(lambda line: click.echo(line, err=True), anew=anew)
