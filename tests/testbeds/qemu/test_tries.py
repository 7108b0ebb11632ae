"""A run whose guest QEMU stopped before its device says nothing of the strategy, and begins anew."""

import importlib
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from strategies import ALL_STRATEGIES
from vfbench.errors import RunFailed
from vfbench.linux_guest import LinuxGuest
from vfbench.testbeds.qemu import migration as migration_module
from vfbench.testbeds.qemu.migration import QemuMigration, StoppedTooEarly
from vfbench.testbeds.qemu.server.client import ServerProcess

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
one_run = importlib.import_module("vfbench.testbeds.qemu.one_run")


def as_a_guest_tells_it(error):
    """With QEMU's last words, as ``Guest`` adds them on its way out."""
    told = RunFailed(f"{error}; the last words")
    told.__cause__ = error
    return told


def runs(monkeypatch, *ends):
    """Each run ends as said: with an error, or an outcome; returns how many were begun."""
    left, begun = list(ends), []

    class Run:
        def __init__(self, *arguments):
            begun.append(arguments)

        def outcome(self):
            end = left.pop(0)
            if isinstance(end, Exception):
                raise end
            return end

    monkeypatch.setattr(one_run, "Run", Run)
    return begun


def test_it_begins_anew(monkeypatch, capsys):
    begun = runs(
        monkeypatch, as_a_guest_tells_it(StoppedTooEarly("early")), StoppedTooEarly("early"), "outcome"
    )
    assert one_run.run(None, None, None) == "outcome"
    assert len(begun) == 3
    assert "begins anew" in capsys.readouterr().err


def test_the_last_try_fails_as_it_fails(monkeypatch):
    runs(monkeypatch, *[StoppedTooEarly("early")] * 3)
    with pytest.raises(StoppedTooEarly):
        one_run.run(None, None, None)


def test_what_failed_otherwise_is_not_tried_again(monkeypatch):
    begun = runs(monkeypatch, RunFailed("the source QEMU was ended by SIGKILL"))
    with pytest.raises(RunFailed):
        one_run.run(None, None, None)
    assert len(begun) == 1


def test_a_driver_that_qemu_stopped_is_not_waited_for():
    strategy = STRATEGIES["dummy-write"](stop_order="device-first")
    source = SimpleNamespace(qmp=lambda command, **given: {"status": "pre-switchover"})
    server = SimpleNamespace(call=lambda name, **given: False)
    migration = QemuMigration(
        SimpleNamespace(strategy=strategy),
        LinuxGuest(primary="vf"),
        (source, source),
        server,
        lambda phase: None,
    )
    with pytest.raises(StoppedTooEarly):
        migration.drain()


def test_a_migration_that_stands_still_ends_the_run(monkeypatch):
    monkeypatch.setattr(migration_module, "STANDSTILL_S", 0.05)
    ram = {"dirty-sync-count": 2, "transferred": 4096, "remaining": 1 << 30, "normal": 1}
    source = SimpleNamespace(qmp=lambda command, **given: {"status": "active", "ram": ram})
    server = SimpleNamespace(call=lambda name, **given: 0)
    limits = SimpleNamespace(max_rounds=30, downtime_limit_ns=10**6)
    migration = QemuMigration(
        SimpleNamespace(strategy=STRATEGIES["virtio-net"](), migration=limits),
        LinuxGuest(primary="virtio-net"),
        (source, source),
        server,
        lambda phase: None,
    )
    migration.started_s = time.monotonic()
    with pytest.raises(RunFailed, match="the migration stands still: QEMU has sent nothing for"):
        migration._run_rounds()


def test_a_server_that_is_stopped_while_it_starts_ends_the_run():
    server = ServerProcess(None)

    def stop_it():
        while not hasattr(server, "process"):
            time.sleep(0.001)
        server.process.send_signal(signal.SIGSTOP)

    threading.Thread(target=stop_it, daemon=True).start()
    with pytest.raises(RunFailed, match="the VF's server was stopped by a signal and did not go on"), server:
        pass
    assert server.process.returncode == -signal.SIGKILL
