"""A TCP stream: its window bounds it, loss and silence cost it throughput, and every byte is still compared."""

from __future__ import annotations

import pytest
from support.machines import GBPS, MS_PS, fall_silent, lost
from support.runs import DRIVER, MS, PHASES, US, changed, costs, experiment, machine, run

from strategies import DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.errors import UserError
from vfbench.experiment import Link
from vfbench.machine.memory.words import load_word
from vfbench.tcp.sender import RESENT, TIMEOUTS
from vfbench.testbeds import model
from vfbench.testbeds.kvm.refusals import refusals as kvm_refusals
from vfbench.testbeds.qemu.refusals import refusals as qemu_refusals
from workloads import TcpStream

SEGMENT, WIRE_BYTES = 1448, 1538
OFFLOADED = changed(DRIVER, segmentation="on", gro="on")
DIRECTIONS = ("receive", "send")


def stream(direction, **parameters):
    return TcpStream(**{"flows": 1, "direction": direction, "dirty_rate_pages_per_s": 0, **parameters})


def made(direction, strategy=None, driver=OFFLOADED, ms=20, figures=None, link=None, **parameters):
    found = machine(
        strategy or Untracked(), stream(direction, **parameters), figures, driver=driver, link=link or Link()
    )
    found.advance(ms * MS_PS)
    return found


def gbps(found, direction):
    way = "rx" if direction == "receive" else "tx"
    return 8000 * int(found.pairs[0].oracle[f"{way}_delivered_bytes"]) / found.now_ps


def counted(found, direction, column):
    """What the sending end of the first stream counted."""
    end = found.source if direction == "receive" else found.applications[0]
    return load_word(int(end.table), int(column))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_throughput_is_the_window_over_the_round_trip(direction):
    """40 segments each 1 ms are 0.49 Gb/s, less what the machine takes; twice the window carries twice as much."""
    one, two = (
        gbps(made(direction, window_bytes=n * SEGMENT, round_trip_ns=MS, ms=60), direction) for n in (40, 80)
    )
    most = 40 * WIRE_BYTES * 8 / 1e6
    assert 0.6 * most < one < most
    assert 1.6 * one < two < 2 * most


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_longer_round_trip_costs_throughput(direction):
    near, far = (
        gbps(made(direction, window_bytes=1 << 17, round_trip_ns=ns), direction)
        for ns in (100 * US, 800 * US)
    )
    assert far < near / 3


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("strategy", [Untracked(), EmulatedIommu(), VirtioNet()], ids=lambda s: s.name)
def test_every_segment_arrives_once_and_whole(direction, strategy):
    found = made(direction, strategy)
    fall_silent(found, MS_PS)
    pair = found.pairs[0]
    assert gbps(found, direction) > 2
    assert (
        lost(found)
        == int(pair.oracle.rx_corrupted)
        == int(pair.oracle.tx_corrupted)
        == int(pair.oracle.tx_duplicated)
        == 0
    )
    assert counted(found, direction, RESENT) == counted(found, direction, TIMEOUTS) == 0


def test_a_stream_fills_the_wire_where_the_window_allows():
    for direction in DIRECTIONS:
        assert gbps(made(direction, window_bytes=1 << 20, flows=2), direction) > 8.5


def test_acknowledgements_are_one_for_two_segments_and_one_for_what_gro_joined():
    alone, joined = (made("receive", driver=each, window_bytes=1 << 18) for each in (DRIVER, OFFLOADED))
    segments, acks = int(alone.pairs[0].oracle.rx_delivered), int(alone.pairs[0].oracle.tx_delivered)
    assert acks == pytest.approx(segments / 2, rel=0.1)
    assert int(joined.pairs[0].oracle.tx_delivered) < int(joined.pairs[0].oracle.rx_delivered) / 6


def test_loss_lowers_throughput_and_what_was_lost_is_sent_again():
    """A vCPU that is too slow, and a ring that is too short: frames are dropped, and the window backs off."""
    slow = costs(rx_packet=40_000)
    whole = made("receive", window_bytes=8 << 20, ms=100)
    losing = made("receive", driver=changed(DRIVER, rx_ring=64), figures=slow, window_bytes=8 << 20, ms=100)
    assert counted(whole, "receive", RESENT) == 0
    assert lost(losing) > 0
    assert counted(losing, "receive", RESENT) >= lost(losing) / 2
    offered = int(losing.pairs[0].oracle.rx_offered)
    assert lost(losing) < 0.2 * offered  # a sender that went on as before would lose most of what it sends


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_gap_of_a_migration_shows_and_the_stream_goes_on_after_it(direction):
    """What is in the ring is acknowledged after the pause, and what was lost is sent again: no gap is shorter."""
    found = run(
        DummyWrite(),
        stream(direction, timeout_ns=60 * MS),
        driver=OFFLOADED,
        phases=changed(PHASES, after_ns=200 * MS),
    )
    assert found.state == "ok", found.reason
    measures = found.measures
    assert 62 > measures["service_gap_ms"] >= measures["vcpu_pause_ms"] > 10
    # The other way it is acknowledgements that are lost, and the next one covers them.
    assert direction == "send" or measures["packets_lost_blackout"] > 0
    carried = "gbps" if direction == "receive" else "tx_gbps"
    assert max(each[carried] for each in found.intervals if each["phase"] == "after") > 2
    for damage in ("packets_corrupted", "packets_sent_corrupted", "packets_phantom"):
        assert measures[damage] == 0, damage


@pytest.mark.parametrize("mtu_bytes", [1000, 9000])
def test_segments_fill_the_mtu(mtu_bytes):
    found = machine(Untracked(), stream("receive"), link=Link(mtu_bytes=mtu_bytes))
    assert model.refusals(found.experiment) == []
    found.advance(2 * MS_PS)
    pair = found.pairs[0]
    assert int(pair.oracle.rx_delivered) > 100
    assert int(pair.oracle.rx_delivered_bytes) == int(pair.oracle.rx_delivered) * (mtu_bytes + 18 + 20)


def test_what_could_not_act_is_refused():
    with pytest.raises(UserError, match="rate: cannot act with direction=send"):
        TcpStream(direction="send", rate_bps=GBPS)
    with pytest.raises(UserError, match=r"tcp-stream\.send: 1 cannot act"):
        TcpStream(send_ratio=1.0)


@pytest.mark.parametrize("refusals", [kvm_refusals, qemu_refusals], ids=["kvm", "qemu"])
def test_real_guests_refuse_it(refusals):
    assert any(
        "tcp-stream: its frames carry segment numbers" in each
        for each in refusals(experiment(Untracked(), TcpStream()))
    )
