"""A sweep's folder of results: a record per cell, as every run has one, and what of it need not run again.

A cell is finished if its record says `ok` or `not-converged`, is of the experiment that the cell asks for, names the
costs that the profile has now, and all its tables can be read and agree. Other cells get another chance; the new
record then takes the old one's place, unless that is the only one of another experiment.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.experiment import identity
from vfbench.files import check_only, remove_leftovers
from vfbench.records import (
    RECORD_FILES,
    Encoded,
    Record,
    ResultSet,
    check_writable,
    read_manifest,
    read_record,
    run_folder_name,
)

if TYPE_CHECKING:
    from vfbench.profiles import Profile
    from vfbench.sweeps.cells import Cell

FINISHED_STATES = ("ok", "not-converged")
LOCK = ".lock"
_UNFINISHED_ONCE = re.compile(r"\..+-s[0-9]+-[0-9a-f]+\.([0-9]+|older)")
"""How earlier versions named what they had not finished."""


@dataclass(frozen=True)
class SweepResults:
    """The folder; it appears with `writing`."""

    folder: Path

    def manifest(self, cell: Cell) -> dict[str, Any] | None:
        """The manifest of the cell's record, None if there is no record; UserError for a broken one."""
        folder = self._place(cell)
        return read_manifest(folder) if folder.exists() else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While entered nobody else writes here, and what a killed sweep left half written is gone."""
        check_writable(self.folder)
        with _open_lock(self.folder / LOCK) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another sweep is writing to {self.folder}: wait for it, or name another --results DIR"
                ) from None
            remove_leftovers(self.folder, RECORD_FILES)
            remove_leftovers(self.folder, RECORD_FILES, _UNFINISHED_ONCE)
            yield

    def put(self, record: Encoded) -> Path:
        """The record's folder, in the place of an older one; that one stays if this can't be written."""
        return ResultSet(self.folder).put(record, replace=True)

    def is_finished(self, cell: Cell, manifest: Mapping[str, Any] | None, profile: Profile) -> bool:
        """Whether the cell, with this manifest in its place, need not run again."""
        if manifest is None or not is_finished(manifest, profile) or not _is_of(manifest, cell):
            return False
        try:
            return _agrees(read_record(self._place(cell)), cell)
        except UserError:  # a table is missing or broken
            return False

    def check_replaceable(self, cell: Cell, manifest: Mapping[str, Any] | None) -> None:
        """UserError, before anything runs, if what is in the cell's place is no record, or another's only one."""
        place = self._place(cell)
        try:
            if os.path.lexists(place):
                check_only(place, RECORD_FILES)
        except OSError as error:
            raise UserError(f"{place} can't be replaced: {error.strerror}: move it away") from error
        if manifest is not None and manifest["state"] in FINISHED_STATES:
            other = str(manifest.get("digest"))
            elsewhere = any(path.name.endswith(f"-{other}") for path in self.folder.iterdir())
            if other != cell.digest and not elsewhere:
                raise UserError(
                    f"{place} holds the only record of another experiment ({other}): move it away"
                )

    def _place(self, cell: Cell) -> Path:
        return self.folder / run_folder_name(cell.experiment)


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    """The file to lock, made if there is none; whatever else has its name is not touched."""
    try:
        # O_NONBLOCK: a FIFO of that name would be waited for.
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
    except OSError as error:
        raise UserError(f"the sweep's lock {path} can't be opened: {error.strerror}") from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"the sweep's lock {path} is no file: move it away")
        yield descriptor


def _is_of(manifest: Mapping[str, Any], cell: Cell) -> bool:
    """Whether it is the record of the cell's experiment, by its digest and by what it says of it itself."""
    if manifest.get("digest") != cell.digest:
        return False
    asked = json.loads(json.dumps(cell.experiment.to_json()))
    return _agrees_with(identity(manifest["experiment"]), identity(asked))


def _agrees_with(recorded: Any, asked: Any) -> bool:
    """In all that both name: parameters that came later are not in older records."""
    if isinstance(recorded, dict) and isinstance(asked, dict):
        return all(_agrees_with(recorded[name], asked[name]) for name in recorded.keys() & asked.keys())
    return bool(recorded == asked)


def _agrees(record: Record, cell: Cell) -> bool:
    """Whether its tables are those of the cell's run, and as long as the run says."""
    run, manifest = record.run, record.manifest
    own = (run["experiment"], run["seed"], run["state"], run["profile_digest"])
    rounds = run.get("rounds")
    return own == (cell.digest, cell.experiment.seed, manifest["state"], manifest["profile"]["digest"]) and (
        rounds is None or rounds == len(record.rounds)
    )


def is_finished(manifest: Mapping[str, Any] | None, profile: Profile) -> bool:
    """Whether a record with this manifest would do for a cell that asks for its experiment."""
    return (
        manifest is not None
        and manifest["state"] in FINISHED_STATES
        and manifest["profile"].get("digest") == profile.digest
    )
