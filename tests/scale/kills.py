"""Writers killed at random moments (SIGKILL), again and again in the same folder: nothing torn, nothing finished lost.

    PYTHONPATH=.:tests python tests/scale/kills.py --kills 1000 --seed 1 --jobs 2

Every other kill is followed by another, of whoever goes on in that folder; the last one comes to its end. TMPDIR says
on which file system. A child that is forked from a process which has loaded everything does the commands' own work
on made-up runs: half of the kills come at any of its moments, half at any after its first hidden file or folder.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from support.writers import LEFTOVERS_GO, WRITERS, Writer, in_folder, leftovers, pretend


@dataclass(frozen=True)
class Moments:
    """Seconds that a writer takes from its start, and from its first hidden name on."""

    whole_s: float
    writing_s: float


def moments(writer: Writer) -> Moments:
    """What the work takes once everything is loaded: the median of three."""
    writer.prepare()
    writer.work()
    whole_s, writing_s = [], []
    for _ in range(3):
        writer.prepare()
        began = time.monotonic()
        child, told = _started(writer.work)
        os.read(told, 1)
        first = time.monotonic()
        _wait(child, told)
        ended = time.monotonic()
        whole_s.append(ended - began)
        writing_s.append(ended - first)
    return Moments(median(whole_s), median(writing_s))


def kill_once(work: Callable[[], object], at: Moments, chance: random.Random) -> bool:
    """Begin the work in a child and kill it at any moment, or at any of its writing; whether that was in time."""
    child, told = _started(work)
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, at.whole_s))
    else:
        os.read(told, 1)
        time.sleep(chance.uniform(0, at.writing_s))
    os.kill(child, signal.SIGKILL)
    return _wait(child, told) == -signal.SIGKILL


def _started(work: Callable[[], object]) -> tuple[int, int]:
    """A child, and a descriptor at which a byte comes once it makes its first hidden file or folder."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(_teller(tell))
            work()
        finally:
            os._exit(0)
    os.close(tell)
    return child, told


def _teller(tell: int) -> Callable[[str, tuple[Any, ...]], None]:
    left = ["once"]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir") and left and ".vfbench-" in str(arguments[0]):
            left.clear()
            os.write(tell, b".")

    return hook


def _wait(child: int, told: int) -> int:
    os.close(told)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kills(name: str, count: int, chance: random.Random) -> Counter[object]:
    """How often each outcome was there after a kill; raises for any other."""
    writer = WRITERS[name]
    at = moments(writer)
    found: Counter[object] = Counter()
    while found.total() < count:
        writer.prepare()
        seen: object = writer.outcomes[0]
        while kill_once(writer.work, at, chance):
            seen = _checked(name, seen)
            found[seen] += 1
            if name not in LEFTOVERS_GO or chance.random() < 0.5 or found.total() == count:
                break
        _goes_on(name)
    return found


def _checked(name: str, before: object) -> object:
    """What is there after a kill; raises if it is not whole, or less than `before`."""
    writer = WRITERS[name]
    seen = writer.look()
    if seen not in writer.outcomes:
        raise AssertionError(f"{name}: {seen!r} is there after a kill")
    if writer.outcomes.index(seen) < writer.outcomes.index(before):
        raise AssertionError(f"{name}: {before!r} was there, {seen!r} is after a kill")
    return seen


def _goes_on(name: str) -> None:
    """Where it was killed it comes to its end, and no leftover is in its way."""
    writer = WRITERS[name]
    writer.work()
    if name in LEFTOVERS_GO and writer.look() != writer.outcomes[-1]:
        raise AssertionError(f"{name}: {writer.look()!r} is there after going on")
    if name in LEFTOVERS_GO and leftovers():
        raise AssertionError(f"{name}: {leftovers()} are left")


def share(name: str, count: int, seed: int) -> tuple[str, Counter[object], float]:
    """The kills of one writer, in a folder of its own."""
    pretend()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, in_folder(Path(folder)):
        found = kills(name, count, random.Random(f"{name} {seed}"))
    return name, found, time.monotonic() - began


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kills", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1, help="how many writers at a time")
    given = options.parse_args()
    each = -(-given.kills // len(WRITERS))
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        shares = [pool.submit(share, name, each, given.seed) for name in WRITERS]
        for done in shares:
            name, found, took_s = done.result()
            said = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(found.items(), key=str))
            print(f"{name}: {found.total()} kills in {took_s:.0f} s, nothing torn or lost (left there: {said})",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
