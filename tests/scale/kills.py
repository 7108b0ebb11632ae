"""Writers killed at random moments (SIGKILL), again and again in the same folder: nothing torn, nothing finished lost.

PYTHONPATH=.:tests python tests/scale/kills.py --kills 1000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from support.writers import LEFTOVERS_GO, WRITERS, in_folder, leftovers, pretend


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes in a child that nobody kills."""
    began = time.monotonic()
    _wait(_started(work))
    return time.monotonic() - began


def kill_once(work: Callable[[], object], after_s: float) -> bool:
    """Begin the work in a child and kill it so much later; whether that was before its end."""
    child = _started(work)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return _wait(child) == -signal.SIGKILL


def _started(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kills(name: str, count: int, chance: random.Random) -> Counter[object]:
    """How often each outcome was there after a kill; raises for any other."""
    writer = WRITERS[name]
    writer.prepare()
    longest_s = timed(writer.work)
    found: Counter[object] = Counter()
    while found.total() < count:
        writer.prepare()
        if not kill_once(writer.work, chance.uniform(0, longest_s)):
            continue
        seen = writer.look()
        if seen not in writer.outcomes:
            raise AssertionError(f"{name}: {seen!r} is there after a kill")
        found[seen] += 1
        # Where it was killed it goes on, and no leftover is in its way.
        writer.work()
        if writer.look() != writer.outcomes[-1] and name in LEFTOVERS_GO:
            raise AssertionError(f"{name}: {writer.look()!r} is there after going on")
        if name in LEFTOVERS_GO and leftovers():
            raise AssertionError(f"{name}: {leftovers()} are left")
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    pretend()
    chance = random.Random(given.seed)
    for name in WRITERS:
        with tempfile.TemporaryDirectory() as folder, in_folder(Path(folder)):
            found = kills(name, -(-given.kills // len(WRITERS)), chance)
            said = ", ".join(f"{outcome}: {count}" for outcome, count in sorted(found.items(), key=str))
            print(f"{name}: {found.total()} kills, nothing torn or lost (left there: {said})", flush=True)


if __name__ == "__main__":
    main()
