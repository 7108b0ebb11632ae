"""Strategies of other packages: taken if they are fit, refused by name if not."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from support.fakes import Careful, Careless, Steady

from vfbench.errors import UserError
from vfbench.plugins import load_strategies, load_workloads, summary
from vfbench.strategy import Strategy


@dataclass(frozen=True)
class Foreign(Strategy):
    """Somebody else's idea."""

    name: ClassVar[str] = "foreign"


@dataclass(frozen=True)
class Silent(Strategy):
    name: ClassVar[str] = "silent"


@dataclass(frozen=True)
class Nameless(Strategy):
    """It has none."""


@dataclass(frozen=True)
class Taken(Strategy):
    """It has another's name."""

    name: ClassVar[str] = "careful"


@dataclass(frozen=True)
class Reserved(Strategy):
    """Its name means something else."""

    name: ClassVar[str] = "guest"


class Mutable(Strategy):
    """No dataclass of its own."""

    name: ClassVar[str] = "mutable"


class Entry:
    """An entry point that gives an object, or raises."""

    name = "extra"
    value = "package:Extra"

    def __init__(self, given: Any) -> None:
        self.given = given

    def load(self) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def plug_in(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    def entry_points(*, group: str) -> list[Entry]:
        return [Entry(given)] if group == "vfbench.strategies" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_plugin_stands_beside_the_shipped_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, Foreign)
    assert list(load_strategies([Careful, Careless])) == ["careful", "careless", "foreign"]
    assert list(load_workloads([Steady])) == ["steady"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (RuntimeError("no\nGPU"), "RuntimeError: no GPU"),
        (ImportError("No module named 'package'"), "ImportError: No module named"),
        (Steady, "not a class derived from vfbench's Strategy"),
        (Foreign(), "not a class derived from vfbench's Strategy"),
        (Silent, "'silent' has no docstring"),
        (Nameless, "its name is None"),
        (Taken, "the name 'careful' is taken by support.fakes.Careful"),
        (Reserved, "its name 'guest' means something else"),
        (Mutable, "'mutable' is no frozen dataclass"),
    ],
)
def test_a_plugin_that_wont_do_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, given: Any, complaint: str
) -> None:
    plug_in(monkeypatch, given)
    with pytest.raises(UserError) as refused:
        load_strategies([Careful])
    assert str(refused.value).startswith("plugin 'extra' (vfbench.strategies: package:Extra)")
    assert complaint in str(refused.value)


def test_a_summary_is_the_first_line_of_the_docstring() -> None:
    assert summary(Careful) == "Marks every page."
