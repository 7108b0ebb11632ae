"""Records of runs that never were, with every measure filled in: for tests of what is shown of records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.fakes import Careful, Careless, Figures, Steady, experiment

from vfbench.experiment import Experiment
from vfbench.records import MEASURES, Outcome, Record, ResultSet, read_record, read_records
from vfbench.records.damage import MEASURES as DAMAGE
from vfbench.strategy import Strategy

PHASES = ["steady", "steady", "migrating", "migrating", "blackout", "after"]
PARTS = ("quiesce_ms", "final_sync_ms", "final_copy_ms", "state_transfer_ms", "restore_ms", "announce_ms")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def measures(gbps: float, **changes: Any) -> dict[str, Any]:
    """Every measure, most of them 1; nothing damaged."""
    values: dict[str, Any] = {
        column.name: {"int64": 1, "float64": 1.0, "bool": True, "string": ""}[column.type]
        for column in MEASURES
    }
    values.update(dict.fromkeys(DAMAGE, 0))
    parts = {**dict.fromkeys(PARTS, 2.0), "emulator_ms": 0.0, "remap_ms": 0.0}
    made = {"gbps": gbps, "downtime_ms": 12.0, "service_gap_ms": 13.0, "functional": False}
    return {**values, **parts, **made, **changes}


def outcome(gbps: float, **changes: Any) -> Outcome:
    rounds = [{"round": n, "dirty_pages": 400 >> n, "resent_bytes": n << 20} for n in range(3)]
    intervals = [
        {"interval": n, "phase": phase, "start_ms": 10.0 * n, "length_ms": 10.0, "gbps": gbps * (n != 4)}
        for n, phase in enumerate(PHASES)
    ]
    return Outcome("ok", measures=measures(gbps, **changes), rounds=rounds, intervals=intervals)  # type: ignore[arg-type]


def write(
    folder: Path, made: Experiment, ended: Outcome, command: str = "bench run --strategy careful"
) -> Record:
    """A record in the set `folder`; each starts a second after the one before it."""
    started = NOW + timedelta(seconds=len(list(folder.iterdir())) if folder.exists() else 0)
    command = f"{command} --seed {made.seed}"
    return read_record(ResultSet(folder).write(made, ended, Figures(), started=started, command=command))


def two_strategies(folder: Path, *, seeds: int = 3, testbed: str = "model", **changes: Any) -> list[Record]:
    """`careful` arrives whole at 8 Gb/s; `careless` damages 7 pages at 10 Gb/s."""
    for seed in range(1, seeds + 1):
        for strategy, gbps, stale in ((Careful(), 8.0, 0), (Careless(), 10.0, 7)):
            ended = outcome(gbps + seed / 100, stale_pages_payload=stale, **changes)
            write(folder, experiment(strategy=strategy, seed=seed, testbed=testbed), ended)
    return read_records(folder)


def frame_sizes(folder: Path, strategies: tuple[Strategy, ...] = (Careful(), Careless())) -> list[Record]:
    """Two frame sizes of each strategy."""
    for strategy in strategies:
        for size in (64, 1518):
            made = experiment(strategy=strategy, workload=Steady(frame_bytes=size))
            write(folder, made, outcome(size / 200))
    return read_records(folder)
