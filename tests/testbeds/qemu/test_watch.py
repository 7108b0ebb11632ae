"""A process that dies is found out at once, and by name."""

import signal
import subprocess
import sys
import time

import pytest

from vfbench.testbeds.qemu.watch import Watch, how_it_ended


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.fixture
def processes():
    made = {"the source QEMU": sleeper(), "the VF's server": sleeper()}
    yield made
    for each in made.values():
        each.kill()
        each.wait()


def test_the_first_to_die_is_named_and_the_guests_are_ended(processes):
    guest, server = processes.values()
    with Watch(processes, (guest,)) as watch:
        server.kill()
        guest.wait(10)
    assert watch.died == "the VF's server was ended by SIGKILL"


def test_a_death_at_the_very_end_is_found_too(processes):
    guest, server = processes.values()
    with Watch(processes, (guest,)) as watch:
        server.kill()
        server.wait()
    assert watch.died == "the VF's server was ended by SIGKILL"


def test_one_that_is_stopped_and_does_not_go_on_has_died_too(processes):
    guest, server = processes.values()
    with Watch(processes, (guest,)) as watch:
        server.send_signal(signal.SIGSTOP)
        guest.wait(10)
    assert watch.died == "the VF's server was stopped by a signal and did not go on"


def test_where_all_live_nobody_died(processes):
    with Watch(processes, ()) as watch:
        time.sleep(0.3)
    assert watch.died is None


def test_an_exit_code_is_told_as_such():
    assert how_it_ended(3) == "ended with exit code 3"
