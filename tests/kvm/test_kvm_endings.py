"""However a run ends, the other side ends within five seconds, with the reason, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kvm.kvm_experiments import experiment, slow

from vfbench.errors import RunFailed
from vfbench.profiles import load_profile
from vfbench.testbeds.kvm import own_area
from vfbench.testbeds.kvm.bench_records import Bench
from vfbench.testbeds.kvm.destination_process import DestinationProcess
from vfbench.testbeds.kvm.running import Run

pytestmark = pytest.mark.usefixtures("kvm_host")

LIMIT_S = 5.0
SLOW_LINK = "migration.bandwidth=200Mbps"
ROOT = Path(__file__).parents[2]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def open_descriptors() -> set[str]:
    return {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}


def run_and_break(phase: str, break_it: Callable[[Run], None], *settings: str) -> tuple[str, float, int]:
    """Run until ``phase``, break something; the reason, how long it took, and the destination's pid."""
    broken_at: list[float] = []

    def progress(_: float, now_in: str) -> None:
        if now_in == phase and not broken_at:
            broken_at.append(time.monotonic())
            break_it(run)

    made = experiment("dummy-write", slow(), SLOW_LINK, "phases.after=10s", *settings)
    run = Run(made, load_profile(made.profile), progress)
    with pytest.raises(RunFailed) as failure:
        run.outcome()
    took_s = time.monotonic() - broken_at[0]
    assert run.destination is not None
    return str(failure.value), took_s, run.destination.pid


def kill_destination(run: Run) -> None:
    assert run.destination is not None
    os.kill(run.destination.pid, signal.SIGKILL)


def freeze_destination(run: Run) -> None:
    assert run.destination is not None
    os.kill(run.destination.pid, signal.SIGSTOP)


def cut_connection(run: Run) -> None:
    assert run.destination is not None
    run.destination.stream._socket.shutdown(socket.SHUT_RDWR)


def hang_guest(run: Run) -> None:
    run._site.word(own_area.COMMAND)[0] = own_area.HANG


def fault_guest(run: Run) -> None:
    run._site.word(own_area.COMMAND)[0] = own_area.FAULT


@pytest.mark.parametrize(
    ("phase", "break_it", "reason"),
    [
        ("steady", kill_destination, "the destination"),
        ("migrating", kill_destination, "the destination"),
        ("after", kill_destination, "the destination"),
        ("migrating", freeze_destination, "the destination"),
        ("migrating", cut_connection, "the destination"),
        ("after", cut_connection, "the destination"),
        ("migrating", hang_guest, "the guest did not exit"),
        ("migrating", fault_guest, "triple-faulted"),
    ],
)
def test_the_run_fails_with_the_reason_and_leaves_nothing(
    phase: str, break_it: Callable[[Run], None], reason: str
) -> None:
    before = open_descriptors()
    message, took_s, destination = run_and_break(phase, break_it)
    assert reason in message
    assert took_s < LIMIT_S + 3
    assert not is_alive(destination)
    left = open_descriptors() - before
    assert not [name for name in left if "vfbench" in name or "kvm" in name or "socket" in name]


SOURCE = """
import sys
sys.path[:0] = {paths!r}
from kvm.kvm_experiments import experiment, slow
from vfbench.profiles import load_profile
from vfbench.testbeds.kvm.running import Run
def progress(fraction, phase):
    if phase == {phase!r}:
        print(run.destination.pid, flush=True)
made = experiment("dummy-write", slow(), {link!r}, "phases.after=20s")
run = Run(made, load_profile(made.profile), progress)
run.outcome()
"""


@pytest.mark.parametrize("phase", ["migrating", "after"])
def test_a_destination_ends_when_its_source_is_killed(phase: str) -> None:
    script = SOURCE.format(paths=[str(ROOT), str(ROOT / "tests")], phase=phase, link=SLOW_LINK)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        destination = int(source.stdout.readline())
        assert is_alive(destination)
        source.kill()
        killed_at = time.monotonic()
        while is_alive(destination) and time.monotonic() - killed_at < LIMIT_S:
            time.sleep(0.05)
        assert not is_alive(destination)


def test_a_stranger_is_refused_and_reported_and_the_source_still_gets_in() -> None:
    made = experiment("dummy-write", slow())
    bench = Bench(made, load_profile(made.profile))
    try:
        with DestinationProcess(made, bench) as destination:
            with socket.create_connection(("127.0.0.1", destination.port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert stranger.recv(1) == b""
            assert destination.stream is not None
            assert "refused a connection" in destination.last_words()
            assert "no migration stream" in destination.last_words()
    finally:
        bench.close()


def test_a_destination_that_refuses_fails_the_run_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(DestinationProcess):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, refuse="no room for this guest")  # type: ignore[arg-type]

    monkeypatch.setattr("vfbench.testbeds.kvm.running.DestinationProcess", Refusing)
    made = experiment("dummy-write", slow())
    with pytest.raises(RunFailed, match="no room for this guest"):
        Run(made, load_profile(made.profile), lambda fraction, phase: None).outcome()
