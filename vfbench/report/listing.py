"""What there is to choose from, each with one line and its parameters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from vfbench.experiment import GROUPS
from vfbench.parameters import Parameter, parameters_of
from vfbench.plugins import summary
from vfbench.testbeds import TESTBEDS, load_testbed

WIDTH = 110


def list_classes(classes: Mapping[str, type]) -> Iterable[str]:
    """Strategies or workloads: name, summary, parameters."""
    for name, each in classes.items():
        yield f"{name}: {summary(each)}"
        yield from _parameter_lines(each)
        yield ""


def list_settings() -> Iterable[str]:
    """The groups that belong to no strategy and no workload."""
    return list_classes(GROUPS)


def list_profiles() -> Iterable[str]:
    """The shipped profiles."""
    from vfbench.profiles import load_profile, shipped_profiles

    for name in shipped_profiles():
        yield f"{name}: {load_profile(name).summary}"


def list_testbeds() -> Iterable[str]:
    """The testbeds, with the first line of their module's docstring."""
    for name in TESTBEDS:
        text = load_testbed(name).__doc__ or ""
        yield f"{name}: {text.strip().partition(chr(10))[0]}"


def help_text(parameter: Parameter) -> str:
    """Meaning, default and range, as `bench list` and `--help` show them."""
    details = [f"default {parameter.format(parameter.default) or 'none'}", parameter.allowed()]
    return f"{parameter.help} [{'; '.join(detail for detail in details if detail)}]"


def _parameter_lines(owner: type) -> Iterable[str]:
    # A workload may have common parameters that mean nothing to it; it refuses them, so they are no choice.
    meaningless = getattr(owner, "cannot_act", {})
    known = [each for each in parameters_of(owner) if each.field not in meaningless]
    column = max((len(each.name) for each in known), default=0) + 6
    for each in known:
        yield textwrap.fill(
            help_text(each),
            WIDTH,
            initial_indent=f"    {each.name}".ljust(column),
            subsequent_indent=" " * column,
        )
