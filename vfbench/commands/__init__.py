"""Commands of `bench`, by subject: each file holds options, and one call into the package that does the work.

`cli` adds them to `bench`. A command gets the strategies and workloads there are through :data:`pass_registries`,
because nothing in vfbench names one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload


@dataclass(frozen=True)
class Registries:
    """The strategies and the workloads by name; called only by commands that need them."""

    strategies: Callable[[], dict[str, type[Strategy]]]
    workloads: Callable[[], dict[str, type[Workload]]]
    comparison: tuple[str, dict[str, str]] = ("", {})
    """What `bench run` runs unless it is told a workload: the workload's name, and settings by their names."""


pass_registries = click.make_pass_decorator(Registries)
