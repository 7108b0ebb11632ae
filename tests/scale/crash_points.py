"""Every file-system event of each writer as a point at which it dies: the old or the new is there, and whole.

PYTHONPATH=.:tests python tests/scale/crash_points.py [WRITER...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from support.crash_points import crashes
from support.writers import LEFTOVERS_GO, WRITERS, in_folder, leftovers, pretend


def points(name: str) -> list[object]:
    """What was there after a crash at each event, the last of them after none; raises if it is not whole."""
    writer = WRITERS[name]
    found = []
    for at in crashes(writer.work, writer.prepare):
        seen = writer.look()
        if seen not in writer.outcomes:
            raise AssertionError(f"{name}, event {at}: {seen!r} is there")
        found.append(seen)
    if found != sorted(found, key=writer.outcomes.index) or found[-1] != writer.outcomes[-1]:
        raise AssertionError(f"{name}: what was finished went away again: {found}")
    if name in LEFTOVERS_GO and leftovers():
        raise AssertionError(f"{name}: {leftovers()} are left")
    return found


def main(names: list[str]) -> None:
    pretend()
    for name in names or WRITERS:
        with tempfile.TemporaryDirectory() as folder, in_folder(Path(folder)):
            print(f"{name}: {len(points(name)) - 1} crash points, the old or the new at each", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
