"""No module of the suite names a strategy, and none outside a mechanism's own names what a mechanism is set to."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import vfbench
from strategies import ALL_STRATEGIES
from vfbench import mechanisms
from vfbench.mechanism import DirtySource, Mechanism
from vfbench.strategy import Strategy, recorded_traits

ROOT = Path(vfbench.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if "mechanisms" not in path.relative_to(ROOT).parts)
STRATEGIES = {strategy.name for strategy in ALL_STRATEGIES}


def every_mechanism(of: type[Mechanism] = Mechanism) -> Iterator[type[Mechanism]]:
    """The suite's own mechanisms."""
    for module in pkgutil.iter_modules(mechanisms.__path__):
        importlib.import_module(f"{mechanisms.__name__}.{module.name}")
    for each in of.__subclasses__():
        if each.__module__.startswith(mechanisms.__name__):
            yield each
        yield from every_mechanism(each)


def parameters() -> set[str]:
    """Names of two words or more of what strategies and mechanisms are set to, and of nothing else.

    A name of one word (``source``, ``state``) is too common in a program to say whose it is. Words of the recorded
    vocabulary are for everybody, and so is what a class outside the mechanisms declares as a field of its own.
    """
    owners = [*ALL_STRATEGIES, *every_mechanism()]
    names = {each.name for owner in owners if is_dataclass(owner) for each in fields(owner)}
    common = {name for base in (Mechanism, DirtySource, Strategy) for name in dir(base)}
    traits = {name for strategy in ALL_STRATEGIES for name in recorded_traits(strategy())}
    return {name for name in names - common - traits - declared_elsewhere() if "_" in name}


@functools.cache
def declared_elsewhere() -> set[str]:
    """Fields of classes outside the mechanisms."""
    return {
        node.target.id
        for path in MODULES
        for owner in ast.walk(ast.parse(path.read_text()))
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def names_in(source: str, known: set[str]) -> list[str]:
    """Attributes called as one of ``known``, and arguments given by such a name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in known:
            found.append(f"line {node.lineno}: .{node.attr}")
        if isinstance(node, ast.keyword) and node.arg in known:
            found.append(f"line {node.value.lineno}: {node.arg}=")
    return found


def strategies_in(source: str, known: set[str]) -> list[str]:
    """Strings that are a strategy's name, alone or in front of one of its parameters."""
    texts = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [
        f"line {line}: {text!r}"
        for line, text in texts
        if text.partition(".")[0] in known and " " not in text
    ]


DRIVERS = {each.name for each in every_mechanism()}
"""A strategy may be called as the driver that it stands on: of ``virtio-net``, the driver's name says nothing."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_names_no_strategy_and_no_parameter_of_a_mechanism(path: Path) -> None:
    source = path.read_text()
    assert strategies_in(source, STRATEGIES - DRIVERS) == []
    assert names_in(source, parameters()) == []


def test_what_it_looks_for_is_found() -> None:
    known = parameters()
    assert {"unmap_early", "late_maps", "ring_entries", "pool_bytes"} <= known
    assert names_in("if strategy.unmap_early:\n    run(late_maps=1)", known) == [
        "line 1: .unmap_early",
        "line 2: late_maps=",
    ]
    assert strategies_in("a = 'dummy-write'\nb = 'dummy-write.atomic'\nc = 'a dummy-write'", STRATEGIES) == [
        "line 1: 'dummy-write'",
        "line 2: 'dummy-write.atomic'",
    ]
