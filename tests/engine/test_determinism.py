"""The same experiment twice, in processes of their own, leaves the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("runs.parquet", "rounds.parquet", "intervals.parquet")
COMMAND = (
    "run --strategy all --workload key-value --memory 256MiB --profile modern-100g"
    " --queues 2 --seed 5 --bandwidth 2Gbps"
    " --set guest.packet-memory=8MiB --set driver.rx-ring=256 --set driver.tx-ring=256"
    " --set phases.steady=2ms --set phases.after=2ms --set phases.interval=1ms --set key-value.rate=1Gbps"
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The folders of two processes' runs, by strategy."""
    found, running = [], []
    for hash_seed in ("1", "2"):
        results = tmp_path_factory.mktemp("results")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, str(ROOT / "cli.py"), *COMMAND.split(), "--results", str(results)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        found.append(results)
    assert [process.wait() for process in running] == [0, 0]
    return [{name: next(each.glob(f"*/{name}_*")) for name in STRATEGIES} for each in found]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("table", TABLES)
def test_two_processes_write_the_same_bytes(records, name, table):
    first, second = ((each[name] / table).read_bytes() for each in records)
    assert len(first) > 1000
    assert first == second


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_their_manifests_differ_in_nothing_but_when_and_how_long(records, name):
    first, second = (json.loads((each[name] / "manifest.json").read_text()) for each in records)
    differing = {key for key in first | second if first.get(key) != second.get(key)}
    assert differing <= {"started", "wall_s"}
    assert first["experiment"]["seed"] == 5
