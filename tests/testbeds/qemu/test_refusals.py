"""What a stock guest can't have is refused with the reason; what it has by itself needs no asking."""

import dataclasses

import pytest

from strategies import ALL_STRATEGIES
from vfbench.options import Options
from vfbench.runner import asked_for
from vfbench.sweeps.cells import cells_of
from vfbench.sweeps.grid import Grid
from vfbench.testbeds.qemu import kernels_own, refusals
from vfbench.testbeds.qemu.guests import wanted
from workloads import ALL_WORKLOADS

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}


def experiment(strategy, *settings):
    options = Options([strategy], "bulk", settings, testbed="qemu")
    return asked_for(options, STRATEGIES, WORKLOADS)[0]


@pytest.mark.parametrize(
    "strategy",
    [
        "untracked",
        "dummy-write",
        "emulated-iommu",
        "virtio-net",
        "standby-failover",
        "bounce-buffers",
        "device-dirty-log",
    ],
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
        # Set to what it is by default: that is asked for too.
        ("dummy-write", "dummy-write.descriptors=true", "packets only"),
        ("emulated-iommu", "emulated-iommu.exit-to=kernel", "user space"),
        ("emulated-iommu", "emulated-iommu.skip-mapped=true", "sends every page"),
        ("emulated-iommu", "emulated-iommu.unmap-early=true", "when it is done"),
        ("emulated-iommu", "emulated-iommu.tracking=migrating", "notifies of each"),
        ("virtio-net", "virtio-net.suppress-kicks=false", "EVENT_IDX"),
        ("virtio-net", "virtio-net.napi-tx=false", "guest kernel"),
        ("standby-failover", "standby-failover.unplug=refused", "gives it up"),
        ("standby-failover", "standby-failover.link-watch=false", "watches it"),
        ("device-dirty-log", "device-dirty-log.page=2MiB", "4096"),
        ("device-dirty-log", "device-dirty-log.covers=dma", "all of it"),
        ("device-dirty-log", "device-dirty-log.ring-entries=64", "never fills"),
        ("device-dirty-log", "device-dirty-log.fails-at=100", "has none"),
        ("bounce-buffers", "bounce-buffers.when=migrating", "at boot"),
        ("bounce-buffers", "bounce-buffers.copy-in=false", "5.18"),
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


def test_what_is_left_at_its_default_is_recorded_as_what_a_stock_guest_has():
    emulated = experiment("emulated-iommu").strategy
    assert (emulated.exit_to, emulated.skip_mapped) == ("user-space", False)
    assert experiment("dummy-write").strategy.descriptors is False


@pytest.mark.parametrize(("version", "after"), [((6, 12), False), ((6, 15), True), ((7, 3), True)])
def test_what_the_guests_kernel_decides_is_recorded_as_that_kernel_has_it(monkeypatch, version, after):
    monkeypatch.setattr(kernels_own, "kernel_of", lambda wanted: version)
    assert experiment("virtio-net").strategy.arm_after_kick is after
    assert refusals(experiment("virtio-net")) == []
    own, other = str(after).lower(), str(not after).lower()
    assert refusals(experiment("virtio-net", f"virtio-net.arm-after-kick={own}")) == []
    assert refusals(experiment("virtio-net", f"virtio-net.arm-after-kick={other}")) == [
        f"virtio-net.arm-after-kick: {not after}, but Linux {version[0]}.{version[1]} has {after}; another one is "
        "named by qemu.kernel"
    ]


def test_asked_for_what_a_stock_guest_has_it_is_given():
    assert refusals(experiment("emulated-iommu", "emulated-iommu.exit-to=user-space")) == []
    assert refusals(experiment("dummy-write", "dummy-write.descriptors=false")) == []


def test_a_sweep_sets_what_it_says_and_adapts_the_rest():
    grid = Grid(
        "g", ("dummy-write",), ("bulk",), axes={"dummy-write.descriptors": ("true", "false")}, testbed="qemu"
    )
    cells = cells_of([grid], STRATEGIES, WORKLOADS)
    assert [bool(refusals(cell.experiment)) for cell in cells] == [True, False]
    left = cells_of([dataclasses.replace(grid, axes={})], STRATEGIES, WORKLOADS)
    assert [refusals(cell.experiment) for cell in left] == [[]]


def test_a_strategy_says_what_the_guest_is_booted_with():
    assert wanted(experiment("dummy-write")).xdp == "write"
    strict = wanted(experiment("emulated-iommu"))
    assert strict.guest_iommu
    assert "iommu.strict=1" in strict.kernel_arguments
    assert strict.device_log == "unmap"
    assert wanted(experiment("virtio-net")).primary == "virtio-net"
    assert wanted(experiment("standby-failover")).primary == "vf-with-standby"


def test_a_guest_unplugs_by_native_hotplug_where_that_is_asked_for():
    assert not wanted(experiment("standby-failover")).native_hotplug
    assert wanted(experiment("standby-failover", "standby-failover.unplug=native")).native_hotplug


def test_controls_are_added_to_what_the_strategy_wants():
    way = wanted(
        experiment("untracked", "qemu.device-log=true", "qemu.xdp-control=true", "qemu.rings=copied")
    )
    assert (way.device_log, way.xdp, way.copies_rings) == ("dma", "read", True)
    assert not wanted(experiment("dummy-write", "qemu.rings=left")).copies_rings
    assert wanted(experiment("bounce-buffers")).copies_written
    assert not wanted(experiment("bounce-buffers", "qemu.rings=left")).copies_written
