"""Whole runs: a stock ixgbevf on the suite's VF, migrated for real by two stock QEMUs."""

import importlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from support.real_guests import real_parts

from strategies import ALL_STRATEGIES
from vfbench.errors import RunFailed
from vfbench.options import Options
from vfbench.profiles import load_profile
from vfbench.runner import asked_for
from vfbench.testbeds.qemu import run
from workloads import ALL_WORKLOADS

one_run = importlib.import_module("vfbench.testbeds.qemu.one_run")
pytestmark = pytest.mark.slow

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}
SETTINGS = {
    "bulk.hold": "5ms",
    "bulk.dirty-rate": "3000pages/s",
    "migration.bandwidth": "240Mbps",
    "migration.downtime-limit": "30ms",
}


@pytest.fixture(autouse=True)
def guests_can_be_had():
    real_parts()


def experiment(strategy, **settings):
    given = SETTINGS | {name.replace("__", ".").replace("_", "-"): text for name, text in settings.items()}
    options = Options([strategy], "bulk", [f"{name}={text}" for name, text in given.items()], testbed="qemu")
    return asked_for(options, STRATEGIES, WORKLOADS)[0]


def measured(strategy, **settings):
    outcome = run(experiment(strategy, **settings), load_profile("xeon-82599"), lambda fraction, phase: None)
    assert outcome.state == "ok", outcome.reason
    measures = outcome.measures
    lost = [value for name, value in measures.items() if name.startswith("packets_lost_")]
    assert measures["packets_lost"] == sum(each or 0 for each in lost)
    assert measures["packets_offered"] == (
        measures["packets_delivered"] + measures["packets_corrupted"] + measures["packets_lost"]
    )
    return outcome


def test_without_tracking_held_packets_are_stale_at_the_target_though_a_program_reads_them():
    outcome = measured("untracked", qemu__rings="copied", qemu__xdp_control="true")
    assert outcome.measures["packets_corrupted"] > 20
    assert outcome.measures["stale_pages_payload"] > 20
    assert outcome.measures["stale_pages_other"] == 0
    assert outcome.measures["functional"] in (True, False)
    assert len(outcome.rounds) > 2


def test_with_a_log_of_the_device_nothing_is_stale_and_every_frame_is_accounted_for():
    outcome = measured("untracked", qemu__device_log="true")
    assert outcome.measures["packets_corrupted"] == 0
    assert outcome.measures["stale_pages_payload"] == 0
    # On a host that is too busy for it the guest may give the device no descriptor; nothing else goes missing.
    elsewhere = outcome.measures["packets_lost_blackout"] + outcome.measures["packets_lost_descriptor"]
    assert outcome.measures["packets_lost"] == elsewhere


def test_dummy_writes_by_xdp_leave_nothing_stale_once_the_driver_has_drained_its_ring():
    outcome = measured("dummy-write")
    assert outcome.measures["packets_corrupted"] == 0
    assert outcome.measures["stale_pages_payload"] == 0


def test_behind_the_guests_iommu_each_unmap_is_told_and_nothing_is_stale():
    # Held for longer than the ring takes to turn twice, so that the driver has to give pages up.
    outcome = measured("emulated-iommu", bulk__hold="10s")
    assert outcome.measures["iommu_maps"] > 100
    assert outcome.measures["packets_corrupted"] == 0
    assert outcome.measures["stale_pages_payload"] == outcome.measures["stale_pages_descriptor"] == 0


def test_virtio_net_logs_what_it_writes():
    outcome = measured("virtio-net", bulk__send_ratio="0.5")
    assert outcome.measures["packets_corrupted"] == 0
    assert outcome.measures["packets_sent"] > 100
    assert outcome.measures["packets_sent_corrupted"] == 0


def test_a_captures_frames_arrive_as_they_were_recorded_out_of_a_bounce_pool():
    options = Options(["bounce-buffers"], "pcap", ["pcap.hold=5ms"], testbed="qemu")
    outcome = run(
        asked_for(options, STRATEGIES, WORKLOADS)[0], load_profile("xeon-82599"), lambda fraction, phase: None
    )
    measures = outcome.measures
    assert measures["packets_delivered"] > 500
    assert measures["packets_corrupted"] == 0
    assert measures["stale_pages_payload"] == measures["stale_pages_descriptor"] == 0
    assert measures["packets_delivered"] + measures["packets_lost"] == measures["packets_offered"]


def cut_short(phase, do, **settings):
    """Do something to a run in one of its phases; what the run said, and what it left behind."""
    a_run = one_run.Run(
        experiment("untracked", **settings), load_profile("xeon-82599"), lambda fraction, name: None
    )

    def wait_and_do():
        while getattr(a_run, "_now", None) != phase:
            time.sleep(0.02)
        time.sleep(0.5)
        do(a_run)

    threading.Thread(target=wait_and_do, daemon=True).start()
    with pytest.raises(RunFailed) as failure:
        a_run.outcome()
    folders = list(Path(a_run._folder).parent.glob(a_run._folder.name))
    assert folders == []
    assert [each for each in (*a_run._guests,) if not each.ended()] == []
    assert a_run._server.process.poll() is not None
    return str(failure.value)


@pytest.mark.parametrize(
    ("phase", "pick", "named"),
    [
        ("boot", lambda run: run._server.process, "the VF's server was ended by SIGKILL"),
        ("migrating", lambda run: run._guests[0].process, "the source QEMU was ended by SIGKILL"),
    ],
)
def test_a_process_that_is_killed_ends_the_run_at_once_and_leaves_nothing(phase, pick, named):
    assert cut_short(phase, lambda run: os.kill(pick(run).pid, signal.SIGKILL)).startswith(named)


def test_a_guest_that_hangs_ends_the_run_though_its_qemu_is_well():
    said = cut_short("steady", lambda run: run._guests[0].qmp("stop"), phases__steady="30s")
    assert said.startswith("the guest in the source QEMU hangs: neither its kernel nor its init")
    assert "\n" not in said
