"""Writing records: a folder per run inside a result set, there in full or not at all.

A run is written to a hidden sibling, synced to disk, then renamed (``vfbench.files``). Whoever is killed in between
leaves only the hidden folder, which no reader takes for a result. Times stand in the manifest alone, so the same
experiment twice gives bit-identical Parquet files.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.files import make_folders, make_new_folder, write_folder
from vfbench.needs import needs_of
from vfbench.profiles.machine import Need
from vfbench.records.environment import environment
from vfbench.records.outcome import Outcome
from vfbench.records.parquet import parquet
from vfbench.records.schema import ABSENT_TRAITS, INTERVALS, ROUNDS, RUNS, SCHEMA_VERSION, TRAITS, Cell
from vfbench.strategy import Strategy, recorded_traits

MANIFEST = "manifest.json"
RUNS_FILE = "runs.parquet"
ROUNDS_FILE = "rounds.parquet"
INTERVALS_FILE = "intervals.parquet"
_LONE_SURROGATE = re.compile("[\\ud800-\\udfff]")
RECORD_FILES = (MANIFEST, RUNS_FILE, ROUNDS_FILE, INTERVALS_FILE)

LONGEST_NAME = 60


class Costs(Protocol):
    """What a record needs of a profile."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def digest(self) -> str:
        """Differs as soon as a figure does."""

    def to_json(self) -> dict[str, Any]:
        """Every figure."""

    def hypothetical(self, needs: Iterable[Need]) -> tuple[str, ...]:
        """Which of these its machine lacks, and a run may assume all the same."""

    def __hash__(self) -> int:
        """The document is made once for all records that share it."""


@dataclass(frozen=True)
class ResultSet:
    """The folder that the runs of one command go to."""

    folder: Path

    @classmethod
    def create(cls, root: Path, strategies: Sequence[str], workload: str, now: datetime) -> ResultSet:
        """A new folder under `root`, nobody else's; UserError now, not after the run, if it can't be written."""
        check_writable(root)
        names = strategies[0] if len(strategies) == 1 else f"{len(strategies)}-strategies"
        stem = f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{names}-{workload}"
        for number in itertools.count(1):
            folder = root / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                make_new_folder(folder)
                break
        return cls(folder)

    def discard_empty(self) -> None:
        """Take the folder away again if no run came to its end."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def write(
        self, experiment: Experiment, outcome: Outcome, profile: Costs, *, started: datetime, command: str
    ) -> Path:
        """The run's folder, once it is on disk; UserError if it can't be, or if that run is there already."""
        return self.put(encode(experiment, outcome, profile, started=started, command=command))

    def put(self, record: Encoded, *, replace: bool = False) -> Path:
        """What `write` does, for a record that is encoded already; or in the place of an older one, at once."""
        final = self.folder / record.folder
        try:
            write_folder(final, record.files, replaces=RECORD_FILES if replace else None)
        except FileExistsError as error:
            reason = f"{error.strerror}: move it away" if replace else "a finished run is never overwritten"
            raise UserError(f"{final} is there already; {reason}") from error
        except OSError as error:
            raise UserError(f"can't write the record {final}: {error.strerror or error}") from error
        return final


@dataclass(frozen=True)
class Encoded:
    """A record as it will be on disk: its folder's name, and by their names the bytes of its files."""

    folder: str
    files: dict[str, bytes]


def encode(
    experiment: Experiment,
    outcome: Outcome,
    profile: Costs,
    *,
    started: datetime,
    command: str,
) -> Encoded:
    """The record of a run that took place in this process: its environment is part of it."""
    document = _manifest(experiment, outcome, profile, started, command)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    files = {
        RUNS_FILE: parquet([_run_row(experiment, outcome, profile)], RUNS),
        ROUNDS_FILE: parquet(outcome.rounds, ROUNDS),
        INTERVALS_FILE: parquet(outcome.intervals, INTERVALS),
        # JSON is UTF-8: of a name that is none, the bytes are written out, with the backslash that JSON wants doubled.
        MANIFEST: _LONE_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", f"{text}\n").encode(),
    }
    return Encoded(run_folder_name(experiment), files)


def check_writable(root: Path) -> None:
    """UserError unless `root` is a folder (made if it is missing) that takes files."""
    try:
        make_folders(root)
        with tempfile.NamedTemporaryFile(dir=root, prefix=".writable-"):
            pass
    except OSError as error:
        raise UserError(
            f"results folder {str(root)!r} can't be written ({error.strerror or error}): "
            "name another with --results DIR"
        ) from error


def run_folder_name(experiment: Experiment) -> str:
    """Name, seed and digest: the name may be cut, the digest tells experiments apart."""
    return f"{experiment.name[:LONGEST_NAME]}-s{experiment.seed}-{experiment.digest}"


def _run_row(experiment: Experiment, outcome: Outcome, profile: Costs) -> dict[str, Cell]:
    return {
        "strategy": experiment.strategy.name,
        "workload": experiment.workload.name,
        "testbed": experiment.testbed,
        "profile": profile.name,
        "profile_digest": profile.digest,
        "experiment": experiment.digest,
        "seed": experiment.seed,
        "state": outcome.state,
        "reason": outcome.reason,
        **traits_row(experiment.strategy),
        "hypothetical": " ".join(profile.hypothetical(needs_of(experiment))),
        **outcome.measures,
    }


def traits_row(strategy: Strategy) -> dict[str, Cell]:
    """What a strategy and its mechanisms say of themselves: the columns that there are, and all words as JSON."""
    traits = recorded_traits(strategy)
    row = {each.name: traits.get(each.name, ABSENT_TRAITS.get(each.name)) for each in TRAITS}
    return {**row, "traits": json.dumps(traits, sort_keys=True)}


def _manifest(
    experiment: Experiment, outcome: Outcome, profile: Costs, started: datetime, command: str
) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "experiment": experiment.to_json(),
        "digest": experiment.digest,
        "seed": experiment.seed,
        "state": outcome.state,
        "reason": outcome.reason,
        "command": command,
        "started": started.astimezone(UTC).isoformat(timespec="milliseconds"),
        "wall_s": outcome.wall_s,
        "profile": {"name": profile.name, "digest": profile.digest, "figures": _figures(profile)},
        "environment": _environment(),
    }


@cache
def _figures(profile: Costs) -> dict[str, Any]:
    return profile.to_json()


@cache
def _environment() -> dict[str, Any]:
    return environment()
