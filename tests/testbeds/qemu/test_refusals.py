"""What a stock guest can't have is refused with the reason; what it has by itself needs no asking."""

import pytest

from strategies import ALL_STRATEGIES
from vfbench.options import Options, experiments
from vfbench.testbeds.qemu import adapted, refusals
from vfbench.testbeds.qemu.guests import wanted
from workloads import ALL_WORKLOADS

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}


def experiment(strategy, *settings):
    options = Options([strategy], "bulk", settings, testbed="qemu")
    return adapted(experiments(options, STRATEGIES, WORKLOADS)[0])


@pytest.mark.parametrize(
    "strategy", ["untracked", "dummy-write", "emulated-iommu", "virtio-net", "standby-failover"]
)
def test_a_strategy_at_its_defaults_can_be_had(strategy):
    assert refusals(experiment(strategy)) == []


@pytest.mark.parametrize(
    ("strategy", "setting", "reason"),
    [
        ("dummy-write", "dummy-write.atomic=true", "locked"),
        ("dummy-write", "dummy-write.ahead=true", "XDP"),
        ("dummy-write", "dummy-write.byte=last", "first page"),
        ("dummy-write", "dummy-write.stop-order=undrained", "stock driver"),
        ("emulated-iommu", "emulated-iommu.mode=deferred", "caching mode"),
        ("emulated-iommu", "emulated-iommu.exit-to=other-core", "user space"),
        ("emulated-iommu", "emulated-iommu.entries=32", "each map"),
        ("untracked", "guest.queues=4", "2 queue pairs"),
        ("untracked", "driver.rx-ring=128", "driver's"),
        ("untracked", "device.interrupt-interval=10us", "VTEITR"),
        ("untracked", "kvm.clock=lockstep", "clock"),
        ("dummy-write", "qemu.xdp-control=true", "XDP program of its own"),
    ],
)
def test_what_a_stock_guest_cannot_have_is_refused_with_the_reason(strategy, setting, reason):
    refused = refusals(experiment(strategy, setting))
    assert len(refused) == 1
    assert reason in refused[0]


def test_left_at_its_default_the_iommus_exits_are_those_of_qemu():
    assert experiment("emulated-iommu").strategy.exit_to == "user-space"


def test_a_strategy_says_what_the_guest_is_booted_with():
    assert wanted(experiment("dummy-write")).xdp == "write"
    strict = wanted(experiment("emulated-iommu"))
    assert strict.guest_iommu
    assert "iommu.strict=1" in strict.kernel_arguments
    assert strict.device_log == "unmap"
    assert wanted(experiment("virtio-net")).primary == "virtio-net"
    assert wanted(experiment("standby-failover")).primary == "vf-with-standby"


def test_controls_are_added_to_what_the_strategy_wants():
    way = wanted(
        experiment("untracked", "qemu.device-log=true", "qemu.xdp-control=true", "qemu.rings=copied")
    )
    assert (way.device_log, way.xdp, way.copies_rings) == ("dma", "read", True)
    assert not wanted(experiment("dummy-write", "qemu.rings=left")).copies_rings
