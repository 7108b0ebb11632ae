"""The environment as it may be: streams that are closed, full or of few characters, names that are no UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.made_up import experiment, outcome, write

from vfbench.records import Outcome, read_records, read_runs

ROOT = Path(__file__).parents[2]
NAME = os.fsdecode(b"s\xff\xe9t")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("set"), experiment(), outcome(1.0))
    write(Path(NAME), experiment(), outcome(1.0))
    return tmp_path


def bench(*words: str, shell: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cli.py"), *words]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=variables)


def test_a_full_output_is_one_line_before_anything_runs() -> None:
    done = bench("show", "set", shell="> /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device; nothing was run" in done.stderr


@pytest.mark.parametrize("shell", [">&-", "<&- >&- 2>&-"])
def test_with_closed_streams_the_command_works_and_its_files_are_its_own(here: Path, shell: str) -> None:
    done = bench("report", "set", "-o", "page.md", shell=shell)
    assert done.returncode == 0
    assert (here / "page.md").read_text().startswith("## vfbench")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_an_encoding_of_few_characters_is_no_obstacle(encoding: str) -> None:
    done = bench("show", "set", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "throughput" in done.stdout


@pytest.mark.parametrize(
    "words", [("show", NAME), ("report", NAME, "-o", NAME + ".md"), ("pack", NAME, "-o", NAME + "2")]
)
def test_names_that_are_no_utf_8_work(words: tuple[str, ...]) -> None:
    done = bench(*words)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_no_utf_8_is_recorded_and_read_back(here: Path) -> None:
    write(Path("other"), experiment(), Outcome("failed", f"no capture {NAME}"), command=f"bench run {NAME}")
    (record,) = read_records("other")
    shown = r"s\udcff\udce9t"
    assert f"bench run {shown}" in record.manifest["command"]
    assert record.run["reason"] == f"no capture {shown}"
    assert read_runs(NAME)["record"].str.startswith("s\\xff").all()


def test_a_home_that_takes_no_files_is_no_obstacle(here: Path) -> None:
    done = bench("report", "set", "-o", "page.html", HOME="/dev/null", XDG_CACHE_HOME="/dev/null")
    assert done.returncode == 0
    assert (here / "page.html").exists()
