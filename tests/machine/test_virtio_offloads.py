"""virtio-net with packets of many frames: mergeable and big buffers, the host's GRO and segmentation, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from support.machines import GBPS, MS_PS, QUIET, US_PS, fall_silent, field, lost, steps, total
from support.runs import DRIVER, MIB, changed, costs, experiment, machine, measured

from strategies import ShadowVirtqueue, Untracked, VirtioNet
from vfbench.experiment import Device, Guest, Host, Link, Precopy
from vfbench.machine.driver.state import MERGE_AVERAGE
from vfbench.machine.memory.guest_memory import DEVICE_WROTE, LOGGED
from vfbench.machine.memory.words import store_word
from vfbench.testbeds import model
from vfbench.testbeds.kvm.refusals import refusals as kvm_refusals
from vfbench.testbeds.qemu.refusals import refusals as qemu_refusals
from workloads import Bulk, SmallPackets, TcpStream

SINGLE = changed(DRIVER, rx_ring=64, tx_ring=64)
MERGEABLE, BIG = (changed(SINGLE, virtio_buffers=kind) for kind in ("mergeable", "big"))
JOINED = Host(gro="on")
ROOMY = Guest(memory_bytes=128 * MIB, packet_memory_bytes=32 * MIB)
KINDS = pytest.mark.parametrize("driver", [SINGLE, MERGEABLE, BIG], ids=["single", "mergeable", "big"])
FRAME_PAYLOAD = 1448


def made(workload, driver, host=JOINED, ps=MS_PS, figures=None, **parts):
    found = machine(VirtioNet(), workload, figures, driver=driver, host=host, guest=ROOMY, **parts)
    found.advance(ps)
    return found


def bulk(rate_bps=8 * GBPS, flows=2, **more):
    return Bulk(rate_bps=rate_bps, flows=flows, **{**QUIET, **more})


def counts(found, *names):
    return tuple(int(found.pairs[0].oracle[name]) for name in names)


def used_buffers(found):
    return int(found.pairs[0].vhost.rx_used)


def block_of(found, position):
    """Where the first block of what the application keeps at ``position`` stands in the words of memory."""
    entry = (int(found.cpus[0].held) >> 3) + 2 * (position % 1024)
    address, base = int(found.memory.words[entry + 1]) & (1 << 48) - 8, int(found.memory.structure_bytes)
    return (base >> 3) + ((address - base) >> 9)


def continues(found, position):
    """Whether what is kept at ``position`` is a further part of the packet before."""
    return int(found.memory.words[(int(found.cpus[0].held) >> 3) + 2 * (position % 1024) + 1]) & 2


@KINDS
@pytest.mark.parametrize("gro", ["off", "on"])
def test_every_frame_that_the_host_joined_is_delivered_whichever_buffers_the_guest_has(driver, gro):
    found = made(bulk(), changed(driver, gro=gro))
    fall_silent(found, 5 * MS_PS)
    offered, delivered, handed_over = counts(found, "rx_offered", "rx_delivered", "rx_handed_over")
    assert offered == delivered + lost(found)
    assert delivered == handed_over > 600
    assert counts(found, "rx_corrupted", "rx_duplicated", "rx_phantom", "dma_faults") == (0, 0, 0, 0)
    assert counts(found, "rx_delivered_bytes") == (delivered * (1518 + 20),)


def test_a_packet_of_many_frames_takes_many_mergeable_buffers_or_one_big_one():
    mergeable, big, frames = made(bulk(), MERGEABLE), made(bulk(), BIG), made(bulk(), MERGEABLE, host=Host())
    packets = used_buffers(big)
    assert packets < counts(big, "rx_handed_over")[0] / 4
    assert used_buffers(mergeable) > 2 * packets
    assert used_buffers(frames) == pytest.approx(counts(frames, "rx_handed_over")[0], abs=64)


def test_mergeable_buffers_grow_with_the_packets():
    assert field(made(bulk(), MERGEABLE, host=Host()), MERGE_AVERAGE) == 1518
    assert field(made(bulk(), MERGEABLE), MERGE_AVERAGE) > 4096


@pytest.mark.parametrize("driver", [MERGEABLE, BIG], ids=["mergeable", "big"])
def test_vhost_logs_every_page_that_it_writes(driver):
    found = made(bulk(), driver)
    marks = found.memory.marks
    written = marks & DEVICE_WROTE != 0
    assert written.sum() > 100
    assert not np.any(written & (marks & LOGGED == 0))


@pytest.mark.parametrize("driver", [MERGEABLE, BIG], ids=["mergeable", "big"])
def test_a_foreign_block_spoils_the_frames_that_it_is_in_and_no_others(driver):
    """Of a packet\'s blocks of 512 bytes, each lies in one frame or across the edge of two."""
    for entry in (1, 3):
        found = made(bulk(flows=1, hold_ns=10**6), driver)
        pair = found.pairs[0]
        tail = field(found, 56)
        begins = [i for i in range(tail - 60, tail) if not continues(found, i)]
        longest = max(range(len(begins) - 1), key=lambda i: begins[i + 1] - begins[i])
        position = begins[longest] + entry
        assert begins[longest + 1] - begins[longest] > entry
        store_word(found.memory.words.ctypes.data, block_of(found, position), 1)
        fall_silent(found, 5 * MS_PS)
        assert 1 <= int(pair.oracle.rx_corrupted) <= 2
        assert int(pair.oracle.rx_offered) == int(pair.oracle.rx_delivered) + int(
            pair.oracle.rx_corrupted
        ) + lost(found)


def test_the_host_pays_once_for_what_it_joined_and_a_buffer_for_each_further_head():
    """A nanosecond more for each shows how many there are: it moves nothing else that is counted."""

    def host_ps(driver, **prices):
        figures = costs(**{"vhost_buffer": 0, "host_segment": 0, **prices})
        found = made(bulk(rate_bps=2 * GBPS, flows=1), driver, figures=figures)
        return total(found, "host_ps"), found

    alone, found = host_ps(MERGEABLE)
    further = used_buffers(found) - used_buffers(host_ps(BIG)[1])
    assert (host_ps(MERGEABLE, vhost_buffer=2.1)[0] - alone) / 1e3 == pytest.approx(further, rel=0.1)
    cut, found = host_ps(SINGLE)
    joined = counts(found, "rx_handed_over")[0]
    assert 0.5 * joined < (host_ps(SINGLE, host_segment=2.1)[0] - cut) / 1e3 <= 1.05 * joined


def test_what_the_host_joined_is_one_pass_of_the_guest_and_one_packet_of_vhost():
    def spent(host):
        found = made(bulk(rate_bps=2 * GBPS, flows=1), MERGEABLE, host=host)
        guest_ps = total(found, "clock_ps") - total(found, "idle_ps")
        return guest_ps, total(found, "host_ps")

    (guest, host), (joined_guest, joined_host) = spent(Host()), spent(JOINED)
    assert joined_guest < guest
    assert joined_host < 0.7 * host


def test_joined_frames_wait_for_the_end_of_the_softirqs_poll_and_no_longer():
    found = machine(VirtioNet(), bulk(rate_bps=4 * GBPS), driver=MERGEABLE, host=JOINED, guest=ROOMY)
    seen = [int(found.pairs[0].vhost.host_held) for _ in steps(found, US_PS, MS_PS)]
    assert max(seen) > 0
    fall_silent(found, MS_PS)
    assert int(found.pairs[0].vhost.host_held) == 0


def test_frames_that_wait_for_the_hosts_interrupt_are_no_fuller_a_ring_because_joining_is_cheap():
    """A softirq that sleeps for 40 us finds 33 frames, and a ring of 512 drops none of them."""
    load = bulk(flows=8, rate_bps=10 * GBPS)
    quick = costs(descriptor_read=1, gro_merge=1)
    found = made(load, MERGEABLE, figures=quick, device=Device(interrupt_interval_ns=40_000), ps=2 * MS_PS)
    assert counts(found, "lost_fifo") == (0,)


def test_short_frames_are_not_joined():
    load = SmallPackets(rate_bps=GBPS // 2, **QUIET)
    joined, alone = made(load, MERGEABLE), made(load, MERGEABLE, host=Host())
    assert total(joined, "host_ps") == total(alone, "host_ps")
    assert counts(joined, "rx_delivered") == counts(alone, "rx_delivered")


def test_a_send_that_the_card_does_not_cut_is_cut_by_the_host_frame_by_frame():
    load = bulk(rate_bps=2 * GBPS, send_ratio=1.0, write_bytes=45 * FRAME_PAYLOAD)
    driver = changed(DRIVER, segmentation="on")

    def host_ps(host, **prices):
        found = made(load, driver, host=host, figures=costs(host_segment=0, **prices), ps=2 * MS_PS)
        return total(found, "host_ps"), counts(found, "tx_delivered", "tx_corrupted")

    by_card, (frames, bad) = host_ps(Host())
    by_stack, (same, worse) = host_ps(Host(segmentation="off"))
    assert (frames, bad, worse) == (same, 0, 0)
    assert frames % 45 == 0
    sends = frames // 45
    assert by_stack - by_card == (frames - sends) * made(load, driver, ps=0).ps("host_nic_send")


@pytest.mark.parametrize("driver", [MERGEABLE, BIG], ids=["mergeable", "big"])
def test_long_frames_pass_virtio_net(driver):
    load = bulk(frame_bytes=9018, send_ratio=1.0)
    found = made(load, driver, host=Host(), link=Link(mtu_bytes=9000))
    fall_silent(found, 5 * MS_PS)
    offered, delivered, sent, bad = counts(
        found, "rx_offered", "rx_delivered", "tx_delivered", "tx_corrupted"
    )
    assert (offered - lost(found), sent, bad) == (delivered, delivered, 0)
    assert delivered > 100


@KINDS
def test_nothing_is_damaged_over_a_migration(driver):
    found = measured(
        VirtioNet(),
        bulk(rate_bps=5 * GBPS, send_ratio=0.3),
        driver=changed(driver, gro="on"),
        host=JOINED,
        guest=ROOMY,
        migration=Precopy(bandwidth_bps=10 * GBPS),
    )
    assert found["packets_delivered"] > 2000
    for damage in ("packets_corrupted", "packets_duplicated", "packets_phantom", "packets_sent_corrupted"):
        assert found[damage] == 0, damage


def test_a_tcp_stream_is_acknowledged_by_packet_and_loses_nothing():
    found = made(TcpStream(flows=2, **QUIET), changed(MERGEABLE, gro="on"), ps=3 * MS_PS)
    delivered, acks = counts(found, "rx_delivered", "tx_delivered")
    assert delivered > 1000
    assert acks < delivered / 3


def test_settings_that_could_not_act_are_refused():
    def lines(strategy, **parts):
        return "\n".join(model.refusals(experiment(strategy, bulk(), **parts)))

    assert "host.gro: on cannot act" in lines(Untracked(), host=JOINED)
    assert "driver.virtio-buffers: mergeable cannot act" in lines(Untracked(), driver=MERGEABLE)
    assert "driver.virtio-buffers: mergeable, but a vDPA" in lines(ShadowVirtqueue(), driver=MERGEABLE)
    assert "host.segmentation: off cannot act" in lines(VirtioNet(), host=Host(segmentation="off"))
    tight = Guest(memory_bytes=64 * MIB, packet_memory_bytes=8 * MIB)
    assert "big receive buffers" in lines(VirtioNet(), driver=BIG, guest=tight)
    assert lines(VirtioNet(), driver=MERGEABLE, host=JOINED) == ""


@pytest.mark.parametrize("refusals", [kvm_refusals, qemu_refusals], ids=["kvm", "qemu"])
def test_real_guests_refuse_them(refusals):
    lines = "\n".join(refusals(experiment(VirtioNet(), bulk(), driver=MERGEABLE, host=JOINED)))
    assert "driver.virtio-buffers: mergeable" in lines
    assert "host.gro: on" in lines


def test_at_their_defaults_they_change_no_digest():
    assert experiment(VirtioNet(), Bulk()).digest == experiment(VirtioNet(), Bulk(), host=Host()).digest
    assert experiment(Untracked(), Bulk()).digest == "1d4cc6b2dd1b"
    assert experiment(VirtioNet(), Bulk(), host=JOINED).digest != experiment(VirtioNet(), Bulk()).digest
