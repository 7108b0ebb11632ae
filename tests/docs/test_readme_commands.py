"""README's commands: those that take under ten seconds are run, and all others are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^bench [^\n]+", README, re.MULTILINE)
TAKES_LONGER = re.compile(r"minute|ten seconds")


def words(line: str) -> list[str]:
    return shlex.split(line.partition("#")[0])[1:]


SHORT = [line for line in LINES if not TAKES_LONGER.search(line)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: a later command reads what an earlier one wrote."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "results").mkdir()
    (folder / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    return folder


def test_enough_of_them_are_run() -> None:
    assert len(SHORT) >= 4


@pytest.mark.parametrize("line", SHORT)
def test_a_short_command_does_what_it_says(
    line: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    assert cli.main(words(line)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", LINES)
def test_every_command_is_one(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = next(iter(words(line)))
    assert cli.main([command, "--help"]) == 0
    options = [word for word in words(line) if word.startswith("--")]
    shown = capsys.readouterr().out
    assert [word for word in options if word not in shown] == []


def test_the_sample_is_what_the_answer_says_of_its_own_table() -> None:
    block = next(each for each in README.split("```") if "Speed and blackout" in each)
    damaged = re.findall(r"^(\S+) +DAMAGED", block, re.MULTILINE)
    whole = re.findall(r"^(\S+) +WHOLE", block, re.MULTILINE)
    assert f"WHOLE: {', '.join(whole)} (1 run each)." in block
    assert f"DAMAGED: {damaged[0]} (" in block
    assert max(map(len, block.splitlines())) <= 80


def test_what_is_simulated_stands_in_the_first_lines() -> None:
    assert "**What is simulated.**" in "\n".join(README.splitlines()[:8])
