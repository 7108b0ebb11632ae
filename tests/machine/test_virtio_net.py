"""virtio-net and vhost: kicks, interrupts, turns, and who pays."""

from __future__ import annotations

import pytest
from support.machines import (
    GBPS,
    MS_PS,
    QUIET,
    field,
    total,
)
from support.runs import (
    MIB,
    costs,
    machine,
    measured,
)

from strategies import Untracked, VirtioNet
from vfbench.experiment import Guest
from vfbench.machine.driver.state import (
    VIRTIO_TX_ADDED,
    VIRTIO_TX_SEEN,
)
from vfbench.machine.driver.virtio_transmit import ARMED_AFTER_KICK, virtio_arm_after_kick
from workloads import Bulk, SmallPackets


def test_kick_suppression_spares_the_kicks_that_find_vhost_awake():
    def kicks(suppress):
        made = machine(VirtioNet(suppress_kicks=suppress), Bulk(rate_bps=4 * GBPS, send_ratio=1.0))
        made.advance(5 * MS_PS)
        assert made.pairs[0].oracle.tx_delivered > 500
        return total(made, "kicks")

    assert kicks(True) < kicks(False) / 2


def answering(packets_per_s, answered=1.0, figures=None, **parameters):
    """A virtio-net guest that answers for 20 ms."""
    rate_bps = 8 * (64 + 20) * packets_per_s
    load = SmallPackets(rate_bps=rate_bps, send_ratio=answered, **QUIET)
    made = machine(VirtioNet(**parameters), load, figures)
    made.advance(20 * MS_PS)
    return made


def test_a_frame_that_virtio_net_sends_alone_is_one_kick_and_one_interrupt():
    silent, answers = answering(2_000, answered=0.0), answering(2_000)
    sent = int(answers.pairs[0].oracle.tx_delivered)
    assert sent == 40
    assert total(answers, "interrupts") - total(silent, "interrupts") == sent
    assert total(answers, "kicks") == sent


def test_frames_sent_together_share_a_kick_and_an_interrupt_for_most_of_them():
    polls, answers = answering(300_000, napi_tx=False), answering(300_000)
    sent = int(answers.pairs[0].oracle.tx_delivered)
    frames_a_kick = sent / total(answers, "kicks")
    interrupts = total(answers, "interrupts") - total(polls, "interrupts")
    assert frames_a_kick > 8
    # The first three quarters of a batch are one, what is left has one each at most.
    assert interrupts < total(answers, "kicks") * (1 + frames_a_kick / 4 + 1)


def test_the_driver_of_2015_is_not_interrupted_for_frames_sent_and_takes_them_back_when_it_sends():
    silent, answers = answering(2_000, answered=0.0), answering(2_000, napi_tx=False)
    # One, because an index that nobody set is 0.
    assert total(answers, "interrupts") - total(silent, "interrupts") == 1
    assert field(answers, VIRTIO_TX_ADDED) - field(answers, VIRTIO_TX_SEEN) == 1
    assert answers.pairs[0].oracle.tx_delivered == 40


def test_a_frame_sent_alone_is_an_interrupt_of_the_driver_that_arms_after_the_kick_too():
    """The device is later than the driver here: vhost has yet to wake up when it asks."""
    silent, answers = answering(2_000, answered=0.0), answering(2_000, arm_after_kick=True)
    sent = int(answers.pairs[0].oracle.tx_delivered)
    assert total(answers, "interrupts") - total(silent, "interrupts") == sent == 40
    assert field(answers, VIRTIO_TX_ADDED) - field(answers, VIRTIO_TX_SEEN) <= 1


def test_the_driver_that_arms_after_the_kick_is_interrupted_less_for_frames_sent_together():
    before, after = answering(300_000), answering(300_000, arm_after_kick=True)
    assert int(after.pairs[0].oracle.tx_delivered) == pytest.approx(
        int(before.pairs[0].oracle.tx_delivered), rel=0.05
    )
    assert total(after, "interrupts") < total(before, "interrupts")


def test_a_frame_that_is_sent_before_the_driver_asks_is_a_poll_without_an_interrupt():
    made = answering(2_000, napi_tx=False)
    interrupts, cpu = total(made, "interrupts"), made.cpus[0]
    assert field(made, VIRTIO_TX_ADDED) - field(made, VIRTIO_TX_SEEN) == 1  # sent, and not taken back
    cpu.transmit_interrupts = ARMED_AFTER_KICK
    virtio_arm_after_kick(cpu)
    assert field(made, VIRTIO_TX_ADDED) == field(made, VIRTIO_TX_SEEN)
    assert total(made, "interrupts") == interrupts


def test_an_interrupt_for_a_frame_sent_costs_guest_and_host_what_any_interrupt_costs():
    def spent(made):
        return total(made, "clock_ps") - total(made, "idle_ps"), total(made, "host_ps")

    awake = costs(vcpu_halt=0, vcpu_wake=0, halt_poll=0, halt_poll_start=0)
    old, new = answering(2_000, figures=awake, napi_tx=False), answering(2_000, figures=awake)
    interrupts = total(new, "interrupts") - total(old, "interrupts")
    guest_ps, host_ps = (b - a for a, b in zip(spent(old), spent(new), strict=True))
    a_poll_ps = new.ps("interrupt_injection") + new.ps("poll_start")
    assert interrupts == 39
    assert guest_ps == pytest.approx(interrupts * a_poll_ps, rel=0.1)
    assert host_ps == interrupts * new.ps("interrupt_entry_host")


def test_vhost_sends_nothing_before_it_is_kicked_and_awake():
    def latency_ps(wakeup):
        figures = costs(vhost_wakeup=wakeup)
        workload = SmallPackets(rate_bps=672 * 2_000, send_ratio=1.0, **QUIET)
        made = machine(VirtioNet(), workload, figures)
        made.advance(MS_PS)
        assert made.pairs[0].oracle.tx_delivered == 2
        return int(made.pairs[0].oracle.seen_ps), made.ps("vhost_wakeup")

    (soon_ps, none_ps), (late_ps, wakeup_ps) = latency_ps(0), latency_ps(5000)
    assert none_ps == 0
    assert late_ps - soon_ps == 2 * wakeup_ps  # once for the frame received, once for the answer


def test_vhost_pays_with_a_host_core_and_the_vf_does_not():
    vf, virtio = measured(Untracked(), Bulk()), measured(VirtioNet(), Bulk())
    assert virtio["host_cycles_per_packet"] > 1000 > vf["host_cycles_per_packet"]


def test_vhost_takes_turns_where_there_is_work_both_ways():
    made = machine(VirtioNet(), Bulk(send_ratio=1.0), guest=Guest(memory_bytes=256 * MIB))
    made.advance(30 * MS_PS)
    pair = made.pairs[0]
    assert pair.oracle.rx_handed_over > 5000
    assert pair.oracle.tx_delivered > 0.5 * pair.oracle.rx_handed_over
