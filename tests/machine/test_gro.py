"""GRO: frames of a flow that follow one another cost one pass through the stack, and each is still compared."""

from __future__ import annotations

import pytest
from support.machines import GBPS, MS_PS, QUIET, fall_silent, lost, total
from support.runs import DRIVER, changed, costs, experiment, machine, measured

from strategies import DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.experiment import Precopy
from vfbench.machine.driver.gro import follows
from vfbench.machine.wire import TAG_PUSH
from vfbench.testbeds.kvm.refusals import refusals as kvm_refusals
from vfbench.testbeds.qemu.refusals import refusals as qemu_refusals
from workloads import Bulk, RequestResponse, SmallPackets

JOINED = changed(DRIVER, gro="on")
EVERYTHING = changed(JOINED, segmentation="on")


def made(strategy, workload, driver, figures=None, ps=5 * MS_PS):
    found = machine(strategy, workload, figures, driver=driver)
    found.advance(ps)
    return found


def busy_ps(found):
    return total(found, "clock_ps") - total(found, "idle_ps")


@pytest.mark.parametrize("strategy", [Untracked(), VirtioNet()], ids=str)
def test_a_pass_is_paid_once_for_what_was_joined_and_a_merge_for_each_further_frame(strategy):
    """A nanosecond more for a pass, or for a merge, shows how many there are: it moves nothing else."""

    def at(rx_packet, gro_merge, driver):
        prices = costs(rx_packet=rx_packet, gro_merge=gro_merge)
        found = made(strategy, Bulk(rate_bps=2 * GBPS, flows=1, **QUIET), driver, prices)
        return busy_ps(found), int(found.pairs[0].oracle.rx_handed_over)

    alone, frames = at(0, 0, DRIVER)
    passes = (at(2.1, 0, DRIVER)[0] - alone) / 1e3
    assert passes == pytest.approx(frames, rel=0.01)
    joined, frames = at(0, 0, JOINED)
    passes, merges = (at(2.1, 0, JOINED)[0] - joined) / 1e3, (at(0, 2.1, JOINED)[0] - joined) / 1e3
    assert passes + merges == pytest.approx(frames, rel=0.02)
    assert passes < frames / 2


def test_flows_in_turn_are_joined_while_no_more_than_eight_are_held():
    def cost_of(flows):
        found = made(Untracked(), Bulk(rate_bps=6 * GBPS, flows=flows, **QUIET), JOINED)
        return busy_ps(found) / int(found.pairs[0].oracle.rx_handed_over)

    one, eight, sixty_four = (cost_of(flows) for flows in (1, 8, 64))
    alone = made(Untracked(), Bulk(rate_bps=6 * GBPS, flows=64, **QUIET), DRIVER)
    assert one < eight < sixty_four
    assert sixty_four == pytest.approx(busy_ps(alone) / int(alone.pairs[0].oracle.rx_handed_over), rel=0.05)


def test_short_frames_are_messages_and_are_not_joined():
    load = SmallPackets(rate_bps=GBPS // 2, flows=1, **QUIET)
    joined, alone = made(Untracked(), load, JOINED), made(Untracked(), load, DRIVER)
    assert busy_ps(joined) == busy_ps(alone)
    assert int(joined.pairs[0].oracle.rx_delivered) == int(alone.pairs[0].oracle.rx_delivered)


def test_every_frame_is_delivered_and_compared_by_itself():
    found = made(DummyWrite(), Bulk(rate_bps=8 * GBPS, flows=3, **QUIET), JOINED)
    fall_silent(found)
    pair = found.pairs[0]
    assert int(pair.oracle.rx_offered) == int(pair.oracle.rx_delivered) + lost(found)
    assert int(pair.oracle.rx_delivered) > 3000
    assert int(pair.oracle.rx_corrupted) == int(pair.oracle.rx_duplicated) == int(pair.oracle.rx_phantom) == 0


def test_the_application_answers_once_for_what_was_joined_and_the_card_cuts_the_answer():
    load = Bulk(rate_bps=2 * GBPS, flows=1, send_ratio=1.0, **QUIET)
    together, by_frame = made(EmulatedIommu(), load, EVERYTHING), made(EmulatedIommu(), load, DRIVER)
    assert int(together.pairs[0].oracle.tx_delivered) == pytest.approx(
        int(together.pairs[0].oracle.rx_delivered), rel=0.1
    )
    assert int(together.pairs[0].oracle.tx_corrupted) == 0
    assert total(together, "maps") < total(by_frame, "maps") / 2


def test_one_core_takes_bulk_at_line_rate_only_with_gro_where_the_stack_is_dear():
    def gbps(driver):
        found = measured(
            Untracked(), Bulk(flows=4, **QUIET), costs(rx_packet=2822, copy_rate=2), driver=driver
        )
        return found["gbps"]

    assert gbps(JOINED) > gbps(DRIVER)
    assert gbps(JOINED) > 9.8


@pytest.mark.parametrize("strategy", [DummyWrite(), EmulatedIommu(), VirtioNet()], ids=str)
def test_what_is_held_survives_a_migration(strategy):
    load = Bulk(rate_bps=4 * GBPS, flows=2, send_ratio=1.0)
    found = measured(strategy, load, driver=EVERYTHING, migration=Precopy(bandwidth_bps=10 * GBPS))
    assert found["packets_delivered"] > 1000
    for damage in ("packets_corrupted", "packets_duplicated", "packets_phantom", "packets_sent_corrupted"):
        assert found[damage] == 0, damage


def test_requests_of_other_flows_are_answered_one_by_one():
    found = made(Untracked(), RequestResponse(flows=16, **QUIET), EVERYTHING)
    answers = int(found.pairs[0].oracle.tx_delivered)
    assert answers > 500
    assert int(found.pairs[0].oracle.tx_delivered_bytes) == answers * (1024 + 20)


def test_a_numbered_frame_follows_the_one_before_it_and_no_other():
    """The same segment twice would count as two; one whose sender has no more for now (PSH) is joined too."""
    assert follows(5, 6)
    assert follows(5, 6 | TAG_PUSH)
    assert follows(0, 0)
    assert not follows(5, 5)
    assert not follows(5, 7)


@pytest.mark.parametrize("refusals", [kvm_refusals, qemu_refusals], ids=["kvm", "qemu"])
def test_real_guests_refuse_it(refusals):
    assert any("driver.gro: on" in line for line in refusals(experiment(Untracked(), driver=JOINED)))
