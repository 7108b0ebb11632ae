"""What result sets there are, and what is in each: for `bench list results`, and for a folder too large to show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vfbench.errors import UserError
from vfbench.records import Record, read_manifest, read_records
from vfbench.records.damage import Damage, damage
from vfbench.records.pack import MANIFESTS_FILE, PACKED
from vfbench.records.tables import read_arrow
from vfbench.records.write import MANIFEST
from vfbench.report.blocks import Column, rendered

MOST_NAMED = 3


@dataclass(frozen=True)
class SetSummary:
    """A line of the list; `broken` says why there is nothing else to say."""

    name: str
    started: str
    runs: int = 0
    strategies: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    states: str = ""
    damage: Damage | None = None
    broken: str = ""


def set_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold runs, packed or not, by when their last run began; `root` need not exist."""
    if not root.is_dir():
        return []
    folders = [each for each in sorted(root.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    found = [(started, folder) for folder in folders if (started := _started(folder))]
    return [folder for _, folder in sorted(found, key=lambda each: each[0])]


def summaries(root: Path) -> list[SetSummary]:
    """Of every result set in `root`, the latest last."""
    return [summary(folder) for folder in set_folders(root)]


def summary(folder: Path) -> SetSummary:
    """A set that can't be read is a line that says why."""
    try:
        return _of_records(folder.name, _started(folder), read_records(folder))
    except UserError as error:
        return SetSummary(folder.name, _started(folder), broken=str(error))


def set_lines(found: Sequence[SetSummary], width: int) -> Iterable[str]:
    """A row for each, whether all in it arrived whole first."""
    readable = [each for each in found if not each.broken]
    columns = (
        Column("verdict", tuple(each.damage.short if each.damage else "-" for each in readable), left=True),
        Column("runs", tuple(str(each.runs) for each in readable)),
        Column("last run (UTC)", tuple(each.started[:16].replace("T", " ") for each in readable), left=True),
        Column("workload", tuple(_few(each.workloads, "workloads") for each in readable), left=True),
        Column("strategies", tuple(_few(each.strategies, "strategies") for each in readable), left=True),
        Column("not ok", tuple(each.states for each in readable), left=True),
    )
    if readable:
        yield from rendered([each.name for each in readable], columns, width, bold=False, lead="result set")
    for each in found:
        if each.broken:
            yield f"{each.name}: {each.broken}"


def _of_records(name: str, started: str, records: Sequence[Record]) -> SetSummary:
    states = Counter(str(record.run["state"]) for record in records)
    return SetSummary(
        name,
        started,
        len(records),
        tuple(dict.fromkeys(str(record.run["strategy"]) for record in records)),
        tuple(dict.fromkeys(str(record.run["workload"]) for record in records)),
        ", ".join(f"{state} {count}" for state, count in states.items() if state != "ok"),
        damage(record.run for record in records),
    )


def _few(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} {noun}"


def _started(folder: Path) -> str:
    """When the last run began, as its manifest says; empty for a folder without runs, or one that can't be read."""
    try:
        if (folder / PACKED).exists():
            texts = read_arrow(folder / MANIFESTS_FILE)["manifest"].to_pylist()
            return max(re.findall(r'"started": "([^"]+)"', "\n".join(texts)), default="0")
        runs = [path for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
        if not runs:
            return ""
        last = max(runs, key=lambda path: path.stat().st_mtime)
        return str(read_manifest(last.parent)["started"])
    except (UserError, OSError, KeyError, TypeError):
        return "0"
