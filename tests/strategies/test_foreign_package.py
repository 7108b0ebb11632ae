"""A package outside the suite, installed for real: its strategies run beside the shipped ones, with nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "support" / "foreign"
NAMES = ("logging-device", "published-maps", "both-together")
LONGEST_FILE_LINES = 60
SMALL = (
    "--memory",
    "64MiB",
    "--set",
    "guest.packet-memory=8MiB",
    "--set",
    "driver.tx-ring=256",
    "--packets",
    "2000",
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bench` of an environment of its own, into which suite and package were installed; it borrows what both need."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    libraries = Path(sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})["purelib"])
    (libraries / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*install, "--no-index", ROOT, FOREIGN], check=True, cwd=folder)
    return folder / "bin" / "bench"


def run(bench: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [bench, *words], check=False, capture_output=True, text=True, cwd=bench.parent, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_list_shows_them(bench: Path) -> None:
    listed = run(bench, "list", "strategies")
    assert all(name in listed for name in NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("testbed", ["model", "kvm"])
def test_they_run_and_arrive_whole(bench: Path, testbed: str, tmp_path: Path) -> None:
    if testbed == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("no /dev/kvm")
    results = tmp_path / "results"
    words = (
        "run",
        "--testbed",
        testbed,
        "--workload",
        "small-packets",
        "--json",
        "--results",
        str(results),
        *SMALL,
    )
    document = json.loads(run(bench, *words, "--strategy", ",".join(NAMES)))
    assert [(each["strategy"], each["state"]) for each in document["runs"]] == [
        (name, "ok") for name in NAMES
    ]
    assert sum(each["stale_pages_payload"] + each["packets_corrupted"] for each in document["runs"]) == 0
    report = tmp_path / "report.html"
    run(bench, "report", str(results), "-o", str(report))
    assert all(name in report.read_text() for name in NAMES)


def test_each_is_short() -> None:
    files = [path for path in (FOREIGN / "foreign_strategies").glob("*.py") if path.name != "__init__.py"]
    assert len(files) >= len(NAMES)
    assert all(len(path.read_text().splitlines()) < LONGEST_FILE_LINES for path in files)
