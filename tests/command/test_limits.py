"""Every run has a limit of wall time that says so: of each command that runs something."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cli
from vfbench import runner
from vfbench.kernels import COMPILED, kernel
from vfbench.kernels.interrupts import interrupts_kept
from vfbench.time_limit import OutOfTime, time_limit


def endless(*_: object) -> None:
    """A run that reports no progress and never ends."""
    time.sleep(60)


@pytest.fixture
def never_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    testbed = SimpleNamespace(run=endless, refusals=lambda _: [])
    monkeypatch.setattr(runner, "load_testbed", lambda name: testbed)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--strategy", "untracked"),
        ("ndr", "--strategy", "untracked", "--frame", "64B"),
        ("faults", "--only", "1"),
        ("advise", "--card", "e810", "--strategy", "standby-failover"),
        ("validate", "published", "--only", "bare-metal-strict", "--json"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_run_without_an_end_is_ended_and_that_is_said(
    never_ends: None, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert cli.main([*words, "--time-limit", "1ms"]) == 1
    said = "".join(capsys.readouterr())
    assert "still running after 0.001 s" in said


def test_what_runs_as_a_whole_is_ended_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vfbench.validation.known import comparison

    monkeypatch.setattr(comparison, "compare", endless)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["validate", "model", "--time-limit", "1ms"]) == 1
    assert capsys.readouterr().err == "bench: still running after 0.001 s; --time-limit gives it more\n"


@pytest.mark.parametrize("command", ["ndr", "faults", "advise", "crosscheck", "validate published"])
def test_a_limit_that_is_none_is_refused_before_anything_runs(
    never_ends: None, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([*command.split(), "--time-limit", "0s"]) == 2
    assert "give more than 0" in capsys.readouterr().err


def test_a_limit_that_is_over_while_numba_compiles_is_raised_where_nothing_drops_it() -> None:
    reached = []

    def compile_for_too_long() -> None:
        with time_limit(60, lambda *_: None), interrupts_kept():
            signal.raise_signal(signal.SIGALRM)
            reached.append("on")

    with pytest.raises(OutOfTime):
        compile_for_too_long()
    assert reached == ["on"]


def of_many_steps() -> Callable[[Any], int]:
    """A kernel that nobody has compiled."""

    @kernel
    def kernel_of_many_steps(words: Any) -> int:
        return words[0] + words[1]

    return kernel_of_many_steps


@pytest.mark.skipif(not COMPILED, reason="the compiler is off")
def test_a_kernel_whose_compilation_was_cut_off_by_a_limit_is_compiled_the_next_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    made, words = of_many_steps(), np.array([3, 4], dtype=np.int64)

    def cut_off() -> None:
        with time_limit(60, lambda *_: None):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            made(words)

    with pytest.raises(OutOfTime):
        cut_off()
    assert made(words) == 7
