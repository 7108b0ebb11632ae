"""Results that are broken, foreign or empty, and commands that ask amiss: one line, exit code 2, nothing written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.fakes import experiment
from support.made_up import outcome, two_strategies, write

import cli
from vfbench.records import Outcome, read_records
from vfbench.records.pack import write_packed

Break = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    two_strategies(folder / "set", seeds=1)
    write_packed(read_records(folder / "set"), folder / "packed")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sound result set, `set`, and the same packed."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a command that ends with exit code 2 and says nothing else."""
    assert cli.main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("bench: ")
    return line


def run_of(name: str) -> Path:
    return sorted(Path(name).iterdir())[0]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def retype(path: Path) -> None:
    table = pyarrow.parquet.read_table(path)
    place = table.column_names.index("gbps")
    pyarrow.parquet.write_table(table.set_column(place, "gbps", pyarrow.array(["fast"])), path)


BROKEN: dict[str, tuple[Break, str]] = {
    "a table cut short": (lambda run: cut(run / "runs.parquet"), "runs.parquet is broken ("),
    "a table missing": (lambda run: (run / "rounds.parquet").unlink(), "rounds.parquet is missing: take"),
    "a table of words": (lambda run: retype(run / "runs.parquet"), "column gbps takes float64, not 'fast'"),
    "a manifest cut short": (lambda run: cut(run / "manifest.json"), "manifest.json is broken ("),
    "a newer schema": (
        lambda run: edit(run / "manifest.json", schema=7),
        "has schema 7; this vfbench reads up to",
    ),
    "no experiment": (
        lambda run: edit(run / "manifest.json", experiment={"x": 1}),
        "its 'experiment.strategy' is None",
    ),
    "no profile": (lambda run: edit(run / "manifest.json", profile={}), "its 'profile.name' is None"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("command", ["report", "claims", "show"])
def test_a_broken_record_is_named_with_what_is_wrong(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    damage, complaint = BROKEN[kind]
    damage(run_of("set"))
    line = refusal(capsys, command, "set")
    assert complaint in line
    assert run_of("set").name in line
    assert not list(here.glob("*.html"))


@pytest.mark.parametrize("file", ["packed.json", "manifests.parquet", "runs.parquet", "intervals.parquet"])
def test_a_broken_packed_set_is_named_with_the_file(
    here: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    cut(Path("packed") / file)
    assert f"packed/{file} is broken (" in refusal(capsys, "claims", "packed")
    (Path("packed") / file).unlink()
    if file != "packed.json":
        assert f"packed/{file} is missing: take its folder away" in refusal(capsys, "claims", "packed")


def test_where_there_are_no_results_a_folder_is_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    for name, complaint in (
        ("empty", "'empty' holds no finished run"),
        ("nowhere", "no result at 'nowhere'"),
        ("file", "'file' is a file: name the folder"),
    ):
        assert complaint in refusal(capsys, "report", name)
        assert complaint in refusal(capsys, "compare", "set", name)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("report", "set", "-o", "nowhere/page.html"), "there is no folder 'nowhere'"),
        (("report", "set", "-o", "file/page.html"), "there is no folder 'file'"),
        (("report", "set", "--baseline", "carefull"), "'carefull' - did you mean 'careful'?"),
        (("compare", "set", "set", "--fail-over", "5"), "'5' is 500%: write 5% for that many per cent"),
        (("compare", "set", "set", "--fail-over", "-5%"), "'-5%' is no ratio"),
        (("compare", "set", "set", "--fail-over", "a lot"), "'a lot' is no ratio"),
        (("compare", "set", "other"), "none of the 2 experiments of A is among the 1 of B"),
        (("claims", "set", "--claim", "C13"), "no claim is called 'C13'"),
        (("pack", "set", "-o", "other"), "'other' holds something else than a packed set"),
        (("sensitivity", "failed", "--dry-run"), "no run was measured"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    Path("file").touch()
    write(Path("other"), experiment(seed=9, testbed="kvm"), outcome(1.0))
    write(Path("failed"), experiment(seed=9), Outcome("failed", "it broke"))
    before = set(here.rglob("*"))
    assert complaint in refusal(capsys, *words)
    assert set(here.rglob("*")) == before


def sets() -> dict[str, Callable[[Path], None]]:
    stuck = dataclasses.replace(outcome(1.0), state="not-converged", reason="30 rounds")
    return {
        "only failed runs": lambda at: (write(at, experiment(), Outcome("failed", "it broke")), None)[1],
        "one run": lambda at: (write(at, experiment(), outcome(1.0)), None)[1],
        "only kvm": lambda at: (two_strategies(at, seeds=1, testbed="kvm", functional=True), None)[1],
        "never completed": lambda at: (write(at, experiment(), stuck), None)[1],
    }


@pytest.mark.parametrize("kind", sets())
@pytest.mark.parametrize("ending", ["html", "md"])
def test_a_meagre_set_becomes_a_page_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, ending: str
) -> None:
    sets()[kind](tmp_path / "set")
    page = tmp_path / f"page.{ending}"
    assert cli.main(["report", str(tmp_path / "set"), "-o", str(page)]) == 0
    said = {
        "only failed runs": "Never compared: careful (failed)",
        "one run": "1 run each",
        "only kvm": "testbed kvm",
        "never completed": "(not-converged)",
    }
    assert said[kind] in page.read_text()
    assert cli.main(["claims", str(tmp_path / "set")]) == 0
    assert "NOT ENOUGH DATA" in capsys.readouterr().out
