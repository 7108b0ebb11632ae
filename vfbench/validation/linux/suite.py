"""Boot a guest for each driver behind each IOMMU, take it through its scenarios, and set the model beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

from vfbench.testbeds.qemu.boot.folder import run_folder
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.parts.described import Parts
from vfbench.validation.linux.drivers import PEER_MAC, TRACED
from vfbench.validation.linux.frames import FCS_BYTES, arrivals, datagram, frame_to_be_freed, play
from vfbench.validation.linux.guest import WiredGuest
from vfbench.validation.linux.measure import Counted, count_received, count_sent, holding_socket, prepare
from vfbench.validation.linux.predict import COLUMNS, Predicted, Run, predict
from vfbench.validation.linux.scenario import Registered, Scenario, experiment_of
from vfbench.validation.tables import Goal, Row

MODULES = ("dca", "i2c-algo-bit", "igb", "igbvf", "failover", "net_failover", "virtio_net")
TOLERANCE = 0.05
UNIT = "per packet"
UNPREDICTED = {"kicks": "a tail write, no exit of an assigned VF"}
NO_VIRTIO_IOMMU = "the model has no virtio-net behind an IOMMU"
RACE = "the other polls began without one: the device was done before the driver asked; {:.0f} if it never is"
IOMMU_LINES = "dmesg | grep -E 'IOMMU batching|TLB invalidation policy'"

Say = Callable[[str], None]
"""Takes a line on how far things are."""


def validate(
    parts: Parts, plan: Sequence[Scenario], registered: Registered, run: Run, say: Say, *, keep: bool = False
) -> Iterator[Row]:
    """Every count of every scenario, as soon as its guest has been measured."""
    with run_folder(keep=keep, say=say) as place:
        archive = place / "initramfs"
        archive.write_bytes(initramfs(parts, MODULES))
        for (driver, iommu), group in groupby(plan, key=lambda each: (each.driver, each.iommu)):
            say(f"booting Linux with {driver.name} behind an emulated IOMMU ({iommu.name})")
            setup = GuestSetup(
                parts,
                archive,
                place / f"{driver.name}-{iommu.name}",
                (*iommu.device, *driver.behind_iommu),
                f"intel_iommu=on {iommu.kernel}",
                traced=TRACED,
            )
            with WiredGuest(setup) as guest:
                yield from _measured(guest, list(group), registered, run, say)


def _measured(
    guest: WiredGuest, group: Sequence[Scenario], registered: Registered, run: Run, say: Say
) -> Iterator[Row]:
    guest.wait_until_booted()
    for line in guest.ask(IOMMU_LINES):
        say(f"the guest's kernel: {line.partition('] ')[2]}")
    mac = prepare(guest, group[0].driver)
    for scenario in group:
        say(f"measuring {scenario.name}")
        counted = _count(guest, scenario, registered, mac)
        yield from compare(scenario, counted, predict(scenario, registered, run, counted.moments_s))


def _count(guest: WiredGuest, scenario: Scenario, registered: Registered, mac: bytes) -> Counted:
    peer = bytes.fromhex(PEER_MAC.replace(":", ""))
    driver, length = scenario.driver, scenario.length_bytes
    if scenario.sent:
        gap_s = 1 / registered.rate(scenario)
        return count_sent(guest, driver, registered.count(scenario), length - FCS_BYTES, gap_s)
    strategy = next(iter(registered.strategies))  # the frames are the workload's, whatever the strategy
    wire = arrivals(experiment_of(scenario, registered, strategy), registered.frames)
    if not scenario.held:
        frames = [(each.time_s, frame_to_be_freed(mac, peer, each.length_bytes)) for each in wire]
        return count_received(
            guest, driver, len(frames), lambda: play(frames, guest.send, guest.wait_until_idle)
        )
    with holding_socket(guest, driver.interface) as port:
        frames = [(each.time_s, datagram(mac, peer, each.length_bytes, port)) for each in wire]
        return count_received(
            guest, driver, len(frames), lambda: play(frames, guest.send, guest.wait_until_idle)
        )


def compare(scenario: Scenario, counted: Counted, predicted: Predicted) -> Iterator[Row]:
    """Measured beside predicted, per packet, and what is measured only."""
    for name in COLUMNS:
        if name == "interrupts" and scenario.sent and scenario.driver.races_for_interrupts:
            yield from _raced(scenario, counted, predicted)
            continue
        told = gaps(counted.moments_s) if name == "invalidations" and scenario.iommu.lazy else ""
        yield row(scenario, name, predicted.get(name), counted.per_packet(name), told)
    if counted.repeated_interrupts:
        repeated = counted.per_packet("repeated_interrupts")
        yield Row(
            scenario.name, "interrupts repeated", UNIT, None, repeated, note="by the timer of QEMU's igb"
        )
    if counted.asked_interrupts:
        asked = counted.per_packet("asked_interrupts")
        note = "by the driver's watchdog, which looks after its rings every 2 s"
        yield Row(scenario.name, "interrupts asked for", UNIT, None, asked, note=note)


def _raced(scenario: Scenario, counted: Counted, predicted: Predicted) -> Iterator[Row]:
    """Each frame is one poll, by an interrupt if the device was later than the driver; who is, is not predicted."""
    yield row(scenario, "transmit polls", predicted["interrupts"], counted.per_packet("polls"))
    note = RACE.format(predicted["interrupts"])
    yield Row(scenario.name, "interrupts", UNIT, None, counted.per_packet("interrupts"), note=note)


def gaps(moments_s: Sequence[float]) -> str:
    """What the model was told of the frames, in words."""
    apart_ms = sorted(1000 * (b - a) for a, b in pairwise(moments_s))
    if not apart_ms:
        return ""
    return f"told of frames {apart_ms[0]:.1f} to {apart_ms[-1]:.1f} ms apart, median {median(apart_ms):.1f}"


def row(scenario: Scenario, name: str, predicted: float | None, measured: float, note: str = "") -> Row:
    """One count with its goal: 5 % of what was measured; where next to none is predicted, 5 in 100 packets."""
    if predicted is None:
        return Row(scenario.name, name, UNIT, None, measured, note=UNPREDICTED.get(name, NO_VIRTIO_IOMMU))
    goal: Goal = "relative" if predicted > TOLERANCE else "absolute"
    return Row(scenario.name, name, UNIT, predicted, measured, goal, TOLERANCE, note=note)
