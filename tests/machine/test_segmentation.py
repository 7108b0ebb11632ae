"""Sends over the MTU: cut by the card or by the stack, a map a fragment, and the same bytes at the peer."""

from __future__ import annotations

import numpy as np
import pytest
from support.machines import GBPS, MS_PS, QUIET, US_PS, field, steps, total
from support.runs import DRIVER, changed, experiment, machine, measured, small

from strategies import BounceBuffers, DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.errors import UserError
from vfbench.experiment import Driver, Link, Precopy
from vfbench.machine.driver.send_memory import MOST_FRAGMENTS
from vfbench.machine.driver.state import FREE_BLOCK, TX_NEXT_TO_CLEAN, TX_NEXT_TO_USE
from vfbench.machine.memory.block_pool import SEND_BLOCK_BYTES
from vfbench.machine.memory.guest_memory import SENT
from vfbench.machine.memory.words import store_word
from vfbench.machine.vf.descriptors import MOST_BYTES_PER_DESCRIPTOR
from vfbench.testbeds import model
from vfbench.testbeds.kvm.refusals import refusals as kvm_refusals
from vfbench.testbeds.qemu.refusals import refusals as qemu_refusals
from workloads import Bulk, RequestResponse

MSS = 1448
FULL_SEND = 45 * MSS
"""65,160 bytes: as many full frames as 64 KiB hold."""
CUT = changed(DRIVER, segmentation="on")
CUT_IN_PAGES = changed(CUT, send_pages="order-0")


def writing(write_bytes=FULL_SEND, rate_bps=2 * GBPS, **more):
    """A guest that sends as much as it receives, so many bytes at a time."""
    return Bulk(rate_bps=rate_bps, send_ratio=1.0, write_bytes=write_bytes, **{**QUIET, **more})


def made(strategy, workload, driver, ps=20 * MS_PS, **parts):
    found = machine(strategy, workload, driver=driver, **parts)
    found.advance(ps)
    return found


def at_peer(machine):
    pair = machine.pairs[0]
    return tuple(
        int(pair.oracle[f"tx_{name}"]) for name in ("offered", "delivered", "corrupted", "duplicated")
    )


@pytest.mark.parametrize("strategy", [Untracked(), EmulatedIommu(mode="static"), VirtioNet()], ids=str)
def test_a_send_is_cut_into_the_same_frames_by_the_card_as_by_the_stack(strategy):
    """1448 bytes of each frame are payload; what does not fill one goes in a shorter last one."""
    load = writing(write_bytes=10_000, rate_bps=GBPS)
    by_stack, by_card = (made(strategy, load, driver) for driver in (DRIVER, CUT))
    for found in (by_stack, by_card):
        found.source.frames_left = 0
        found.advance(found.now_ps + MS_PS)
    assert at_peer(by_card) == at_peer(by_stack)
    sent, delivered, corrupted, duplicated = at_peer(by_card)
    assert (delivered, corrupted, duplicated) == (sent, 0, 0)
    assert sent > 100
    assert sent % 7 == 0  # 6 full frames and one of 1312 bytes
    assert int(by_card.pairs[0].oracle.tx_delivered_bytes) == sent // 7 * (10_000 + 7 * (70 + 20))


@pytest.mark.parametrize(
    ("driver", "maps_a_send"), [(CUT, 3), (CUT_IN_PAGES, 17)], ids=["order-3", "order-0"]
)
def test_a_send_is_one_map_for_its_headers_and_one_for_each_fragment(driver, maps_a_send):
    silent = made(EmulatedIommu(), Bulk(rate_bps=GBPS, **QUIET), driver)
    sends = made(EmulatedIommu(), writing(rate_bps=GBPS), driver)
    frames = at_peer(sends)[0]
    assert frames % 45 == 0
    assert frames // 45 > 20
    assert total(sends, "maps") - total(silent, "maps") == frames // 45 * maps_a_send


def test_without_segmentation_each_frame_of_a_send_is_a_map():
    silent = made(EmulatedIommu(), Bulk(rate_bps=GBPS // 2, **QUIET), DRIVER)
    sends = made(EmulatedIommu(), writing(rate_bps=GBPS // 2), DRIVER)
    assert total(sends, "maps") - total(silent, "maps") == at_peer(sends)[0] > 400


def test_a_fragment_over_16_kib_takes_several_descriptors_and_one_map():
    """Context, headers, two fragments of 32 KiB at most in four descriptors: six slots of the ring for 45 frames."""
    found = made(Untracked(), writing(), CUT, ps=8 * MS_PS)
    sends = at_peer(found)[0] // 45
    assert 20 < sends < 256 // 6  # once round the ring at most
    assert field(found, TX_NEXT_TO_USE) == 6 * sends
    assert -(-FULL_SEND // MOST_BYTES_PER_DESCRIPTOR) == 4


def test_the_frames_of_a_send_leave_one_by_one_as_the_wire_takes_them():
    found = machine(Untracked(), writing(), driver=CUT)
    seen = [int(found.pairs[0].oracle.tx_delivered) for _ in steps(found, US_PS, 3 * MS_PS)]
    assert max(np.diff(seen)) == 1
    assert seen[-1] > 300


def test_one_pass_through_the_stack_for_45_frames_is_cheaper_than_45():
    def guest_ps(strategy, driver):
        found = made(strategy, writing(), driver)
        return total(found, "clock_ps") - total(found, "idle_ps")

    for strategy in (Untracked(), EmulatedIommu(), VirtioNet()):
        assert guest_ps(strategy, CUT) < guest_ps(strategy, CUT_IN_PAGES) < guest_ps(strategy, DRIVER)


def test_vhost_takes_a_send_as_one_and_the_host_pays_for_it_once():
    def host_ps(driver):
        found = made(VirtioNet(), writing(), driver)
        return total(found, "host_ps") / at_peer(found)[1]

    assert host_ps(CUT) < host_ps(DRIVER) - 1000 * 500  # most of 1800 and 585 cycles a frame, at 2.1 GHz


def test_pages_and_blocks_of_sends_come_back():
    found = machine(EmulatedIommu(), writing(), driver=CUT)
    first = field(found, FREE_BLOCK)
    found.advance(5 * MS_PS)
    assert field(found, FREE_BLOCK) != 0
    blocks = found.layout.queues[0].blocks
    assert blocks == 64
    found.source.frames_left = 0
    found.advance(found.now_ps + 2_000 * MS_PS)
    free, block = 0, field(found, FREE_BLOCK)
    while block:
        free += 1
        counter = (
            int(found.cpus[0].page_refcounts) + (block - int(found.cpus[0].first_page)) // 4096 * 8
        ) >> 3
        block = int(found.memory.words[counter + 1])
    used = (field(found, TX_NEXT_TO_USE) - field(found, TX_NEXT_TO_CLEAN)) % 256
    assert first == found.layout.queues[0].first_block
    assert free == blocks - (used // 6) * 2


def test_a_ring_without_room_refuses_every_frame_of_a_send():
    """64 descriptors hold two sends of pages, 18 slots each, and 21 must be free for another."""
    found = made(
        Untracked(),
        writing(rate_bps=10 * GBPS),
        changed(CUT_IN_PAGES, tx_ring=64),
        link=Link(rate_bps=10 * GBPS),
    )
    pair = found.pairs[0]
    assert int(pair.oracle.tx_refused) % 45 == 0
    slow = made(
        Untracked(), writing(rate_bps=GBPS, flows=1), changed(CUT_IN_PAGES, tx_ring=64), ps=30 * MS_PS
    )
    assert at_peer(slow)[1] > 1000


def test_a_pool_that_is_too_small_for_a_fragment_drops_the_send_and_keeps_nothing_mapped():
    """A pool of 1 MiB is smaller than a ring of 512 buffers: nothing is left for what is to be sent."""
    found = made(BounceBuffers(pool_bytes=1 << 20), writing(rate_bps=4 * GBPS), CUT)
    sent, delivered, corrupted, _ = at_peer(found)
    assert sent > 45
    assert delivered == corrupted == 0
    assert field(found, TX_NEXT_TO_USE) == 0
    assert field(found, FREE_BLOCK) == found.layout.queues[0].first_block


def test_a_block_of_a_fragment_that_is_not_the_sends_is_seen_at_the_peer():
    """Each byte is compared: one foreign block in one of the fragments damages the frames that it is in, no others."""
    found = machine(Untracked(), writing(), driver=CUT)
    base = found.layout.queues[0].first_block
    words = found.memory.words
    for _ in steps(found, US_PS, 5 * MS_PS):
        if int(found.pairs[0].nic.tx_left):
            break
    address = int(found.memory.structure_bytes)
    index = (address >> 3) + ((base - address) >> 9)
    assert int(words[index + 20]) & SENT
    store_word(found.memory.words.ctypes.data, index + 20, 1)
    found.advance(found.now_ps + MS_PS // 10)
    assert 1 <= at_peer(found)[2] <= 2  # bytes 10,240 to 10,751: of frames 7 and 8


@pytest.mark.parametrize(
    "strategy", [DummyWrite(), EmulatedIommu(), VirtioNet(), small("bounce-buffers")], ids=str
)
def test_sends_are_whole_over_a_migration_and_none_is_sent_twice(strategy):
    found = measured(strategy, writing(), driver=CUT, migration=Precopy(bandwidth_bps=10 * GBPS))
    assert found["packets_sent"] > 500
    for damage in ("packets_sent_corrupted", "packets_duplicated", "packets_corrupted", "dma_faults"):
        assert found[damage] == 0, damage


def test_a_card_told_to_stop_finishes_the_send_that_it_has_begun():
    """At 100 Mb/s a send takes 5 ms, longer than the stop; what it left unsent would come twice after the migration."""
    found = measured(DummyWrite(), writing(rate_bps=50_000_000), driver=CUT, link=Link(rate_bps=100_000_000))
    assert found["packets_sent"] > 45
    assert found["packets_duplicated"] == found["packets_sent_lost"] == 0


def test_an_mtu_of_576_makes_frames_of_594_bytes():
    found = made(Untracked(), writing(write_bytes=5240, rate_bps=GBPS), CUT, link=Link(mtu_bytes=576))
    sent = at_peer(found)[1]
    assert sent > 100
    assert int(found.pairs[0].oracle.tx_delivered_bytes) == sent * (594 + 20)


def test_settings_that_could_not_act_are_refused():
    with pytest.raises(UserError, match=r"send-pages: order-0 cannot act without driver\.segmentation=on"):
        Driver(send_pages="order-0")
    with pytest.raises(UserError, match=r"write: 64KiB cannot act without bulk\.send-ratio"):
        Bulk(write_bytes=1 << 16)
    with pytest.raises(UserError, match="write: 64KiB cannot act: an answer's length is given"):
        RequestResponse(write_bytes=1 << 16)


@pytest.mark.parametrize("refusals", [kvm_refusals, qemu_refusals], ids=["kvm", "qemu"])
def test_real_guests_refuse_what_only_the_model_has(refusals):
    asked = experiment(Untracked(), writing(), driver=CUT, link=Link(mtu_bytes=1000))
    lines = "\n".join(refusals(asked))
    for name in ("driver.segmentation: on", "link.mtu: 1kB", "bulk.write: 65160"):
        assert name in lines


def test_digests_of_experiments_without_offloads_stay_as_they_were():
    assert experiment(Untracked(), Bulk()).digest == "1d4cc6b2dd1b"
    assert experiment(Untracked(), Bulk(), driver=CUT).digest != "1d4cc6b2dd1b"
    assert model.refusals(experiment(Untracked(), writing(), driver=CUT)) == []


def test_a_send_never_has_more_fragments_than_an_skb():
    assert -(-FULL_SEND // 4096) <= MOST_FRAGMENTS - 1
    assert 2 * SEND_BLOCK_BYTES >= FULL_SEND
