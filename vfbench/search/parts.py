"""What came out of a long search so far: a file for each experiment, in a folder that goes when all are done."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vfbench.experiment import Experiment
from vfbench.files import make_folders, write_file
from vfbench.records import Outcome
from vfbench.untrusted import parse_json, read_bytes, shown

MOST_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class Parts:
    """Outcomes by name for each experiment; ``key`` says of which search, what is of another counts for nothing."""

    folder: Path
    key: str

    def of(self, experiment: Experiment) -> dict[str, Outcome] | None:
        """What was kept of an experiment; None where there is nothing, or nothing that can be used."""
        path = self._file(experiment)
        if not path.exists():
            return None
        try:
            document = parse_json(read_bytes(path, shown(path), MOST_BYTES, "a part of a search"))
            return {name: Outcome(**fields) for name, fields in document["outcomes"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # Whatever it is, the experiment runs again, and the file is written anew.

    def keep(self, experiment: Experiment, outcomes: Mapping[str, Outcome]) -> None:
        """Write what came out of an experiment, in full or not at all."""
        make_folders(self.folder)
        plain: dict[str, Any] = {name: dataclasses.asdict(each) for name, each in outcomes.items()}
        write_file(self._file(experiment), json.dumps({"outcomes": plain}) + "\n", replace=True)

    def remove(self) -> None:
        """All of it: what it was kept for is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, experiment: Experiment) -> Path:
        return self.folder / f"{self.key}-{experiment.digest}.json"
