"""The commands that write, killed at each file-system event: the longer runs are in tests/scale."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str, *words: str) -> list[str]:
    """Run one of tests/scale in a process of its own; the lines that it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "scale" / name), *words],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_pack_and_a_page_are_the_old_or_the_new_at_every_event() -> None:
    lines = script("crash_points.py", "pack --force", "report --force")
    assert [line.rpartition(", ")[2] for line in lines] == ["the old or the new at each"] * 2


@pytest.mark.slow
def test_writers_that_are_killed_at_random_leave_nothing_torn() -> None:
    lines = script("kills.py", "--kills", "10", "--seed", str(random.SystemRandom().randrange(10**6)))
    assert len(lines) == 5
    assert all("nothing torn or lost" in line for line in lines)
