"""Sweeps on real Dask clusters: processes that die, hang, or are interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import WORKLOADS
from support.sweep_strategies import MISBEHAVING

from vfbench.errors import UserError
from vfbench.records import read_runs
from vfbench.sweeps.cells import cells_of
from vfbench.sweeps.grid import read_grids
from vfbench.sweeps.results import SweepResults
from vfbench.sweeps.sweep import DoneCell, make_plan, on_scheduler, on_this_machine, run_plan

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
[defaults]
workloads = ["bulk"]
[defaults.set]
"guest.memory" = "64MiB"
"guest.packet-memory" = "16MiB"
"phases.warmup" = "1ms"
"phases.steady" = "2ms"
"phases.after" = "2ms"
"""


def sweep(tmp_path: Path, grids: str, workers: int = 2) -> list[DoneCell]:
    path = tmp_path / "s.toml"
    path.write_text(SMALL + grids)
    results = SweepResults(tmp_path / "results")
    plan = make_plan(cells_of(read_grids(path), MISBEHAVING, WORKLOADS), results, force=False)  # type: ignore[arg-type]
    done: list[DoneCell] = []
    run_plan(plan, results, on_this_machine(workers), on_this_machine(1), done.append)
    return done


def grid(name: str, strategy: str, rest: str = "") -> str:
    return f'[[grid]]\nname = "{name}"\nstrategies = ["{strategy}"]\n{rest}\n'


def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deadly = grid("deadly", "deadly", f'set = {{ "deadly.log" = "{log}" }}')
    done = sweep(tmp_path, deadly + grid("plain", "untracked", "repeats = 6"))
    assert log.read_text() == "ran\n" * 2
    assert len({each.cell.digest for each in done}) == len(done) == 7
    assert read_runs(tmp_path / "results")["state"].tolist() == ["ok"] * 7


def test_cells_that_always_kill_or_hang_their_process_end_only_themselves(tmp_path: Path) -> None:
    deadly = f'set = {{ "deadly.times" = 100, "deadly.log" = "{tmp_path / "log"}" }}'
    endless = grid("endless", "endless", 'time-limit = "2s"')
    plain = grid("plain", "untracked", "repeats = 4")
    done = sweep(tmp_path, grid("deadly", "deadly", deadly) + endless + plain)
    assert {each.cell.grids[0]: (each.outcome.state, each.outcome.reason) for each in done} == {
        "deadly": ("failed", "its process died while it ran, 4 times"),
        "endless": ("timed-out", "still running after 2 s"),
        "plain": ("ok", ""),
    }
    assert len(done) == 6


OF_2015 = ("untracked", "dummy-write", "emulated-iommu", "virtio-net")


def started(tmp_path: Path) -> subprocess.Popen[str]:
    """`bench sweep` in a process group of its own, once it has its first record."""
    words = [
        sys.executable,
        "-m",
        "cli",
        "sweep",
        str(ROOT / "sweeps" / "quick.toml"),
        "--results",
        str(tmp_path),
        *(word for name in OF_2015 for word in ("--filter", f"quick/{name}_*")),
    ]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(tmp_path.glob("quick/[!.]*")):
        time.sleep(0.05)
    return process


def finished(tmp_path: Path) -> int:
    return len(list(tmp_path.glob("quick/[!.]*")))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_sweep_that_is_stopped_keeps_what_is_finished_and_goes_on(
    tmp_path: Path, number: int, code: int
) -> None:
    process = started(tmp_path)
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in errors
    kept = finished(tmp_path)
    assert 0 < kept < 32
    again = subprocess.run(process.args, cwd=ROOT, capture_output=True, text=True)
    assert f"{kept} were finished before" in again.stdout
    assert read_runs(tmp_path)["state"].tolist() == ["ok"] * 32


@pytest.fixture
def scheduler() -> Iterator[str]:
    """The address of a cluster that somebody else started."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


def test_a_sweep_runs_on_a_cluster_that_is_there_already(tmp_path: Path, scheduler: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(SMALL + grid("plain", "untracked", "repeats = 3"))
    results = SweepResults(tmp_path / "results")
    plan = make_plan(cells_of(read_grids(path), MISBEHAVING, WORKLOADS), results, force=False)  # type: ignore[arg-type]
    done: list[DoneCell] = []
    run_plan(plan, results, on_scheduler(scheduler), on_this_machine(1), done.append)
    assert [each.outcome.state for each in done] == ["ok"] * 3


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfbench.sweeps.cluster.CONNECT_S", 0.5)
    with pytest.raises(UserError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        list(on_scheduler("tcp://127.0.0.1:9")([]))
