"""A sweep's folder of results: a record per cell, as every run has one, and what of it need not run again.

A cell is finished if its record says `ok` or `not-converged` and names the costs that the profile has now. Cells
that failed, timed out or were skipped get another chance; the new record then takes the old one's place.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.records import Encoded, ResultSet, check_writable, read_manifest, run_folder_name

if TYPE_CHECKING:
    from vfbench.profiles import Profile
    from vfbench.sweeps.cells import Cell

FINISHED_STATES = ("ok", "not-converged")
LOCK = ".lock"


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
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another sweep is writing to {self.folder}: wait for it, or name another --results DIR"
                ) from None
            for left in self.folder.glob(".*/"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def put(self, record: Encoded) -> Path:
        """The record's folder, in the place of an older one; that one stays if this can't be written."""
        place = self.folder / record.folder
        aside = place.with_name(f".{place.name}.older")
        if place.exists():
            place.rename(aside)
        try:
            return ResultSet(self.folder).put(record)
        except BaseException:
            if aside.exists() and not place.exists():
                aside.rename(place)
            raise
        finally:
            if place.exists():
                shutil.rmtree(aside, ignore_errors=True)

    def _place(self, cell: Cell) -> Path:
        return self.folder / run_folder_name(cell.experiment)


def is_finished(manifest: Mapping[str, Any] | None, profile: Profile) -> bool:
    """Whether a cell with this record need not run again."""
    return (
        manifest is not None
        and manifest["state"] in FINISHED_STATES
        and manifest["profile"].get("digest") == profile.digest
    )
