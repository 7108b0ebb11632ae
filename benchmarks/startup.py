"""What a command takes as a whole process, from its start to its end: seconds, and memory at the peak.

`bench --help` and a default run with the kernels compiled; a guest of 1 TiB; how time grows with the guest.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(sys.executable).with_name("bench")
REPEATS = 7
DEFAULT_RUN = ("run", "--strategy", "dummy-write")
SLOW_LINK = ("--rate", "1Mbps")
"""A low rate, so that what is left is the guest's size."""


@dataclass(frozen=True)
class Process:
    """One finished process."""

    wall_s: float
    peak_bytes: int


def spawn(*arguments: str) -> Process:
    """Run `bench` with these arguments to its end; SystemExit with what it said, if it failed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([BENCH, *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            sys.exit(f"bench {' '.join(arguments)} ended with {child.returncode}: {said.read().decode()}")
    return Process(wall_s, usage.ru_maxrss * 1024)


def show(name: str, *arguments: str, repeats: int = REPEATS) -> None:
    """One line: the median process of several, the fastest and the slowest, and the highest peak."""
    ran = [spawn(*arguments) for _ in range(repeats)]
    walls = [each.wall_s for each in ran]
    spread = f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
    peak_mib = max(each.peak_bytes for each in ran) / 2**20
    print(f"{name:44}{repeats:>5}{spread:>26}{peak_mib:>10.0f}", flush=True)


def main() -> int:
    """Print the figures; never judge them."""
    print(f"{'whole process':44}{'runs':>5}{'median s (range)':>26}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        results = ("--results", folder)
        spawn(*DEFAULT_RUN, *results)  # compiles, where that is still to be done
        show("bench --help", "--help")
        show("bench run --strategy dummy-write", *DEFAULT_RUN, *results)
        for memory in ("1GiB", "4GiB", "16GiB", "64GiB"):
            show(
                f"... --memory {memory} --rate 1Mbps",
                *DEFAULT_RUN,
                *results,
                *SLOW_LINK,
                "--memory",
                memory,
                repeats=3,
            )
        show(
            "... --memory 1TiB --rate 1Mbps",
            *DEFAULT_RUN,
            *results,
            *SLOW_LINK,
            "--memory",
            "1TiB",
            repeats=1,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
