"""One way to stop: by whatever signal and wherever it falls, one line, its exit code, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfbench import stopping
from vfbench.stopping import Stopped, check, handled, held_back

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BEGINNING = """
import sys, time
import cli, click
from vfbench import stopping

def main(work):
    cli.bench.add_command(click.command("work")(work))
    sys.argv = ["bench", "work"]
    sys.exit(cli.main())
"""


@contextlib.contextmanager
def started(script: str, folder: Path, **more: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINNING + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)},
        start_new_session=True,
        **more,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stopped_at(word: str, script: str, folder: Path, number: signal.Signals) -> tuple[int, str]:
    """Send the signal as soon as the script prints the word; the exit code and what was said."""
    with started(script, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == word:
                break
        process.send_signal(number)
        _, errors = process.communicate()
        # multiprocessing's resource tracker ends once it has seen that its parent is gone: within the five seconds
        # that are promised of all.
        until = time.monotonic() + 5
        while (
            left := [pid for pid in session_of(process.pid) if pid != process.pid]
        ) and time.monotonic() < until:
            time.sleep(0.05)
        assert left == []
        return process.returncode, errors


def session_of(leader: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(folder.name))
    return found


SLEEPS = """
def work():
    print("running", flush=True)
    time.sleep(60)

main(work)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_stops_with_one_line_and_its_own_code(tmp_path: Path, number: signal.Signals) -> None:
    code, errors = stopped_at("running", SLEEPS, tmp_path, number)
    said = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert (code, errors.split("\n")) == (
        128 + number,
        ["", f"bench: {said}", ""][-2 - errors.startswith("\n") :],
    )


IGNORES = """
def work():
    print("running", flush=True)
    time.sleep(0.5)
    print("ended", flush=True)

main(work)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    ignore = lambda: signal.signal(number, signal.SIG_IGN)  # noqa: E731
    with started(IGNORES, tmp_path, preexec_fn=ignore) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        assert process.communicate() == ("ended\n", "")
        assert process.returncode == 0


CLUSTER = """
import threading
from vfbench.sweeps import local

def said(word, call):
    def saying(*arguments, **more):
        print(word, flush=True)
        return call(*arguments, **more)
    return saying

def work():
    local.SpecCluster = said("scheduler", local.SpecCluster)
    local.Client.wait_for_workers = said("workers", local.Client.wait_for_workers)
    local._close = said("closing", local._close)
    with local.local_cluster(2) as client:
        future = client.submit(time.sleep, {sleep})
        print("running", flush=True)
        future.result()

if __name__ == "__main__":
    main(work)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", ["scheduler", "workers", "running", "closing"])
def test_a_cluster_is_ended_whenever_the_signal_comes(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    script = CLUSTER.replace("{sleep}", "0" if moment == "closing" else "60")
    code, errors = stopped_at(moment, script, tmp_path, number)
    assert code == 128 + number
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert errors.strip().splitlines()[-1].startswith("bench: ")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("vfbench-")] == []


def test_a_second_signal_does_not_disturb_the_cleaning_up() -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with handled(to_the_end=False):
        with pytest.raises(Stopped):
            work()
        assert stopping.exit_code() == 128 + signal.SIGTERM
    assert cleaned == [True]


def test_a_signal_that_was_swallowed_is_raised_at_the_next_check_or_signal() -> None:
    def swallowed() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    with handled(to_the_end=False):
        check()
        swallowed()
        with pytest.raises(Stopped):
            check()
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)


def test_signals_that_are_held_back_come_at_the_end_and_to_no_thread_begun_meanwhile() -> None:
    masks = []
    thread = threading.Thread(target=lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    reached = []

    def work() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            thread.start()
            reached.append("end")

    with handled(to_the_end=False), pytest.raises(Stopped):
        work()
    thread.join()
    assert reached == ["end"]
    assert set(SIGNALS) <= masks[0]


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with handled(to_the_end=False):
        pass
    assert [signal.getsignal(each) for each in SIGNALS] == before
