"""A mistake in a strategy's file is one line, with the file and the line where it is."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fakes import Steady

from vfbench import runner
from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.mistakes import in_folder
from vfbench.profiles import load_profile
from vfbench.runner import attempt, refusals

GOOD = '''"""Mine."""

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanisms.backends import Vf
from vfbench.strategy import Strategy


@dataclass(frozen=True)
class Mine(Strategy):
    """Mine."""

    name: ClassVar[str] = "mine"

    @property
    def mechanisms(self):
        return (Vf(),)

    def migrate(self, migration):
        migration.pre_copy()
        migration.resume()
'''


def line_of(text: str, source: str) -> int:
    return 1 + source[: source.index(text)].count("\n")


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def written(source: str) -> Any:
        (tmp_path / "mine.py").write_text(source)
        sys.modules.pop("mine", None)
        importlib.invalidate_caches()
        return importlib.import_module("mine").Mine()

    yield written
    sys.modules.pop("mine", None)


def complaint(strategy: Any) -> str:
    with pytest.raises(UserError) as caught:
        refusals(Experiment(strategy=strategy, workload=Steady()), load_profile("xeon-82599"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def carried_out(strategy: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    class Verbs:
        def pre_copy(self) -> None: ...
        def resume(self) -> None: ...

    testbed = SimpleNamespace(run=lambda made, *_: made.strategy.migrate(Verbs()))
    monkeypatch.setattr(runner, "load_testbed", lambda _: testbed)
    made = Experiment(strategy=strategy, workload=Steady())
    return attempt(testbed, made, load_profile("xeon-82599"), lambda *_: None)[0].reason


def test_no_migrate(author: Any) -> None:
    source = GOOD.partition("    def migrate")[0]
    place = f"mine.py:{line_of('@dataclass', source)}: "
    assert complaint(author(source)).startswith(f"{place}strategy 'mine' has no migrate()")


def test_a_misspelt_verb(author: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = GOOD.replace("pre_copy", "precopy")
    reason = carried_out(author(source), monkeypatch)
    assert reason.startswith(f"mine.py:{line_of('migration.precopy', source)}: AttributeError: ")


def test_a_wrong_argument_count(author: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = GOOD.replace("pre_copy()", "pre_copy(1, 2)")
    reason = carried_out(author(source), monkeypatch)
    assert reason.startswith(f"mine.py:{line_of('migration.pre_copy', source)}: TypeError: ")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("from vfbench.strategy import Strategi\n", "ImportError: cannot import name 'Strategi'"),
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def (\n", "SyntaxError: "),
    ],
)
def test_a_bad_import(author: Any, tmp_path: Path, mistake: str, words: str) -> None:
    source = GOOD.replace("\n\n\n@dataclass", f"\n{mistake}\n\n@dataclass", 1)
    with pytest.raises((ImportError, SyntaxError)) as caught:
        author(source)
    place = f"mine.py:{line_of(mistake, source)}: "
    assert in_folder(caught.value, tmp_path).startswith(place + words)


@pytest.mark.parametrize(
    ("trait", "words"),
    [
        ("{'stop_order': 3}", "trait 'stop_order' is 3, which is no str"),
        ("{'of_mine': [1]}", "trait 'of_mine' is [1], which is no text, true, false or whole number"),
        ("{'stop_order': self.nowhere}", "traits: AttributeError"),
    ],
)
def test_a_wrong_trait(author: Any, trait: str, words: str) -> None:
    source = GOOD + f"\n    @property\n    def traits(self):\n        return {trait}\n"
    found = complaint(author(source))
    assert found.startswith("mine.py:")
    assert words in found
