"""Strategies that misbehave in a worker process: its own death, and a migration that never ends."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from strategies import Untracked
from vfbench.parameters import parameter
from vfbench.strategy import Migration


@dataclass(frozen=True)
class Deadly(Untracked):
    """Kills its process in the middle of the run, the first few times."""

    name: ClassVar[str] = "deadly"

    times: int = parameter(1, low=0, high=100, help="how often")
    log: str = parameter("", help="file with a line for each time it ran")

    def migrate(self, migration: Migration) -> None:
        path = Path(self.log)
        with path.open("a") as file:
            file.write("ran\n")
        if len(path.read_text().splitlines()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        super().migrate(migration)


@dataclass(frozen=True)
class Endless(Untracked):
    """Never migrates."""

    name: ClassVar[str] = "endless"

    def migrate(self, migration: Migration) -> None:
        while True:
            time.sleep(0.1)


MISBEHAVING = {each.name: each for each in (Untracked, Deadly, Endless)}
