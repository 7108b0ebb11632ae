"""What the shell completes: names of strategies, workloads and parameters, and result sets.

The names are those that `bench list` prints; a plugin that can't be loaded leaves the shell without them, not with a
traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from vfbench.commands import Registries

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _registries(context: click.Context) -> Registries:
    from vfbench.commands import Registries

    found = context.find_object(Registries)
    assert found is not None, "`bench` is started with its registries"  # noqa: S101
    return found


def _items(names: Iterable[str], incomplete: str, before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in names if name.startswith(incomplete)]


def complete_strategy(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The last of names that are separated by commas."""
    before, comma, last = incomplete.rpartition(",")
    try:
        names = [*_registries(context).strategies(), "all"]
    except Exception:  # the shell has no place for a message
        return []
    return _items(names, last, before + comma)


def complete_workload(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """By its beginning."""
    try:
        return _items(_registries(context).workloads(), incomplete)
    except Exception:
        return []


def complete_setting(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """`guest.memory=`, and behind the sign a parameter's choices."""
    from vfbench.experiment import GROUPS
    from vfbench.parameters import parameters_of

    try:
        registries = _registries(context)
        owners = {**GROUPS, **registries.workloads(), **registries.strategies()}
    except Exception:
        return []
    known = {f"{name}.{each.name}": each for name, owner in owners.items() for each in parameters_of(owner)}
    name, sign, value = incomplete.partition("=")
    if sign and name in known:
        choices = known[name].allowed().split(" | ") if "|" in known[name].allowed() else []
        return _items(choices, value, f"{name}=")
    return _items((f"{each}=" for each in known), incomplete)


def complete_sweep(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shipped grids, and files."""
    from vfbench.sweeps.shipped import shipped_sweeps

    return [*_items(shipped_sweeps(), incomplete), CompletionItem(incomplete, type="file")]


def complete_result(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """`latest`, `previous` and the sets in `results`; the shell completes paths by itself."""
    from vfbench.commands.result_path import names_of_sets

    return [
        *_items(["latest", "previous", *names_of_sets()], incomplete),
        CompletionItem(incomplete, type="dir"),
    ]
