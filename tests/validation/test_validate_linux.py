"""A real Linux in a real QEMU: what goes in, what is read out, and what the model is asked."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from pathlib import Path

import pytest
from support.real_guests import real_parts

import cli
from strategies import ALL_STRATEGIES
from vfbench.errors import UserError
from vfbench.validation.linux import counts, frames
from vfbench.validation.linux.drivers import DRIVERS, IOMMUS
from vfbench.validation.linux.echo import EchoPeer, Gap, echo_request, is_echo_reply
from vfbench.validation.linux.job import chosen, lengths, model
from vfbench.validation.linux.measure import Counted, taking_frames
from vfbench.validation.linux.predict import predict
from vfbench.validation.linux.scenario import (
    Registered,
    Scenario,
    experiment_as_measured,
    experiment_of,
    scenarios,
)
from vfbench.validation.linux.suite import compare, gaps, row, validate
from workloads import ALL_WORKLOADS

RECORDED = Path(__file__).parent / "recorded" / "linux"
GUEST, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")


def recorded(name: str) -> list[str]:
    """What Linux 6.12 and QEMU 10 wrote after virtio-net had received 100 frames and sent 5."""
    return (RECORDED / f"{name}.txt").read_text().splitlines()


def registered(frames_each: int = 64, workload: str = "small-packets") -> Registered:
    return Registered(
        {each.name: each for each in ALL_STRATEGIES},
        {each.name: each for each in ALL_WORKLOADS},
        workload,
        frames_each,
        250,
    )


def scenario(driver: str, *, iommu: str = "caching-mode", sent: bool = False, held: bool = False) -> Scenario:
    return Scenario(DRIVERS[driver], IOMMUS[iommu], sent, 64, held)


def evenly(frames_each: int, packets_per_s: float) -> list[float]:
    """Moments of so many frames, from any beginning."""
    return [1000 + i / packets_per_s for i in range(frames_each)]


def test_a_histogram_is_read_in_full_and_by_size() -> None:
    lines = recorded("map-hist")
    assert counts.histogram_hits(lines) == 404
    assert counts.histogram_by_size(lines) == {8192: 85, 4096: 319}


def test_a_file_that_is_no_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="one total, not 0"):
        counts.histogram_hits(recorded("interrupts"))


def test_interrupts_go_by_the_name_of_their_handler() -> None:
    found = counts.interrupts_by_name(recorded("interrupts"))
    assert (found["virtio0-input.0"], found["virtio0-output.0"], found["timer"]) == (100, 4, 542)
    assert "LOC" not in found


def test_interrupts_of_all_processors_are_added_up() -> None:
    lines = [
        "           CPU0       CPU1",
        " 26:        100          7  PCI-MSIX-0000:00:01.0   1-edge      eth0-rx-0",
    ]
    assert counts.interrupts_by_name(lines) == {"eth0-rx-0": 107}


def test_packets_are_those_of_one_interface() -> None:
    assert counts.packets_of(recorded("net-dev"), "eth0") == (100, 5)
    with pytest.raises(ValueError, match="no eth7"):
        counts.packets_of(recorded("net-dev"), "eth7")


def test_trace_events_are_counted_by_queue_and_register_too() -> None:
    found = counts.trace_events(
        [*recorded("virtio-trace"), "e1000e_core_write Write to register 0xe018, 4 byte(s)"]
    )
    assert found["vtd_inv_desc_iotlb_pages"] == 21
    assert (found["virtio_queue_notify"], found["virtio_queue_notify 1"]) == (4, 4)
    assert found["e1000e_core_write 0xe018"] == 1


def test_interrupts_by_which_a_watchdog_looks_after_its_rings_are_told_apart() -> None:
    line = "e1000e_core_write Write to register 0x1520, 4 byte(s), value: 0x6"
    assert counts.trace_events([line, line.replace("0x1520", "0x1524")])[counts.ASKED_FOR] == 2


def test_the_wire_plays_the_workloads_own_frames() -> None:
    wire = frames.arrivals(experiment_of(scenario("igb"), registered(), ALL_STRATEGIES[0].name), 64)
    gaps = {round(1000 * (b.time_s - a.time_s), 6) for a, b in itertools.pairwise(wire)}
    assert (len(wire), {each.length_bytes for each in wire}, gaps) == (64, {64}, {4.0})


def test_a_frame_is_as_long_as_it_says_less_its_fcs() -> None:
    assert len(frames.frame_to_be_freed(GUEST, PEER, 64)) == 60
    assert len(frames.datagram(GUEST, PEER, 1518, 67)) == 1514


def test_a_datagram_is_one_that_linux_takes() -> None:
    frame = frames.datagram(GUEST, PEER, 304, 67)
    total, port, udp_bytes = struct.unpack(">H", frame[16:18])[0], *struct.unpack(">HH", frame[36:40])
    assert (frames.checksum(frame[14:34]), total, port, udp_bytes) == (0, 286, 67, 266)


def test_a_ping_has_both_checksums_right() -> None:
    frame = echo_request(GUEST, PEER, 70_000)
    assert (frames.checksum(frame[14:34]), frames.checksum(frame[34:42])) == (0, 0)
    assert not is_echo_reply(frame)
    assert is_echo_reply(frame[:34] + b"\0" + frame[35:])


def test_each_frame_waits_until_the_guest_is_idle() -> None:
    seen: list[str] = []
    two = [(0.0, b"first"), (0.001, b"second")]
    frames.play(two, lambda frame: seen.append(frame.decode()), lambda: seen.append("idle"))
    assert seen == ["idle", "first", "idle", "second"]


def test_frames_taken_from_the_wire_have_the_moments_when_they_were_sent() -> None:
    peer, guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with peer, guest, taking_frames(peer) as moments_s:
        for pause_s in (0.21, 0.0):  # two clocks are compared: the socket's and the one that slept
            guest.send(b"frame")
            time.sleep(pause_s)
        until = time.monotonic() + 5
        while len(moments_s) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert moments_s[1] - moments_s[0] >= 0.2


def test_the_model_is_told_of_each_moment() -> None:
    planned = experiment_as_measured(scenario("igb"), registered(), ALL_STRATEGIES[0].name, [0.5, 0.5011])
    wire = frames.arrivals(planned, 3)
    assert [round(each.time_s, 6) for each in wire] == [0.5, 0.5011]
    assert planned.phases.steady_ns > 501_100_000


def test_the_longest_gap_counts_from_an_answer_to_the_next() -> None:
    peer = EchoPeer([_Place()], GUEST, PEER, 500)  # type: ignore[list-item]
    peer.answers += [1.0, 5.0, 5.1, 5.4, 5.5]
    assert peer.longest_gap(5.05) == pytest.approx(Gap(0.3, 5.1))


class _Place:
    peer = None


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "qemu")
    assert cli.main(["validate", "linux", "--qemu", missing]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--qemu: there is no program {missing}; fetch it with `make linux-guest`" in said


@pytest.mark.parametrize("text", ["63", "64,9000", "many", ""])
def test_a_frame_that_ethernet_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no frame size from 64 to 1518"):
        lengths(text)


def test_names_are_checked_and_taken_once() -> None:
    assert chosen("--driver", "igb,igb", DRIVERS) == (DRIVERS["igb"],)
    assert len(chosen("--driver", "all", DRIVERS)) == 3
    with pytest.raises(UserError, match="did you mean 'igbvf'"):
        chosen("--driver", "ixgbvf", DRIVERS)


def test_every_driver_meets_every_iommu_and_size() -> None:
    plan = list(scenarios(list(DRIVERS.values()), [IOMMUS["lazy"]], (64, 1518)))
    assert len({each.name for each in plan}) == len(plan) == 3 * 3 * 2


@pytest.mark.parametrize(
    ("predicted", "measured", "met"), [(1.0, 1.04, True), (1.0, 1.2, False), (0.0, 0.04, True)]
)
def test_a_count_may_be_off_by_five_per_cent(predicted: float, measured: float, met: bool) -> None:
    assert row(scenario("igb"), "maps", predicted, measured).met is met


def test_what_the_model_does_not_say_is_not_judged() -> None:
    assert row(scenario("igb"), "kicks", None, 1.0).met is None


@pytest.mark.parametrize(
    ("given", "maps"),
    [
        (scenario("igb"), 0),
        (scenario("igbvf"), 1),
        (scenario("igb", sent=True), 1),
        (scenario("igb", sent=True, iommu="passthrough"), 0),
    ],
    ids=lambda each: each.name if isinstance(each, Scenario) else str(each),
)
def test_the_model_maps_as_often_as_the_drivers_design_says(given: Scenario, maps: float) -> None:
    assert predict(given, registered(), model(), evenly(64, 250))["maps"] == pytest.approx(maps, abs=0.02)


def test_half_of_the_pages_that_are_held_are_mapped_anew() -> None:
    found = predict(scenario("igb", held=True), registered(512), model(), evenly(512, 250))
    assert found["maps"] == pytest.approx(0.5, abs=0.01)


def test_lazily_unmapped_pages_share_an_invalidation_for_three_to_four_ticks() -> None:
    found = predict(scenario("igbvf", iommu="lazy"), registered(), model(), evenly(512, 240))
    assert found["invalidations"] == pytest.approx(1 / (1 + 14 / (1000 / 240)), rel=0.1)


def test_a_frame_sent_alone_has_a_lazy_invalidation_of_its_own() -> None:
    found = predict(scenario("igbvf", iommu="lazy", sent=True), registered(), model(), evenly(64, 50))
    # Of 64, the last one is flushed after the end.
    assert found["invalidations"] == pytest.approx(63 / 64, abs=0.02)


def test_frames_sent_in_pairs_share_a_lazy_invalidation() -> None:
    pairs = sorted(moment + late for moment in evenly(32, 25) for late in (0.0, 0.004))
    found = predict(scenario("igbvf", iommu="lazy", sent=True), registered(), model(), pairs)
    assert found["invalidations"] == pytest.approx(0.5, abs=0.02)


def test_virtio_net_is_kicked_and_interrupted_once_for_each_frame_sent_alone() -> None:
    found = predict(scenario("virtio-net", sent=True), registered(), model(), evenly(64, 62.5))
    assert found == {"interrupts": 1, "kicks": 1}


def test_the_driver_of_the_guests_kernel_is_taken() -> None:
    old, new = (DRIVERS["virtio-net"].of_kernel(version) for version in ((6, 12), (7, 3)))
    assert (old.races_for_interrupts, new.races_for_interrupts) == (False, True)
    assert DRIVERS["igb"].of_kernel((7, 3)) == DRIVERS["igb"]
    planned = [
        experiment_of(Scenario(new, IOMMUS["lazy"], True, 64), registered(), name)
        for name in ("untracked", "virtio-net")
    ]
    assert [each.settings().get("virtio-net.arm-after-kick") for each in planned] == [None, "true"]


def test_a_poll_for_each_frame_sent_is_predicted_and_who_comes_first_is_not() -> None:
    new = Scenario(DRIVERS["virtio-net"].of_kernel((7, 3)), IOMMUS["lazy"], True, 64)
    counted = Counted(100, (0.0, 0.1), 0, 0, 0, 15, 0, 0, 100, 100)
    rows = {each.measure: each for each in compare(new, counted, {"interrupts": 1.0, "kicks": 1.0})}
    assert (
        rows["transmit polls"].predicted,
        rows["transmit polls"].observed,
        rows["transmit polls"].met,
    ) == (1, 1, True)
    assert (rows["interrupts"].predicted, rows["interrupts"].observed) == (None, 0.15)


def test_what_the_model_was_told_is_said() -> None:
    assert gaps([1.0, 1.017, 1.035, 1.1]) == "told of frames 17.0 to 65.0 ms apart, median 18.0"


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.12", "newest"])
def test_a_real_igb_maps_nothing_per_frame_received_and_once_per_frame_sent(kernel: str) -> None:
    found = real_parts(kernel)
    plan = [scenario("igb"), scenario("igb", sent=True)]
    rows = list(validate(found, plan, registered(), model(), lambda _line: None))
    maps = {each.case: each.observed for each in rows if each.measure == "maps"}
    assert maps == {"igb caching-mode freed 64 B": 0, "igb caching-mode sent 64 B": 1}
