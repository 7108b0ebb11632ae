"""`bench advise` as a whole: facts become experiments, what is possible is run, ranked and shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from support import fakes
from support.runs import WORKLOADS

import cli
from vfbench import runner
from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf, VirtioNet
from vfbench.records import Outcome
from vfbench.strategy import Strategy


@dataclass(frozen=True)
class Log(Mechanism):
    name: ClassVar[str] = "log"

    @property
    def needs(self):
        return ("vf_state", "device_dirty_log")


@dataclass(frozen=True)
class Rewrite(Mechanism):
    name: ClassVar[str] = "rewrite"
    demands: ClassVar[tuple[str, ...]] = ("guest-driver",)


class Logged(Strategy):
    """The device logs what it wrote, and its driver moves its state."""

    name: ClassVar[str] = "logged"
    mechanisms = (Vf(), Log())

    def migrate(self, migration):
        migration.transfer_vf_state()


class Rewritten(Strategy):
    """The guest's driver marks what the device wrote, and a PF driver moves registers."""

    name: ClassVar[str] = "rewritten"
    mechanisms = (Vf(), Rewrite())

    def migrate(self, migration):
        migration.transfer_vf_state()


class Relayed(Strategy):
    """The host copies every packet."""

    name: ClassVar[str] = "relayed"
    mechanisms = (VirtioNet(),)

    def migrate(self, migration):
        migration.resume()


FIGURES = {
    "logged": {"downtime_ms": 400.0, "gbps": 90.0, "gbps_migrating": 90.0, "host_cycles_per_packet": 10.0},
    "rewritten": {"downtime_ms": 100.0, "gbps": 80.0, "gbps_migrating": 80.0, "host_cycles_per_packet": 10.0},
    "relayed": {"downtime_ms": 50.0, "gbps": 20.0, "gbps_migrating": 20.0, "host_cycles_per_packet": 4000.0},
}


@pytest.fixture
def ran(monkeypatch):
    """The experiments that were run, on a testbed that knows each strategy's figures."""
    done = []
    testbed = fakes.pretend_testbed()

    def run(experiment, profile, progress):
        done.append(experiment)
        return Outcome("ok", measures={**FIGURES[experiment.strategy.name], "pages_compared": 9})

    testbed.run = run
    monkeypatch.setattr(runner, "load_testbed", lambda name: testbed)
    monkeypatch.setattr(
        cli, "_strategies", lambda: {each.name: each for each in (Logged, Rewritten, Relayed)}
    )
    monkeypatch.setattr(cli, "_workloads", lambda: WORKLOADS)
    return done


def advise(tmp_path, capsys, *words):
    code = cli.main(["advise", "--results", str(tmp_path), "--json", *words])
    return code, json.loads(capsys.readouterr().out)


STOCK = ("--card", "connectx-7", "--kernel", "7.3", "--qemu", "11.1", "--no-viommu")


def test_only_what_is_possible_is_run_and_the_rest_has_its_reasons(tmp_path, capsys, ran):
    code, advice = advise(tmp_path, capsys, *STOCK)
    assert code == 0
    assert [each.strategy.name for each in ran] == ["logged", "relayed"]
    reasons = {way["strategy"]: [each["remedy"] for each in way["hindrances"]] for way in advice["ways"]}
    assert reasons == {
        "logged": [],
        "rewritten": ["--may-change guest-driver", "--may-change host-kernel"],
        "relayed": [],
    }


def test_a_virtual_iommu_leaves_the_one_that_needs_no_log(tmp_path, capsys, ran):
    _, advice = advise(tmp_path, capsys, *STOCK[:-1], "--viommu")
    assert [place["strategy"] for place in advice["ranking"]] == ["relayed"]


def test_what_the_user_weighs_decides_the_order(tmp_path, capsys, ran):
    _, by_downtime = advise(tmp_path, capsys, *STOCK, "--weigh", "downtime")
    _, by_throughput = advise(tmp_path, capsys, *STOCK, "--weigh", "throughput,host-cpu")
    assert [place["strategy"] for place in by_downtime["ranking"]] == ["relayed", "logged"]
    assert [place["strategy"] for place in by_throughput["ranking"]] == ["logged", "relayed"]


def test_what_may_be_changed_brings_in_what_takes_it_and_its_risk_is_counted(tmp_path, capsys, ran):
    may = ("--may-change", "guest-driver,host-kernel,guest-config")
    _, advice = advise(tmp_path, capsys, *STOCK, *may, "--weigh", "risk")
    risks = {place["strategy"]: place["figures"]["risk"] for place in advice["ranking"]}
    assert risks == {"logged": 0, "relayed": 0, "rewritten": 2}
    assert advice["ranking"][-1]["strategy"] == "rewritten"


def test_the_load_becomes_the_experiment(tmp_path, capsys, ran):
    load = (
        "--link",
        "100Gbps",
        "--frame",
        "256B",
        "--send",
        "50%",
        "--memory",
        "32GiB",
        "--downtime-limit",
        "100ms",
    )
    advise(tmp_path, capsys, *STOCK, *load, "--dirty-rate", "20kpages/s", "--rate", "30Gbps")
    settings = ran[0].settings()
    workload = ran[0].workload.name
    assert ran[0].profile == "modern-100g"
    assert {key: settings[key] for key in ("link.rate", "guest.memory", "migration.downtime-limit")} == {
        "link.rate": "100Gbps",
        "guest.memory": "32GiB",
        "migration.downtime-limit": "100ms",
    }
    assert settings[f"{workload}.frame"] == "256B"
    assert settings[f"{workload}.send"] == "0.5"
    assert settings[f"{workload}.dirty-rate"] == "20kpages/s"
    assert settings[f"{workload}.rate"] == "30Gbps"


def test_long_frames_bring_the_mtu_and_the_buffers_that_take_them(tmp_path, capsys, ran):
    advise(tmp_path, capsys, *STOCK, "--frame", "9000B")
    settings = ran[0].settings()
    assert (settings["link.mtu"], settings["driver.virtio-buffers"]) == ("8982B", "mergeable")


def test_a_capture_is_replayed(tmp_path, capsys, ran):
    advise(tmp_path, capsys, *STOCK, "--capture", "workloads/captures/veth-mixed.pcap")
    assert ran[0].workload.name == "pcap"


def test_repeats_are_runs_of_their_own_and_are_recorded(tmp_path, capsys, ran):
    advise(tmp_path, capsys, *STOCK, "--repeat", "3")
    assert [each.seed for each in ran] == [1, 1, 2, 2, 3, 3]
    assert len([*tmp_path.rglob("manifest.json")]) == 6


def test_a_failed_run_is_left_out_and_ends_with_1(tmp_path, capsys, ran, monkeypatch):
    testbed = runner.load_testbed("model")
    right = testbed.run

    def run(experiment, profile, progress):
        if experiment.strategy.name == "logged":
            return Outcome("failed", "it broke")
        return right(experiment, profile, progress)

    testbed.run = run
    code = cli.main(["advise", "--results", str(tmp_path), *STOCK])
    told = capsys.readouterr()
    assert code == 1
    assert "logged: failed: it broke" in told.err
    assert "Use relayed." in told.out


def test_no_run_runs_nothing_and_ranks_nothing(tmp_path, capsys, ran):
    code, advice = advise(tmp_path, capsys, *STOCK, "--no-run")
    assert (code, ran, advice["ranking"]) == (0, [], [])


def test_where_nothing_is_possible_nothing_is_run_and_the_reasons_stand(tmp_path, capsys, ran):
    code, advice = advise(tmp_path, capsys, "--card", "e810", "--may-change", "guest-kernel")
    assert (code, ran, advice["ranking"]) == (0, [], [])
    assert all(way["hindrances"] for way in advice["ways"])


def test_the_page_says_what_to_use_and_what_would_turn_it(tmp_path, capsys, ran):
    cli.main(["advise", "--results", str(tmp_path), *STOCK])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Use relayed." in shown or "Use logged." in shown
    assert "What would turn it" in shown
    assert "rewritten can be had and would be measured too: --may-change guest-driver" in shown


def test_a_first_place_that_nobody_ships_says_so(tmp_path, capsys, ran):
    may = ("--may-change", "guest-driver,host-kernel,guest-config", "--weigh", "downtime=1,throughput=9")
    cli.main(["advise", "--results", str(tmp_path), *STOCK, *may, "--strategy", "rewritten,relayed"])
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "Use rewritten. It takes what does not come with Linux, QEMU or the card: a changed VF driver"
        in shown
    )


def test_where_nothing_can_be_had_the_page_says_what_to_do(tmp_path, capsys, ran):
    words = ("--card", "connectx-7", "--viommu", "--may-change", "guest-kernel", "--no-run")
    cli.main(["advise", "--results", str(tmp_path), *words])
    shown = " ".join(capsys.readouterr().out.split())
    assert "None of them can be had as things are." in shown
    assert "relayed can be had and would be measured too: --may-change guest-config" in shown
