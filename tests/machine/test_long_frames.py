"""Frames over one buffer: several descriptors each way, gathered by the driver, compared byte for byte."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.machines import GBPS, MS_PS, QUIET, US_PS, fall_silent, field, lost, steps, total
from support.runs import DRIVER, changed, costs, experiment, machine, measured

from strategies import DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.errors import UserError
from vfbench.experiment import Device, Link, Precopy
from vfbench.machine.driver.state import GATHERED, GATHERED_BYTES, NEXT_TO_CLEAN, TX_NEXT_TO_USE
from vfbench.machine.memory.words import store_word
from vfbench.machine.oracle.part_words import GOES_ON
from vfbench.machine.vf.descriptors import RX_STATUS_DONE, RX_STATUS_END_OF_PACKET
from vfbench.machine.wire import BUFFER_BYTES, LONGEST_FRAME_BYTES
from vfbench.testbeds import model
from vfbench.testbeds.kvm.refusals import refusals as kvm_refusals
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.qemu.refusals import refusals as qemu_refusals
from workloads import Bulk, RequestResponse, SmallPackets, TcpStream

JUMBO = Link(mtu_bytes=9000)
FRAME_BYTES = 9018
PARTS = 5
"""Of 2 KiB each."""


def long_frames(rate_bps=GBPS, **more):
    return Bulk(frame_bytes=FRAME_BYTES, rate_bps=rate_bps, **{**QUIET, **more})


def made(strategy, workload, ps=5 * MS_PS, **parts):
    found = machine(strategy, workload, link=JUMBO, **parts)
    found.advance(ps)
    return found


def statuses(found, count):
    """The second words of the first descriptors of the ring."""
    ring = int(found.cpus[0].rx_ring) >> 3
    return [int(found.memory.words[ring + 2 * slot + 1]) for slot in range(count)]


def counts(found, *names):
    return tuple(int(found.pairs[0].oracle[name]) for name in names)


def amid_a_frame(strategy, parts_there, **parts):
    """A machine that stands still while so many parts of a frame are gathered, and the rest is on its way."""
    found = machine(strategy, long_frames(), link=JUMBO, **parts)
    for _ in steps(found, US_PS // 5, 2 * MS_PS):
        if int(found.pairs[0].nic.rx_taken) and field(found, GATHERED) == parts_there:
            return found
    raise AssertionError(f"no frame was seen with {parts_there} parts gathered")


def test_a_frame_takes_as_many_descriptors_as_buffers_and_only_the_last_ends_it():
    # The peer's first frame only, and nobody gives descriptors back.
    found = machine(Untracked(), long_frames(), link=JUMBO, driver=changed(DRIVER, refill_batch=256))
    found.source.frames_left = 1
    found.advance(MS_PS)
    done = statuses(found, PARTS + 1)
    assert [status & RX_STATUS_DONE for status in done] == [1] * PARTS + [0]
    assert [bool(status & RX_STATUS_END_OF_PACKET) for status in done] == [False] * 4 + [True, False]
    assert [status >> 32 for status in done[:PARTS]] == [2048] * 4 + [FRAME_BYTES - 4 * BUFFER_BYTES]
    assert counts(found, "rx_delivered", "rx_delivered_bytes") == (1, FRAME_BYTES + 20)


@pytest.mark.parametrize("gro", ["off", "on"])
@pytest.mark.parametrize("strategy", [Untracked(), EmulatedIommu()], ids=str)
def test_every_frame_is_delivered_whole_whichever_way_it_goes(strategy, gro):
    load = long_frames(rate_bps=4 * GBPS, flows=2, send_ratio=1.0)
    found = made(strategy, load, driver=changed(DRIVER, gro=gro))
    fall_silent(found)
    offered, delivered, handed_over = counts(found, "rx_offered", "rx_delivered", "rx_handed_over")
    assert offered == delivered + lost(found)
    assert delivered == handed_over > 200
    assert (
        counts(found, "rx_corrupted", "rx_duplicated", "rx_phantom", "tx_corrupted", "tx_duplicated")
        == (0,) * 5
    )
    assert counts(found, "tx_delivered") == (delivered,)


def test_frames_of_every_length_up_to_the_longest_of_an_82599_pass():
    for length in (2048, 2049, 4096, 4097, LONGEST_FRAME_BYTES):
        load = Bulk(frame_bytes=length, rate_bps=GBPS, send_ratio=1.0, **QUIET)
        found = machine(Untracked(), load, link=Link(mtu_bytes=LONGEST_FRAME_BYTES - 18))
        found.advance(MS_PS)
        fall_silent(found)
        offered, delivered, sent, bad = counts(
            found, "rx_offered", "rx_delivered", "tx_delivered", "tx_corrupted"
        )
        assert (offered, sent, bad) == (delivered, delivered, 0), length
        assert counts(found, "rx_delivered_bytes", "tx_delivered_bytes") == ((length + 20) * delivered,) * 2


def test_a_foreign_block_in_any_of_its_buffers_spoils_a_frame_and_no_other():
    for part in range(PARTS):
        found = made(Untracked(), long_frames(hold_ns=10**6), ps=3 * MS_PS)
        pair, tail = found.pairs[0], int(found.cpus[0].held) >> 3
        # The newest frame is kept for a millisecond: its parts are the last five entries of the socket's queue.
        position = (field(found, 56) - PARTS + part) % 1024
        address = int(found.memory.words[tail + 2 * position + 1]) & (1 << 48) - 8
        base = int(found.memory.structure_bytes)
        store_word(found.memory.words.ctypes.data, (base >> 3) + ((address - base) >> 9), 1)
        fall_silent(found)
        assert int(pair.oracle.rx_corrupted) == 1
        assert int(pair.oracle.rx_delivered) == int(pair.oracle.rx_offered) - 1 > 20


def test_parts_are_in_memory_one_after_the_other_and_the_driver_gathers_them():
    found = amid_a_frame(Untracked(), 2)
    assert field(found, GATHERED_BYTES) == 2 * BUFFER_BYTES
    assert int(found.pairs[0].nic.rx_taken) >= 2 * BUFFER_BYTES
    assert field(found, NEXT_TO_CLEAN) % PARTS == 2


def test_a_card_that_is_stopped_amid_a_frame_finishes_it():
    found = amid_a_frame(Untracked(), 1)
    pair = found.pairs[0]
    before = int(pair.oracle.rx_delivered)
    pair.enabled = 0
    found.empty_fifo(pair)
    found.advance(found.now_ps + MS_PS)
    assert int(pair.nic.rx_taken) == 0
    assert int(pair.oracle.rx_delivered) == before + 1
    assert int(pair.oracle.rx_corrupted) == 0


def test_a_frame_whose_last_descriptor_is_lost_with_the_card_spoils_the_next_one():
    """The driver waits for an end of packet that never comes, and takes the next frame for the rest: seen in bytes."""
    batches = Device(writeback_batch=4, interrupt_interval_ns=0)
    patient = costs(descriptor_write_back_timeout=10_000)
    found = machine(Untracked(), long_frames(), patient, link=JUMBO, device=batches)
    pair = found.pairs[0]
    for _ in steps(found, US_PS // 5, 2 * MS_PS):
        last = pair.oracle.slot[int(pair.nic.rx_head) - 1]
        if int(pair.nic.unwritten) == 1 and int(last.pending) == 1 and not int(last.length) & GOES_ON:
            break
    delivered, corrupted = int(pair.oracle.rx_delivered), int(pair.oracle.rx_corrupted)
    assert int(pair.nic.unwritten) == 1
    ModelMigration._forget_unwritten(SimpleNamespace(_machine=found), pair)
    assert int(pair.oracle.lost_reset) == 1
    found.advance(found.now_ps + MS_PS // 2)
    fall_silent(found)
    assert int(pair.oracle.rx_corrupted) == corrupted + 1
    assert int(pair.oracle.rx_delivered) > delivered + 3
    assert int(pair.oracle.rx_offered) == int(pair.oracle.rx_delivered) + int(
        pair.oracle.rx_corrupted
    ) + lost(found)


def test_a_frame_for_which_there_are_too_few_descriptors_is_dropped_whole():
    slow = changed(DRIVER, rx_ring=64, refill_batch=63)
    found = made(Untracked(), long_frames(rate_bps=9 * GBPS), driver=slow, ps=10 * MS_PS)
    fall_silent(found)
    offered, delivered, corrupted = counts(found, "rx_offered", "rx_delivered", "rx_corrupted")
    assert int(found.pairs[0].oracle.lost_descriptor) > 0
    assert offered == delivered + lost(found)
    assert corrupted == 0


@pytest.mark.parametrize("strategy", [DummyWrite(), EmulatedIommu()], ids=str)
def test_long_frames_are_whole_over_a_migration(strategy):
    load = long_frames(rate_bps=5 * GBPS, send_ratio=0.5)
    found = measured(strategy, load, link=JUMBO, migration=Precopy(bandwidth_bps=10 * GBPS))
    assert found["packets_delivered"] > 500
    for damage in ("packets_corrupted", "packets_duplicated", "packets_phantom", "packets_sent_corrupted"):
        assert found[damage] == 0, damage


def test_untracked_migration_damages_them():
    load = long_frames(rate_bps=5 * GBPS, hold_ns=100_000)
    found = measured(Untracked(), load, link=JUMBO, migration=Precopy(bandwidth_bps=10 * GBPS))
    assert found["packets_corrupted"] + found["packets_duplicated"] + found["packets_phantom"] > 0


def test_a_frame_over_a_page_is_headers_and_a_fragment_each_mapped_once():
    silent, sends = made(EmulatedIommu(), long_frames()), made(EmulatedIommu(), long_frames(send_ratio=1.0))
    sent = int(sends.pairs[0].oracle.tx_offered)
    assert sent > 50
    assert total(sends, "maps") - total(silent, "maps") == 2 * sent
    assert field(sends, TX_NEXT_TO_USE) == 2 * sent % DRIVER.tx_ring
    assert counts(sends, "tx_corrupted", "tx_duplicated") == (0, 0)


def test_the_card_cuts_large_sends_into_long_frames():
    load = long_frames(send_ratio=1.0, write_bytes=65_000)
    found = made(Untracked(), load, driver=changed(DRIVER, segmentation="on"))
    assert int(found.pairs[0].oracle.tx_delivered) > 30
    assert int(found.pairs[0].oracle.tx_corrupted) == 0
    mean = int(found.pairs[0].oracle.tx_delivered_bytes) / int(found.pairs[0].oracle.tx_delivered) - 20
    assert 7500 < mean < FRAME_BYTES


def test_a_tcp_stream_of_long_segments_costs_the_guest_less_a_byte():
    def cycles_a_byte(link):
        found = measured(DummyWrite(), TcpStream(flows=4), link=link)
        assert found["packets_corrupted"] == 0
        return found["guest_cycles_per_packet"] / (link.mtu_bytes - 52)

    assert cycles_a_byte(JUMBO) < cycles_a_byte(Link()) / 2


def test_the_mtu_goes_up_to_what_an_82599_takes():
    assert Link(mtu_bytes=9710).mtu_bytes + 18 == LONGEST_FRAME_BYTES
    with pytest.raises(UserError, match="mtu"):
        Link(mtu_bytes=9711)


@pytest.mark.parametrize(
    "load",
    [Bulk(frame_bytes=4000), SmallPackets(frame_bytes=2100), RequestResponse(answer_bytes=9000)],
    ids=str,
)
def test_frames_over_the_mtu_are_refused_with_the_mtu_that_would_do(load):
    (line,) = model.refusals(experiment(Untracked(), load))
    assert f"set link.mtu={load.longest_frame_bytes - 18}B" in line
    assert model.refusals(experiment(Untracked(), load, link=Link(mtu_bytes=9000))) == []


@pytest.mark.parametrize("refusals", [kvm_refusals, qemu_refusals], ids=["kvm", "qemu"])
def test_real_guests_refuse_them(refusals):
    lines = "\n".join(refusals(experiment(Untracked(), long_frames(), link=JUMBO)))
    assert "link.mtu: 9kB" in lines
    assert "bulk: frames of 9018 B" in lines


def test_devices_that_take_one_buffer_a_frame_refuse_them():
    (line,) = model.refusals(experiment(VirtioNet(), long_frames(), link=JUMBO))
    assert "set driver.virtio-buffers=mergeable" in line
