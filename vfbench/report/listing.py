"""What there is to choose from, each with one line and its parameters."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from vfbench.experiment import GROUPS
from vfbench.parameters import Parameter, parameters_of
from vfbench.plugins import summary
from vfbench.testbeds import TESTBEDS, load_testbed

WIDTH = 110
KINDS = {
    "strategies": "ways to migrate; `bench list strategies NAME` shows one in full",
    "workloads": "what the guest does meanwhile",
    "settings": "guest, link, driver, device, migration, phases: what `--set` takes besides",
    "profiles": "what things cost, on which machine",
    "testbeds": "where a run takes place",
    "measures": "what each column means",
    "results": "what was recorded",
}


def list_kinds(kinds: Sequence[str]) -> Iterable[str]:
    """What `bench list` takes."""
    yield "bench list ..."
    yield from (f"  {kind:<11} {KINDS[kind]}" for kind in kinds)


def list_classes(classes: Mapping[str, type], width: int = WIDTH) -> Iterable[str]:
    """Strategies or workloads: name, summary, parameters."""
    for name, each in classes.items():
        yield from _wrapped(name, summary(each), width)
        yield from _parameter_lines(each, width)
        yield ""


def list_one(named: type, width: int = WIDTH) -> Iterable[str]:
    """With everything that its docstring says: its own, or its module's where that says more."""
    yield from _wrapped(str(getattr(named, "name", named.__name__)), summary(named), width)
    module = inspect.getdoc(sys.modules[named.__module__]) or ""
    text = max(_beyond_first_line(inspect.getdoc(named) or ""), _beyond_first_line(module), key=len)
    for paragraph in text.split("\n\n"):
        yield ""
        yield from textwrap.wrap(" ".join(paragraph.split()), width, break_on_hyphens=False)
    yield ""
    yield from _parameter_lines(named, width)


def _beyond_first_line(text: str) -> str:
    return text.partition("\n")[2].strip()


def _wrapped(name: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(f"{name}: {text}", width, subsequent_indent="    ", break_on_hyphens=False)


def list_settings() -> Iterable[str]:
    """The groups that belong to no strategy and no workload."""
    return list_classes(GROUPS)


def list_profiles(width: int = WIDTH) -> Iterable[str]:
    """The shipped profiles."""
    from vfbench.profiles import load_profile, shipped_profiles

    for name in shipped_profiles():
        yield from _wrapped(name, load_profile(name).summary, width)


def list_testbeds(width: int = WIDTH) -> Iterable[str]:
    """The testbeds, with the first line of their module's docstring."""
    for name in TESTBEDS:
        text = load_testbed(name).__doc__ or ""
        yield from _wrapped(name, text.strip().partition("\n")[0], width)


def help_text(parameter: Parameter) -> str:
    """Meaning, default and range, as `bench list` and `--help` show them."""
    details = [f"default {parameter.format(parameter.default) or 'none'}", parameter.allowed()]
    return f"{parameter.help} [{'; '.join(detail for detail in details if detail)}]"


def _parameter_lines(owner: type, width: int) -> Iterable[str]:
    # A workload may have common parameters that mean nothing to it; it refuses them, so they are no choice.
    meaningless = getattr(owner, "cannot_act", {})
    known = [each for each in parameters_of(owner) if each.field not in meaningless]
    column = max((len(each.name) for each in known), default=0) + 6
    for each in known:
        yield textwrap.fill(
            help_text(each),
            max(width, column + 30),
            initial_indent=f"    {each.name}".ljust(column),
            subsequent_indent=" " * column,
        )
