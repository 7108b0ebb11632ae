"""A guest that hangs is found out by its silence, and one that only waits for a processor is not taken for one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot import pulse
from vfbench.testbeds.qemu.boot.pulse import Pulse
from vfbench.testbeds.qemu.boot.sockets import Lines, Silent


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    """The pulse of a guest with one thread, whose silence is found out after 50 ms."""
    monkeypatch.setattr(pulse, "LONGEST_SILENCE_S", 0.05)
    made = Pulse(1, tmp_path / "console", "guest in the source QEMU")
    made._tasks = tmp_path / "task"
    (tmp_path / "task/7").mkdir(parents=True)
    (tmp_path / "task/7/schedstat").write_text("1000 0 3\n")
    return made


def test_a_guest_that_says_nothing_hangs(watched: Pulse) -> None:
    watched.begin()
    watched.check()
    time.sleep(0.06)
    with pytest.raises(
        RunFailed, match="the guest in the source QEMU hangs: neither its kernel nor its init"
    ):
        watched.check()


def test_a_blank_line_is_a_sign_of_life(watched: Pulse, tmp_path: Path) -> None:
    watched.begin()
    for _ in range(3):
        time.sleep(0.06)
        with (tmp_path / "console").open("a") as console:
            console.write("\n")
        watched.check()


def test_a_guest_that_waits_for_a_processor_does_not_hang(watched: Pulse, tmp_path: Path) -> None:
    watched.begin()
    time.sleep(0.06)
    (tmp_path / "task/7/schedstat").write_text("1000 60000000 4\n")
    watched.check()
    time.sleep(0.06)
    with pytest.raises(RunFailed, match="hangs"):
        watched.check()


def test_a_guest_that_ought_to_stand_still_is_left_alone(watched: Pulse) -> None:
    watched.check()
    watched.begin()
    watched.rest()
    time.sleep(0.06)
    watched.check()


def test_who_waits_for_a_line_looks_meanwhile_whether_the_other_side_lives(tmp_path: Path) -> None:
    import socket

    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()
    lines = Lines(tmp_path / "s", "the guest", lambda: False)
    looked: list[float] = []

    def look() -> None:
        looked.append(time.monotonic())
        if len(looked) == 2:
            raise RunFailed("it hangs")

    with pytest.raises(RunFailed, match="it hangs"):
        lines.next(60.0, look)
    with pytest.raises(Silent, match="the guest said nothing for 0 s"):
        lines.next(0.01)
    lines.close()
    server.close()
