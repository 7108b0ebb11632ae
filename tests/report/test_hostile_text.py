"""Names that are code elsewhere are text on every surface."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fakes import Careful, Replay, experiment
from support.made_up import outcome, write

import cli

HOSTILE = "t[eth0]\x1b]0;owned\x07<script>alert(1)</script>\n# heading.pcap"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("plain.pcap", HOSTILE):
        write(
            tmp_path / "results", experiment(strategy=Careful(), workload=Replay(capture=name)), outcome(8.0)
        )
    return tmp_path / "results"


def test_the_terminal_sees_no_escapes(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", str(results)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "t[eth0]" in out
    assert not [line for line in out.splitlines() if line.startswith("# heading")]


@pytest.mark.parametrize("format_", ["md", "html"])
def test_a_page_holds_no_markup_of_others(results: Path, tmp_path: Path, format_: str) -> None:
    page = tmp_path / f"page.{format_}"
    assert cli.main(["report", str(results), "-o", str(page), "--format", format_]) == 0
    content = page.read_text()
    assert "<script>alert" not in content
    assert "\x1b" not in content
    assert "t[eth0]" in content
    assert not [line for line in content.splitlines() if line.startswith("# heading")]
