"""However a run ends, the other side ends within five seconds, with the reason, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.kvm_experiments import experiment, slow

import cli
from vfbench.errors import RunFailed
from vfbench.profiles import load_profile
from vfbench.records import ResultSet, read_record
from vfbench.runner import run_all
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.host.bench_records import Bench
from vfbench.testbeds.kvm.host.device import KvmDevice
from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.destination_process import DestinationProcess
from vfbench.testbeds.kvm.migrate.stream import StreamBroken
from vfbench.testbeds.kvm.one_run import Run

pytestmark = pytest.mark.usefixtures("kvm_host")

LIMIT_S = 5.0
SLOW_LINK = "migration.bandwidth=200Mbps"
ROOT = Path(__file__).parents[3]


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
    run._endpoint.word(guest_abi.COMMAND)[0] = guest_abi.HANG


def fault_guest(run: Run) -> None:
    run._endpoint.word(guest_abi.COMMAND)[0] = guest_abi.FAULT


def destination_command(run: Run, code: int) -> None:
    """Have the guest do something where it runs now, behind the back of its hypervisor."""
    assert run.destination is not None
    run.destination.memory.reshape(-1)[guest_abi.COMMAND : guest_abi.COMMAND + 8].view(np.int64)[0] = code


def hang_moved_guest(run: Run) -> None:
    destination_command(run, guest_abi.HANG)


def fault_moved_guest(run: Run) -> None:
    destination_command(run, guest_abi.FAULT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "break_it", "reason"),
    [
        ("warm-up", kill_destination, "the destination"),
        ("steady", kill_destination, "the destination"),
        ("migrating", kill_destination, "the destination"),
        ("blackout", kill_destination, "the destination"),
        ("after", kill_destination, "the destination"),
        ("warm-up", freeze_destination, "the destination"),
        ("steady", freeze_destination, "the destination"),
        ("migrating", freeze_destination, "the destination"),
        ("blackout", freeze_destination, "the destination"),
        ("after", freeze_destination, "the destination"),
        ("migrating", cut_connection, "the destination"),
        ("after", cut_connection, "the destination"),
        ("migrating", hang_guest, "the guest did not exit"),
        ("migrating", fault_guest, "outside guest memory at 0xfffffffffffffff8"),
        ("after", hang_moved_guest, "the guest did not exit"),
        ("after", fault_moved_guest, "outside guest memory at 0xfffffffffffffff8"),
    ],
)
def test_the_run_fails_with_the_reason_and_leaves_nothing(
    phase: str, break_it: Callable[[Run], None], reason: str
) -> None:
    before = open_descriptors()
    message, took_s, destination = run_and_break(phase, break_it)
    assert reason in message
    assert took_s < LIMIT_S
    assert not is_alive(destination)
    left = open_descriptors() - before
    assert not [name for name in left if "vfbench" in name or "kvm" in name or "socket" in name]


@pytest.mark.slow
def test_a_source_that_is_busy_for_longer_than_anybody_may_be_silent_is_not_given_up() -> None:
    waited: list[float] = []

    def progress(_: float, phase: str) -> None:
        if phase == "migrating" and not waited:
            waited.append(stream.SILENCE_LIMIT_S + 1)
            time.sleep(waited[0])

    made = experiment("dummy-write", slow(), SLOW_LINK)
    assert Run(made, load_profile(made.profile), progress).outcome().state == "ok"
    assert waited


SOURCE = """
import sys
sys.path[:0] = {paths!r}
from support.kvm_experiments import experiment, slow
from vfbench.profiles import load_profile
from vfbench.testbeds.kvm.one_run import Run
def progress(fraction, phase):
    if phase == {phase!r}:
        print(run.destination.pid, flush=True)
made = experiment("dummy-write", slow(), {link!r}, "phases.after=20s")
run = Run(made, load_profile(made.profile), progress)
run.outcome()
"""


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["steady", "migrating", "after"])
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


@pytest.fixture
def waiting() -> Iterator[DestinationProcess]:
    """A destination that was just started."""
    made = experiment("dummy-write", slow())
    bench = Bench(made, load_profile(made.profile))
    try:
        with DestinationProcess(made, bench) as destination:
            yield destination
    finally:
        bench.close()


def listening_sockets(pid: int) -> list[str]:
    """What a process listens on: TCP and UDP over IPv4 and IPv6, and UNIX sockets that have a name."""
    folder = Path(f"/proc/{pid}/fd")
    # Not those of the reading itself, which are gone by the time that they are looked at.
    descriptors = [str(fd.readlink()) for fd in list(folder.iterdir()) if fd.is_symlink()]
    own = {
        name.removeprefix("socket:[").removesuffix("]") for name in descriptors if name.startswith("socket:")
    }
    found = []
    for table, inode, listens in (
        *((name, 9, lambda row: row[3] == "0A") for name in ("tcp", "tcp6")),
        *((name, 9, lambda row: True) for name in ("udp", "udp6")),
        ("unix", 6, lambda row: len(row) > 7),
    ):
        rows = [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
        found += [f"{table} {row}" for row in rows if row[inode] in own and listens(row)]
    return found


def test_there_is_no_port_that_anybody_could_connect_to(waiting: DestinationProcess) -> None:
    assert waiting.stream is not None
    assert listening_sockets(waiting.pid) == []
    assert listening_sockets(os.getpid()) == []


def use(destination: DestinationProcess) -> None:
    """As a run does: wait until it is ready, then have it do something."""
    destination.stream.ask(stream.PING)


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.6, 1.2])
def test_a_destination_that_is_stopped_while_it_starts_fails_the_run_within_five_seconds(
    after_s: float,
) -> None:
    made = experiment("dummy-write", slow())
    bench = Bench(made, load_profile(made.profile))
    before = open_descriptors()
    try:
        with DestinationProcess(made, bench) as destination:
            time.sleep(after_s)
            os.kill(destination.pid, signal.SIGSTOP)
            stopped_at = time.monotonic()
            with pytest.raises(StreamBroken, match="nothing came from the destination for 4 s"):
                use(destination)
        assert time.monotonic() - stopped_at < LIMIT_S
        assert not is_alive(destination.pid)
    finally:
        bench.close()
    assert open_descriptors() <= before


@pytest.mark.slow
def test_a_destination_that_is_stopped_when_it_is_to_leave_fails_the_run_within_five_seconds(
    waiting: DestinationProcess,
) -> None:
    _ = waiting.stream
    os.kill(waiting.pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    with pytest.raises(StreamBroken, match="nothing came from the destination"):
        waiting.quit()
    assert time.monotonic() - stopped_at < LIMIT_S


def test_bytes_that_are_no_migration_stream_end_the_connection(waiting: DestinationProcess) -> None:
    waiting.stream._socket.sendall(b"\0" * 64)
    with pytest.raises(StreamBroken):
        waiting.stream.answer()
    assert "no migration stream" in str(waiting.explain(RunFailed("broken")))


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(DestinationProcess):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, refuse="no room for this guest")  # type: ignore[arg-type]

    monkeypatch.setattr("vfbench.testbeds.kvm.one_run.DestinationProcess", Refusing)


def test_a_destination_that_refuses_fails_the_run_and_the_record_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuse(monkeypatch)
    made = experiment("dummy-write", slow(), testbed="kvm")
    results = ResultSet(tmp_path)
    (finished,) = run_all([made], load_profile(made.profile), results, lambda *_: None)
    record = read_record(finished.folder)
    assert record.run["state"] == "failed"
    assert record.run["reason"].endswith("no room for this guest")


def test_without_kvm_there_is_one_clear_line_exit_code_2_and_no_other_testbed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(KvmDevice.__init__, "__defaults__", ("/dev/no-kvm",))
    assert cli.main(["run", "--testbed", "kvm", "--strategy", "untracked", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "bench: /dev/no-kvm does not exist" in said.err
    assert said.out == ""
    assert not list(tmp_path.rglob("*.parquet"))
